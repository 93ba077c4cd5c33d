// What a worker remembers of the providers of one channel: their adapters, their
// breakers, and how many calls are under way.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/channels/directory.h"
#include "carillon/domain/delivery.h"
#include "carillon/runtime/metrics.h"
#include "workers/channels/provider.h"
#include "workers/delivery/breaker.h"

namespace carillon {

// Deliveries of an app that were released and have not come yet.
struct Coming {
  size_t count = 0;
  // When the last were released: on the monotonic clock, and as deliveries know it.
  absl::Duration since;
  absl::Time release_time = absl::InfinitePast();
};

// One provider of one app, as one lane's worker sees it.
struct ProviderSlot {
  std::shared_ptr<const ConfiguredProvider> config;
  // Shared with the calls that it has begun. Null if it can't be made.
  std::shared_ptr<Provider> provider;
  Breaker breaker;
  // When each call under way began, on the monotonic clock.
  std::multiset<absl::Duration> calls;
  std::optional<absl::Time> last_success;
  // When what is held may next be asked for as a probe.
  absl::Time next_probe = absl::InfinitePast();
  // What is held is to be released: it is new, or back, or had no room for all.
  bool draining = false;
  // Calls at a time; fewer while it is slow.
  size_t max_calls = 1;
  size_t max_slow_calls = 1;
  size_t waiting = 0;  // Deliveries that wait for one of its calls to end.
  // At a time of those held: on their way, under way and waiting.
  size_t max_released = 1;
  std::shared_ptr<Coming> coming = std::make_shared<Coming>();  // Shared by an app's slots.
  int64_t released = 0;                                         // Not logged yet.
  prometheus::Gauge* breaker_gauge = nullptr;
  prometheus::Gauge* misconfigured_gauge = nullptr;
  std::map<AttemptOutcome, prometheus::Counter*> calls_by_outcome;
  prometheus::Histogram* call_seconds = nullptr;
};

// Owner thread only.
class ProviderSlots {
 public:
  using Maker = std::function<absl::StatusOr<std::unique_ptr<Provider>>(const ConfiguredProvider&)>;

  struct Options {
    Lane lane = Lane::kSocial;
    Channel channel = Channel::kEmail;
    int window = 100;  // Messages that the worker holds of the channel.
  };

  ProviderSlots(const Options& options, const ChannelDirectory& directory, Maker make, Metrics& metrics)
      : options_(options), directory_(directory), make_(std::move(make)), metrics_(metrics) {}

  // The app's providers in the order in which they are asked. One whose settings have
  // changed begins anew.
  std::vector<std::shared_ptr<ProviderSlot>> Of(AppId app, absl::Time now);

  // Looks whether providers have changed of the apps that it was asked about: what is
  // held may be waiting for just that.
  void Refresh(absl::Time now);

  // Breakers as they were before this process began.
  void Restore(const std::vector<ProviderHealth>& health, absl::Time now);

  // One of the app's has come, that was accepted at this time.
  void NoteArrival(AppId app, absl::Time accepted);

  // Says what is thought of a provider now; kept until TakeChanges. Nothing if its
  // settings are not those of now any more.
  void NoteChange(const ProviderSlot& slot);
  std::vector<ProviderHealth> TakeChanges() { return std::exchange(changes_, {}); }

  // All there are.
  std::vector<std::shared_ptr<ProviderSlot>> All() const;

 private:
  using Key = std::pair<AppId, std::string>;

  void Register(ProviderSlot& slot);
  void Replace(std::shared_ptr<ProviderSlot>& slot, const std::shared_ptr<const ConfiguredProvider>& config,
               absl::Time now);

  const Options options_;
  const ChannelDirectory& directory_;
  const Maker make_;
  Metrics& metrics_;
  std::set<AppId> apps_;
  std::map<Key, std::shared_ptr<ProviderSlot>> slots_;
  std::map<AppId, std::shared_ptr<Coming>> coming_;
  std::vector<ProviderHealth> changes_;
};

// How long a call may take, and how long a receipt is waited for where its outcome is not known.
absl::Duration TimeoutOf(const ProviderSlot& slot);
absl::Duration ReceiptWaitOf(const ProviderSlot& slot);

// A call of its has been under way for long: it may be hanging.
bool IsSlow(const ProviderSlot& slot, absl::Duration now);

// True if the provider may be given another call: of what the worker can hold it has
// no more than a half, and a quarter while it is slow. The others of its channel have
// to find room.
bool HasRoom(const ProviderSlot& slot, absl::Duration now);

// How many of those that are held for its channel are to come now: what it has room for
// beside those that are coming; one, as a probe, while it is out.
int TakeWanted(ProviderSlot& slot, absl::Time now);

// So many were released for it.
void NoteReleased(ProviderSlot& slot, int released, absl::Time now);

}  // namespace carillon
