// All streams at once come back to a server, and each has something waiting for it.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/bench/cpu_meter.h"
#include "client/bench/figures.h"
#include "client/bench/options.h"
#include "client/bench/raw_sender.h"
#include "client/bench/stack_control.h"
#include "client/bench/stream_fleet.h"
#include "client/carillon/client.h"

namespace carillon::bench {

// Owner thread only; everything blocks.
class Herd {
 public:
  struct Options {
    const BenchOptions& bench;
    // The server is killed and started, and streams come back with jitter, as the
    // client library's do. Otherwise all are cut, and open again at the same moment.
    bool restart = false;
    const std::string& run_name;
    // Each with one stream, which is open.
    const std::vector<std::string>& user_ids;
  };

  Herd(const Options& options, RawSender& sender, StreamFleet& fleet, const CpuMeter& meter);

  // Adds its figures, "passed" among them.
  absl::Status Run(Json& document);

 private:
  // One more notification for each user.
  absl::Status SendToAll();
  // Waits until each feed holds so many.
  absl::Status WaitForFeedsOf(int64_t items);
  absl::Status CutAndReopen();
  absl::Status KillAndStart();
  void AddFigures(bool all_back, const Usage& usage, Json& document) const;
  // Transactions that PostgreSQL has committed.
  absl::StatusOr<int64_t> Transactions() const;

  const Options options_;
  RawSender& sender_;
  StreamFleet& fleet_;
  const CpuMeter& meter_;
  Client client_;
  const StackControl stack_;
  absl::Duration begun_;
  CpuMeter::Reading before_;
  Usage usage_;
  int64_t transactions_before_ = 0;
};

}  // namespace carillon::bench
