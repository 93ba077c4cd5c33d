#include "client/ctl/watch.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/interruption.h"
#include "client/ctl/output.h"
#include "client/ctl/validators.h"

namespace carillon::ctl {
namespace {

struct WatchOptions {
  // Exactly one of them; the other is empty.
  std::string user;
  std::string topic;
  std::optional<int64_t> after;
  int64_t count = 0;
  double timeout_seconds = 0;
  bool verbose = false;
};

// What a watch prints, and when it has seen enough. Thread-safe.
class Watcher {
 public:
  Watcher(const WatchOptions& options, bool json) : options_(options), json_(json) {}

  void OnEvent(const v1::SubscribeResponse& event) {
    absl::MutexLock lock(&mutex_);
    if (finished() || (event.has_heartbeat() && !options_.verbose)) return;
    json_ ? static_cast<void>(std::printf("%s\n", ToJson(event).c_str())) : Print(event);
    std::fflush(stdout);
    if (event.has_item()) ++items_;
  }

  void OnDisconnect(const absl::Status& status, absl::optional<absl::Duration> retry_in) {
    absl::MutexLock lock(&mutex_);
    if (!retry_in.has_value()) {
      ended_ = status;
    } else if (options_.verbose) {
      std::fprintf(stderr, "disconnected (%s), trying again in %s\n", std::string(status.message()).c_str(),
                   absl::FormatDuration(*retry_in).c_str());
    }
  }

  // Returns when enough was seen, the time is over, a signal came or the stream ended for good.
  absl::Status Wait() {
    const absl::Time deadline =
        options_.timeout_seconds > 0 ? absl::Now() + absl::Seconds(options_.timeout_seconds) : absl::InfiniteFuture();
    absl::MutexLock lock(&mutex_);
    while (!finished() && ended_.ok() && !IsInterrupted() && absl::Now() < deadline) {
      const auto over = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return finished() || !ended_.ok(); };
      // A signal sets no condition: look at it now and then.
      mutex_.AwaitWithTimeout(absl::Condition(&over), absl::Milliseconds(100));
    }
    if (options_.count > 0 && items_ < options_.count && ended_.ok() && !IsInterrupted()) {
      return absl::DeadlineExceededError(absl::StrCat("only ", items_, " of ", options_.count, " items came in time"));
    }
    return ended_;
  }

 private:
  bool finished() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return options_.count > 0 && items_ >= options_.count; }

  static void Print(const v1::SubscribeResponse& event) {
    const long seq = static_cast<long>(event.seq());
    switch (event.event_case()) {
      case v1::SubscribeResponse::kItem:
        return PrintItem(event.item());
      case v1::SubscribeResponse::kReadMarker:
        std::printf("%6ld  read up to %ld, %ld unread\n", seq, static_cast<long>(event.read_marker().up_to_seq()),
                    static_cast<long>(event.read_marker().unread()));
        return;
      case v1::SubscribeResponse::kRemoved:
        std::printf("%6ld  removed %s\n", seq, event.removed().notification_id().c_str());
        return;
      case v1::SubscribeResponse::kResumeRequired:
        std::printf("%6ld  resume required (%s): going on from the newest\n", seq,
                    ShortName(v1::ResumeRequired::Cause_Name(event.resume_required().cause()), "CAUSE_").c_str());
        return;
      default:
        std::printf("%6ld  heartbeat\n", seq);
    }
  }

  const WatchOptions& options_;
  const bool json_;
  absl::Mutex mutex_;
  int64_t items_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);
};

// The newest number that the feed has.
absl::StatusOr<int64_t> LastSeqOf(Client& client, const WatchOptions& options) {
  if (options.topic.empty()) {
    v1::GetFeedSummaryRequest request;
    request.set_user_id(options.user);
    ASSIGN_OR_RETURN(const v1::GetFeedSummaryResponse summary, client.GetFeedSummary(request));
    return summary.last_seq();
  }
  v1::ListTopicFeedRequest request;
  request.set_topic_id(options.topic);
  request.set_page_size(1);
  ASSIGN_OR_RETURN(const v1::ListTopicFeedResponse page, client.ListTopicFeed(request));
  return page.last_seq();
}

absl::Status Watch(Context& context, const WatchOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  FeedSubscription::Options subscription;
  subscription.user_id = options.user;
  subscription.topic_id = options.topic;
  if (options.after.has_value()) {
    subscription.after_seq = *options.after;
  } else {
    ASSIGN_OR_RETURN(subscription.after_seq, LastSeqOf(*client, options));
  }
  CatchInterruption();
  Watcher watcher(options, context.json());
  const auto stream = client->Subscribe(
      subscription, {.on_event = [&](const v1::SubscribeResponse& event) { watcher.OnEvent(event); },
                     .on_disconnect =
                         [&](const absl::Status& status, auto retry_in) {
                           watcher.OnDisconnect(status,
                                                retry_in.has_value() ? absl::make_optional(*retry_in) : absl::nullopt);
                         },
                     .on_resume = nullptr});
  const absl::Status result = watcher.Wait();
  stream->Stop();
  return result;
}

// An empty name would mean the other kind of feed.
CLI::Validator NotEmpty() {
  return CLI::Validator([](std::string& text) { return text.empty() ? "must not be empty" : std::string(); }, "");
}

void AddOptions(CLI::App& watch, const std::shared_ptr<WatchOptions>& options) {
  watch
      .add_option_function<int64_t>(
          "--after", [options](int64_t seq) { options->after = seq; },
          "begin after this seq; 0: from the oldest kept; default: live")
      ->check(NotNegative());
  watch.add_option("--count", options->count, "end after so many items")->check(NotNegative());
  watch.add_option("--timeout", options->timeout_seconds, "end after so many seconds")->check(NotNegative());
  watch.add_flag("--verbose", options->verbose, "show heartbeats and reconnections too");
}

}  // namespace

void AddWatchCommand(CLI::App& parent, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* watch = AddCommand(parent, context, "watch", "follow a recipient's live stream; resumes by itself",
                               [&context, options] { return Watch(context, *options); });
  watch->add_option("--user", options->user, "the recipient")->required()->check(NotEmpty());
  AddOptions(*watch, options);
}

void AddTopicWatchCommand(CLI::App& parent, Context& context) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* watch = AddCommand(parent, context, "watch", "follow a topic's public feed live; resumes by itself",
                               [&context, options] { return Watch(context, *options); });
  watch->add_option("--topic", options->topic, "the topic")->required()->check(NotEmpty());
  AddOptions(*watch, options);
}

}  // namespace carillon::ctl
