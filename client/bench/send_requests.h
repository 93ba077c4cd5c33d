// The sends of a measurement in the form in which they travel, so that the
// generator takes little of the machine that it shares with what it measures.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "carillon/v1/notification.pb.h"
#include "client/bench/random.h"

namespace carillon::bench {

// Type names, each as often as its weight says: "like=8,otp.login" -> eight
// times like and once otp.login. INVALID_ARGUMENT for a weight that is none.
absl::StatusOr<std::vector<std::string>> WeightedTypes(const std::vector<std::string>& types);

// The user ids of a run, all of one length.
std::vector<std::string> UserIds(const std::string& run_name, int users);

// Draws sends from a seed. Everything but the recipient and the object is
// serialised once per type; `data` is what the type's template shows. Not thread-safe.
class SendRequests {
 public:
  struct Options {
    uint64_t seed = 0;
    std::string run_name;  // No other run may share it.
    std::vector<std::string> user_ids;
    std::vector<std::string> types;
    // An idempotency key with each.
    bool keys = false;
    // The instant at which it is drawn is part of the object id (StampedObject).
    bool stamped = false;
    // By type: where it goes. Of others: where the catalogue says.
    std::map<std::string, std::vector<v1::Channel>> channels = {};
  };
  // What was drawn: positions in user_ids and types.
  struct Drawn {
    uint32_t user = 0;
    uint32_t type = 0;
  };

  explicit SendRequests(Options options);

  // A SendNotificationRequest.
  Drawn Next(std::string& request);
  // A BatchSendNotificationsRequest.
  std::vector<Drawn> NextBatch(int size, std::string& batch);

 private:
  const Options options_;
  Random random_;
  std::vector<std::string> templates_;
  int64_t made_ = 0;
  std::string one_;
};

// An object id that tells an instant by MonotonicNow, and that instant; nullopt
// for an id that tells none.
std::string StampedObject(absl::string_view run_name, absl::Duration now);
std::optional<absl::Duration> StampOf(absl::string_view object_id);

// The ids in the answer to a send or a batch, in the order asked; views of
// `answer`. INVALID_ARGUMENT if it is no such answer.
absl::StatusOr<std::vector<absl::string_view>> IdsInSendAnswer(absl::string_view answer);
absl::StatusOr<std::vector<absl::string_view>> IdsInBatchAnswer(absl::string_view answer);

// A BatchSendNotificationsRequest with one like for each of these users.
std::string OneForEach(absl::Span<const std::string> user_ids, absl::string_view run_name);

// The last_seq in the answer of ListTopicFeed; nullopt if it is no such answer.
std::optional<int64_t> LastSeqInTopicAnswer(absl::string_view answer);

// What an event of a live stream says; a view of it.
struct StreamEvent {
  int64_t seq = 0;
  // Empty if it is no item.
  absl::string_view notification_id;
  absl::string_view object_id;
};
// INVALID_ARGUMENT if it is no such event.
absl::StatusOr<StreamEvent> ParseStreamEvent(absl::string_view event);

}  // namespace carillon::bench
