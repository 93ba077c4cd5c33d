#include "client/bench/readback.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/bench/error_counts.h"

namespace carillon::bench {
namespace {

constexpr absl::Duration kPollInterval = absl::Milliseconds(100);
constexpr int kPageSize = 500;
// Between the clocks of this machine and of the database.
constexpr absl::Duration kClockSkew = absl::Minutes(5);

bool IsQuiet(const v1::ListQueuesResponse& response) {
  return std::all_of(response.queues().begin(), response.queues().end(),
                     [](const v1::Queue& queue) { return queue.declared() && queue.messages() == 0; }) &&
         std::all_of(response.outbox().begin(), response.outbox().end(),
                     [](const v1::OutboxLane& lane) { return lane.rows() == 0 && lane.deferred() == 0; });
}

std::string Describe(const v1::DeadLetter& letter) {
  return absl::StrCat(letter.notification_id(), " (", letter.type(), ") died in ", letter.queue(), " after ",
                      letter.retry_count(), " retries: ", letter.reason(), ", ", letter.error());
}

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

}  // namespace

absl::Status WaitForFeeds(Client& client, absl::flat_hash_map<std::string, int64_t> wanted, absl::Time deadline) {
  while (!wanted.empty()) {
    // The first one that is not complete says enough.
    v1::GetFeedSummaryRequest request;
    request.set_user_id(wanted.begin()->first);
    const absl::StatusOr<v1::GetFeedSummaryResponse> summary = client.GetFeedSummary(request);
    if (!summary.ok() && !IsTransient(summary.status())) return summary.status();
    if (summary.ok() && summary->last_seq() >= wanted.begin()->second) {
      wanted.erase(wanted.begin());
      continue;
    }
    if (absl::Now() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat(wanted.size(), " feeds were not complete in time"));
    }
    absl::SleepFor(kPollInterval);
  }
  return absl::OkStatus();
}

bool WaitForQuiet(Client& client, absl::Time deadline) {
  while (true) {
    const absl::StatusOr<v1::ListQueuesResponse> queues = client.ListQueues({});
    if (!queues.ok()) return false;
    if (IsQuiet(*queues)) return true;
    if (absl::Now() >= deadline) return false;
    absl::SleepFor(kPollInterval);
  }
}

absl::StatusOr<UserFeed> ReadFeed(Client& client, const std::string& user_id) {
  UserFeed feed;
  v1::ListFeedRequest request;
  request.set_user_id(user_id);
  request.set_page_size(kPageSize);
  do {
    const absl::StatusOr<v1::ListFeedResponse> page = client.ListFeed(request);
    if (!page.ok()) return page.status();
    for (const v1::FeedItem& item : page->items()) feed.items.push_back({item.notification_id(), item.seq()});
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  std::reverse(feed.items.begin(), feed.items.end());

  v1::GetFeedSummaryRequest summary_request;
  summary_request.set_user_id(user_id);
  const absl::StatusOr<v1::GetFeedSummaryResponse> summary = client.GetFeedSummary(summary_request);
  if (!summary.ok()) return summary.status();
  feed.counters = {summary->unread(), summary->last_seq()};
  return feed;
}

absl::StatusOr<std::vector<std::string>> ReadDeadLetters(Client& client,
                                                         const absl::flat_hash_set<std::string>& notification_ids,
                                                         absl::Time since) {
  std::vector<std::string> dead;
  v1::ListDeadLettersRequest request;
  request.set_page_size(kPageSize);
  do {
    const absl::StatusOr<v1::ListDeadLettersResponse> page = client.ListDeadLetters(request);
    if (!page.ok()) return page.status();
    for (const v1::DeadLetter& letter : page->dead_letters()) {
      if (TimeOf(letter.dead_time()) < since - kClockSkew) return dead;
      if (notification_ids.contains(letter.notification_id())) dead.push_back(Describe(letter));
    }
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return dead;
}

std::string Describe(Client& client, const std::string& notification_id) {
  v1::GetNotificationRequest request;
  request.set_notification_id(notification_id);
  const absl::StatusOr<v1::GetNotificationResponse> response = client.GetNotification(request);
  if (!response.ok()) return absl::StrCat(notification_id, ": ", Brief(response.status()));
  const v1::Notification& notification = response->notification();
  std::string line = absl::StrCat(notification_id, ": ", notification.type(), " for ", notification.user_id(), ", ",
                                  v1::State_Name(notification.state()));
  for (const v1::TimelineEntry& entry : notification.timeline()) {
    absl::StrAppend(&line, "; ", v1::State_Name(entry.state()));
    if (entry.has_time()) absl::StrAppend(&line, " at ", absl::FormatTime(TimeOf(entry.time()), absl::UTCTimeZone()));
    if (!entry.detail().empty()) absl::StrAppend(&line, " (", entry.detail(), ")");
  }
  return line;
}

}  // namespace carillon::bench
