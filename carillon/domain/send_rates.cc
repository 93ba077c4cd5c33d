#include "carillon/domain/send_rates.h"

#include <algorithm>

namespace carillon {

std::vector<SendRate> RatesOf(const RateRequest& request) {
  const SendLimits& limits = request.limits;
  std::vector<SendRate> rates;
  int64_t all = 0;
  for (const RateRequest::Sender& sender : request.senders) {
    all += sender.places;
    if (limits.sender_rate == 0) continue;
    rates.push_back({.whose = RateAnswer::Limit::kSender,
                     .sender_id = sender.id,
                     .rate = limits.sender_rate,
                     .burst = std::max(limits.sender_rate, limits.sender_burst),
                     .places = sender.places});
  }
  if (limits.app_rate > 0) {
    rates.push_back({.whose = RateAnswer::Limit::kApp,
                     .sender_id = "",
                     .rate = limits.app_rate,
                     .burst = std::max(limits.app_rate, limits.app_burst),
                     .places = all});
  }
  return rates;
}

}  // namespace carillon
