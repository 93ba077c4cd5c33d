#include "carillon/domain/backoff.h"

#include <algorithm>

namespace carillon {

absl::Duration Backoff::Next() {
  // 2^20 of any base is past every maximum in use, and keeps the product finite.
  const absl::Duration ceiling = std::min(max_, base_ * (1 << std::min(failures_, 20)));
  ++failures_;
  return ceiling * std::uniform_real_distribution<double>(0.05, 1.0)(random_);
}

}  // namespace carillon
