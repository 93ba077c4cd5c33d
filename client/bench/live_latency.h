// Measures with an open loop how long sends take to their answers and to the
// recipients' live streams.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/bench/figures.h"
#include "client/bench/open_loop.h"
#include "client/bench/options.h"
#include "client/bench/streams.h"
#include "client/carillon/client.h"

namespace carillon::bench {

// Follows its users as long as it lives. Not thread-safe.
class LiveLatency {
 public:
  // `users` recipients whose ids begin with `run_name`.
  LiveLatency(const BenchOptions& options, const std::string& run_name, std::vector<std::string> types);

  ~LiveLatency();

  // Sends at this rate for `warmup` and then `time`; only what was due in the
  // latter counts. Waits for all arrivals. `seed` draws the instants.
  absl::Status Measure(uint64_t seed, double rate, absl::Duration warmup, absl::Duration time, const CpuMeter& meter);

  // Of the last Measure, from when a send was due: to its answer, to its arrival,
  // and to its beginning, which is the generator's own lateness.
  struct Times {
    std::vector<absl::Duration> answer;
    std::vector<absl::Duration> arrival;
    std::vector<absl::Duration> lateness;
    // Sends whose arrival was not seen.
    int64_t missing = 0;
  };
  // Of one type, or all if empty; of users from this position on, up to that one.
  Times TimesOf(const std::string& type, size_t first_user, size_t end_user) const;
  Times AllTimes() const { return TimesOf("", 0, user_ids_.size()); }

  const std::vector<std::string>& user_ids() const { return user_ids_; }
  std::map<std::string, int64_t> errors() const { return errors_; }
  // From the end of the warm-up to the last arrival.
  const Usage& usage() const { return usage_; }
  // Notifications that count.
  int64_t counted() const { return static_cast<int64_t>(sends_.size()); }

 private:
  const BenchOptions options_;
  const std::vector<std::string> user_ids_;
  const std::vector<std::string> types_;
  SendRequests requests_;
  RawSender sender_;
  // Of the streams: who sends and who reads are not one client either.
  RawSender reader_;
  Client client_;
  LiveStreams streams_;
  std::vector<ScheduledSend> sends_;
  absl::flat_hash_map<std::string, absl::Duration> arrivals_;
  std::map<std::string, int64_t> errors_;
  Usage usage_;
};

}  // namespace carillon::bench
