#include "server/api/watch_notification.h"

#include <google/protobuf/util/message_differencer.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/ports/monotonic.h"
#include "carillon/runtime/logging.h"

namespace carillon {
namespace {

using google::protobuf::util::MessageDifferencer;
using google::protobuf::util::TimeUtil;

constexpr absl::Duration kInterval = absl::Milliseconds(500);
constexpr absl::Duration kPermitInterval = absl::Seconds(2);
// Looking takes at most a quarter of the time.
constexpr int kRest = 3;
constexpr absl::Duration kRetryDelay = absl::Seconds(5);
// What an estimate may move by without being told again.
constexpr int64_t kEstimateStepSeconds = 10;

bool SameDelay(const v1::Notification& a, const v1::Notification& b) {
  if (a.has_delay() != b.has_delay() || a.delay().queue() != b.delay().queue() ||
      a.delay().has_estimated_time() != b.delay().has_estimated_time()) {
    return false;
  }
  return std::abs(a.delay().estimated_time().seconds() - b.delay().estimated_time().seconds()) < kEstimateStepSeconds;
}

bool SameButForDelay(v1::Notification a, v1::Notification b) {
  a.clear_delay();
  b.clear_delay();
  return MessageDifferencer::Equals(a, b);
}

}  // namespace

struct NotificationWatches::Watch {
  AppId app;
  NotificationId id;
  StreamPermit permit;

  // Of the thread that looks.
  bool fresh = true;
  std::string look;
  ShownNotification shown;
  v1::Notification told;

  // Guarded by the lock of the watches. The listener holds this: until it is closed.
  std::shared_ptr<WatchListener> listener;
  std::optional<v1::Notification> untaken;
  std::optional<absl::Status> end;
  bool counted_fresh = true;
  bool closed = false;
};

NotificationWatches::NotificationWatches(std::shared_ptr<WatchStore> store, NotificationReader reader, Metrics& metrics)
    : store_(std::move(store)),
      reader_(std::move(reader)),
      open_(metrics.Gauge("carillon_watches", "Open WatchNotification calls")) {}

void NotificationWatches::Start() {
  thread_ = std::thread([this] { Run(); });
}

void NotificationWatches::Stop() {
  std::vector<std::shared_ptr<WatchListener>> ended;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    for (const WatchPtr& watch : watches_) {
      if (watch->end.has_value()) continue;
      watch->end = error::Draining();
      ended.push_back(watch->listener);
    }
  }
  for (const auto& listener : ended) listener->OnReady();
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<NotificationWatches::WatchPtr> NotificationWatches::Open(AppId app, const NotificationId& id,
                                                                        std::shared_ptr<WatchListener> listener,
                                                                        StreamPermit permit) {
  auto watch = std::make_shared<Watch>();
  watch->app = app;
  watch->id = id;
  watch->permit = std::move(permit);
  watch->listener = std::move(listener);
  absl::MutexLock lock(&mutex_);
  if (stopped_) return error::Draining();
  if (watches_.size() >= limits::kMaxWatches) return error::TooManyStreams("watches of this server", kRetryDelay);
  if (by_app_[app] >= limits::kMaxWatchesPerApp) return error::TooManyStreams("watches of this app", kRetryDelay);
  ++by_app_[app];
  ++fresh_;
  watches_.push_back(watch);
  open_.Set(static_cast<double>(watches_.size()));
  return watch;
}

std::optional<WatchStep> NotificationWatches::Take(const WatchPtr& watch) {
  absl::MutexLock lock(&mutex_);
  if (watch->untaken.has_value()) {
    WatchStep step{.response = v1::WatchNotificationResponse(), .status = {}};
    *step.response->mutable_notification() = *std::exchange(watch->untaken, std::nullopt);
    return step;
  }
  if (watch->end.has_value()) return WatchStep{.response = {}, .status = *watch->end};
  return std::nullopt;
}

void NotificationWatches::Close(const WatchPtr& watch) {
  std::shared_ptr<WatchListener> listener;  // Let go of without the lock.
  absl::MutexLock lock(&mutex_);
  if (std::exchange(watch->closed, true)) return;
  watch->untaken.reset();
  listener = std::move(watch->listener);
  if (std::exchange(watch->counted_fresh, false)) --fresh_;
  if (--by_app_[watch->app] == 0) by_app_.erase(watch->app);
  watches_.erase(std::find(watches_.begin(), watches_.end(), watch));
  open_.Set(static_cast<double>(watches_.size()));
}

void NotificationWatches::Run() {
  absl::Duration next_look = Monotonic();
  bool fresh_only = false;
  while (AwaitNext(next_look, fresh_only)) {
    const absl::Duration began = Monotonic();
    Look(fresh_only);
    const absl::Duration took = Monotonic() - began;
    if (!fresh_only) next_look = began + std::max(kInterval, took * (kRest + 1));
  }
}

bool NotificationWatches::AwaitNext(absl::Duration next_look, bool& fresh_only) {
  absl::MutexLock lock(&mutex_);
  const auto any = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || !watches_.empty(); };
  mutex_.Await(absl::Condition(&any));
  const auto fresh = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stopped_ || fresh_ > 0; };
  mutex_.AwaitWithTimeout(absl::Condition(&fresh), next_look - Monotonic());
  fresh_only = Monotonic() < next_look;
  return !stopped_;
}

std::vector<NotificationWatches::WatchPtr> NotificationWatches::Collect(bool fresh_only) {
  std::vector<WatchPtr> collected;
  absl::MutexLock lock(&mutex_);
  for (const WatchPtr& watch : watches_) {
    if (watch->end.has_value() || (fresh_only && !watch->counted_fresh)) continue;
    if (std::exchange(watch->counted_fresh, false)) --fresh_;
    collected.push_back(watch);
  }
  return collected;
}

void NotificationWatches::Look(bool fresh_only) {
  const std::vector<WatchPtr> watches = Collect(fresh_only);
  if (watches.empty()) return;
  if (!fresh_only) AskPermits(watches);
  std::vector<WatchKey> keys;
  for (const WatchPtr& watch : watches) keys.push_back({watch->app, watch->id});
  const absl::StatusOr<std::vector<std::string>> looks = store_->Look(keys);
  for (size_t i = 0; i < watches.size(); ++i) {
    Watch& watch = *watches[i];
    // Those that have been answered wait for the store to come back.
    if (!looks.ok() && !watch.fresh) continue;
    const bool ready = looks.ok() ? Renew(watch, (*looks)[i]) : End(watch, looks.status());
    if (ready) Tell(watch);
  }
}

void NotificationWatches::AskPermits(absl::Span<const WatchPtr> watches) {
  if (Monotonic() < next_permits_) return;
  next_permits_ = Monotonic() + kPermitInterval;
  for (const WatchPtr& watch : watches) {
    const absl::Status permitted = watch->permit == nullptr ? absl::OkStatus() : watch->permit();
    if (!permitted.ok() && End(*watch, permitted)) Tell(*watch);
  }
}

void NotificationWatches::Tell(const Watch& watch) {
  std::shared_ptr<WatchListener> listener;
  {
    absl::MutexLock lock(&mutex_);
    listener = watch.listener;
  }
  if (listener != nullptr) listener->OnReady();
}

bool NotificationWatches::Renew(Watch& watch, const std::string& look) {
  if (!watch.fresh && watch.look == look) {
    v1::Notification now = watch.told;
    reader_.FillDelay(watch.shown, &now);
    return !SameDelay(watch.told, now) && Offer(watch, std::move(now));
  }
  absl::StatusOr<ShownNotification> shown = reader_.Read(watch.app, watch.id);
  if (!shown.ok()) return (watch.fresh || absl::IsNotFound(shown.status())) && End(watch, shown.status());
  watch.shown = *std::move(shown);
  v1::Notification now;
  reader_.Fill(watch.shown, &now);
  const bool news = watch.fresh || !SameDelay(watch.told, now) || !SameButForDelay(watch.told, now);
  watch.fresh = false;
  watch.look = look;
  bool ready = news && Offer(watch, std::move(now));
  if (IsTerminal(watch.shown.record.state)) ready = End(watch, absl::OkStatus()) || ready;
  return ready;
}

bool NotificationWatches::Offer(Watch& watch, v1::Notification notification) {
  watch.told = notification;
  absl::MutexLock lock(&mutex_);
  if (watch.closed || watch.end.has_value()) return false;
  watch.untaken = std::move(notification);
  return true;
}

bool NotificationWatches::End(Watch& watch, const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  if (watch.closed || watch.end.has_value()) return false;
  watch.end = status;
  return true;
}

}  // namespace carillon
