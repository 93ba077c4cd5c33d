// People who can be reached on every channel, made in bulk by the database itself, and
// what became of what was sent to them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/postgres/session.h"
#include "carillon/v1/notification.pb.h"
#include "client/bench/options.h"

namespace carillon::bench {

// What became of the deliveries of one type on one channel.
struct Outcomes {
  std::map<std::string, int64_t> states;
  // Of those that have ended: from the acceptance of the notification, to the millisecond.
  std::vector<absl::Duration> accepted_to_end;
  // From the first acceptance to the last end.
  absl::Duration span;

  int64_t of(const std::string& state) const;
  int64_t open() const { return of("pending") + of("held"); }
  int64_t all() const;
};

// Owner thread only; everything blocks.
class ReachablePeople {
 public:
  explicit ReachablePeople(const BenchOptions& options);

  // So many users named UserIds(group, ...), each with an e-mail address that holds the
  // group's name, a number and two devices; what is missing of them.
  absl::Status Make(const std::string& group, int users);

  // Of the group's people since then. In the app (CHANNEL_IN_APP): of notifications.
  absl::StatusOr<Outcomes> Read(const std::string& group, const std::string& type, v1::Channel channel,
                                absl::Time since);
  // The same, when so many are there and none is open any more. DEADLINE_EXCEEDED if
  // none has ended for half a minute and `patience`.
  absl::StatusOr<Outcomes> WaitForEnd(const std::string& group, const std::string& type, v1::Channel channel,
                                      absl::Time since, int64_t count, absl::Duration patience = absl::ZeroDuration());

 private:
  const std::string app_key_;
  PgSession session_;
};

}  // namespace carillon::bench
