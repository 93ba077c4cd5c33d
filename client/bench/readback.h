// Reads what became of a run's sends, and waits until it can be read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/bench/verify.h"
#include "client/carillon/client.h"

namespace carillon::bench {

struct UserFeed {
  std::vector<SeenItem> items;  // Oldest first.
  Counters counters;
};

// Waits until each user's last_seq is at least what is wanted. Errors that pass
// are waited out. DEADLINE_EXCEEDED: it took too long.
absl::Status WaitForFeeds(Client& client, absl::flat_hash_map<std::string, int64_t> wanted, absl::Time deadline);

// Waits until no queue and no outbox lane holds anything, so that nothing more can
// come of what was sent. False: it took too long, as on a system that others use,
// or they can't be read.
bool WaitForQuiet(Client& client, absl::Time deadline);

absl::StatusOr<UserFeed> ReadFeed(Client& client, const std::string& user_id);

// Dead letters of these notifications, in words. Stops at those that are older
// than `since`.
absl::StatusOr<std::vector<std::string>> ReadDeadLetters(Client& client,
                                                         const absl::flat_hash_set<std::string>& notification_ids,
                                                         absl::Time since);

// What GetNotification tells about a notification, in one line.
std::string Describe(Client& client, const std::string& notification_id);

}  // namespace carillon::bench
