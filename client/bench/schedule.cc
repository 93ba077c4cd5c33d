#include "client/bench/schedule.h"

#include <time.h>

#include <cerrno>
#include <cmath>

#include "client/bench/random.h"

namespace carillon::bench {

std::vector<absl::Duration> PoissonSchedule(uint64_t seed, double per_second, absl::Duration length) {
  Random random(seed);
  std::vector<absl::Duration> moments;
  double at = 0;
  while (true) {
    at -= std::log(1 - random.Between(0, 1)) / per_second;
    if (absl::Seconds(at) >= length) return moments;
    moments.push_back(absl::Seconds(at));
  }
}

void SleepUntil(absl::Duration moment) {
  const timespec until = absl::ToTimespec(moment);
  // CLOCK_MONOTONIC is what std::chrono::steady_clock, and so MonotonicNow, reads.
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

}  // namespace carillon::bench
