// Where CPU time went between two instants: by process, and what of the machine
// others took. From /proc; a read is a fraction of a millisecond.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon::bench {

// A line of /proc/PID/stat, in clock ticks.
struct ProcessTimes {
  pid_t pid = 0;
  pid_t parent = 0;
  int64_t own = 0;
  // Of children that have ended and were waited for.
  int64_t ended_children = 0;
};
// nullopt for what is no such line.
std::optional<ProcessTimes> ParseProcessStat(absl::string_view line);

// The first line of /proc/stat, in clock ticks.
struct MachineTimes {
  int64_t total = 0;
  int64_t idle = 0;
  // What the hypervisor gave to somebody else while we wanted to run.
  int64_t steal = 0;
};
std::optional<MachineTimes> ParseMachineStat(absl::string_view text);

// The resident memory that /proc/PID/status tells, in bytes.
std::optional<int64_t> ParseResidentMemory(absl::string_view status);

// What was used between two readings.
struct Usage {
  absl::Duration time;
  // By process, in the order of the system; the generator last.
  std::vector<std::pair<std::string, double>> cpu_seconds;
  double steal_percent = 0;
  double idle_percent = 0;
  // What processes other than these used: compilers, other systems. In such a run
  // rates and latencies are as much theirs.
  double others_percent = 0;

  double total_seconds() const;
  // Without the generator.
  double system_seconds() const;
  double seconds_of(absl::string_view process) const;
  // Of two intervals, one after the other.
  void Add(const Usage& next);
};

// Not thread-safe.
class CpuMeter {
 public:
  struct Reading {
    absl::Duration moment;
    MachineTimes machine;
    // Ticks by name, with the pid that they belong to.
    std::map<std::string, std::pair<pid_t, int64_t>> ticks;
  };

  // `stack_directory`: of the local system whose processes are measured; empty:
  // the generator alone.
  explicit CpuMeter(std::string stack_directory) : stack_directory_(std::move(stack_directory)) {}

  // Counts a process that is not the stack's own under this name; it replaces the
  // stack's own of that name.
  void Follow(const std::string& name, pid_t pid) { followed_[name] = pid; }

  // Every process with its descendants: PostgreSQL's sessions are its children.
  Reading Read() const;

  // A process that was started in between counts from its start.
  static Usage Between(const Reading& first, const Reading& last);

  // Of one process, without its descendants; nullopt if it does not run.
  std::optional<int64_t> ResidentMemory(const std::string& name) const;

 private:
  std::map<std::string, pid_t> Pids() const;

  const std::string stack_directory_;
  std::map<std::string, pid_t> followed_;
};

}  // namespace carillon::bench
