// What is asked of, and said about, the rates at which apps and their senders may send.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/settings.h"

namespace carillon {

// What a call at the door wants to send.
struct RateRequest {
  struct Sender {
    std::string id;  // An actor_id; empty: those who have none.
    int64_t places = 1;
  };

  AppId app;
  SendLimits limits;
  std::vector<Sender> senders;  // At least one, each once.
};

struct RateAnswer {
  enum class Limit { kNone, kApp, kSender };
  // Whose rate leaves no room. kNone: the places are taken.
  Limit refused_by = Limit::kNone;
  // Until there is room for the whole call; infinite: it is more than a full burst.
  absl::Duration wait;
  // Of each sender, in order, what it has wanted to send in its minute, let in or not,
  // with this call. A minute begins with the first send after the one before has ended,
  // or after the runaway limit was passed. Empty if the app has no runaway limit.
  std::vector<int64_t> counts;
};

// One rate that a request meets.
struct SendRate {
  RateAnswer::Limit whose = RateAnswer::Limit::kApp;
  std::string sender_id;  // Of a sender's.
  int64_t rate = 0;       // Places that a second gives.
  int64_t burst = 0;      // That may be taken at once.
  int64_t places = 0;     // That are wanted.
};

// Those of the senders, in order, then the app's; where there is no limit, none.
std::vector<SendRate> RatesOf(const RateRequest& request);

}  // namespace carillon
