#include "client/bench/random.h"

#include <cmath>

namespace carillon::bench {

double Random::Between(double low, double high) {
  constexpr int kMantissaBits = 53;
  const double share = std::ldexp(static_cast<double>(generator_() >> (64 - kMantissaBits)), -kMantissaBits);
  return low + share * (high - low);
}

}  // namespace carillon::bench
