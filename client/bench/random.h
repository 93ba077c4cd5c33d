// Draws that are the same for one seed on every platform, which the
// distributions of the standard library do not promise.
#pragma once

#include <cstdint>
#include <random>

namespace carillon::bench {

// Not thread-safe.
class Random {
 public:
  explicit Random(uint64_t seed) : generator_(seed) {}

  // An even draw from [0, below); `below` is at least 1.
  uint64_t Below(uint64_t below) { return generator_() % below; }
  // An even draw from [low, high).
  double Between(double low, double high);

 private:
  std::mt19937_64 generator_;
};

}  // namespace carillon::bench
