// What a run found, as text or as JSON.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/bench/chaos.h"
#include "client/bench/figures.h"
#include "client/bench/verify.h"

namespace carillon::bench {

struct Report {
  uint64_t seed = 0;
  int64_t asked = 0;
  int64_t accepted = 0;
  // Accepted before the measurement began; compared as well, but in no figure.
  int64_t warm_up = 0;
  // Sends that were answered with the stored answer of an earlier attempt.
  int64_t answered_as_duplicate = 0;
  std::map<std::string, int64_t> errors;  // By code, of all attempts.
  int64_t retried = 0;                    // Attempts.
  absl::Duration load_time;
  absl::Duration delivery_time;  // Until the last arrival, or the last feed was complete.
  int64_t delivered = 0;         // Items in the feeds, without the warm-up's.
  Findings feeds;
  Findings streams;
  // One line for each.
  std::vector<std::string> wrong_counters;
  std::vector<std::string> dead_letters;
  int64_t stream_disconnects = 0;
  int64_t resumes_required = 0;
  Percentiles send;
  Percentiles send_to_stream;
  std::vector<StruckFault> faults;
  // Whatever kept the run from being done or checked in full.
  std::vector<std::string> problems;
  // What the system says of lost notifications; the first few.
  std::vector<std::string> lost_notifications;
  std::string accepted_log;
  // From the first send to the last arrival on a stream; absent under faults.
  std::optional<Usage> usage;

  // Everything was accepted and is where it belongs, once, and every fault struck
  // under load.
  bool passed() const;
};

std::string ToText(const Report& report);
// One document.
std::string ToJson(const Report& report);

}  // namespace carillon::bench
