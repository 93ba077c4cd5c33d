#include "client/ctl/error_text.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "client/carillon/status.h"

namespace carillon::ctl {
namespace {

constexpr char kTryAgain[] = "try again";

// 1 s, 12 s, 5 min: rounded up, so that it is not too early.
std::string DelayText(absl::Duration delay) {
  if (delay > absl::Minutes(2)) {
    return absl::StrCat(absl::ToInt64Minutes(absl::Ceil(delay, absl::Minutes(1))), " min");
  }
  return absl::StrCat(std::max<int64_t>(1, absl::ToInt64Seconds(absl::Ceil(delay, absl::Seconds(1)))), " s");
}

}  // namespace

std::string ErrorText(const absl::Status& status) {
  std::string message(status.message());
  if (const std::optional<absl::Duration> delay = RetryDelayOf(status); delay.has_value()) {
    const std::string when = absl::StrCat(" in ", DelayText(*delay));
    // Where the server's words say so already: before its reason in brackets.
    const size_t place = message.find(kTryAgain);
    if (place != std::string::npos) {
      message.insert(place + std::strlen(kTryAgain), when);
    } else {
      absl::StrAppend(&message, "; ", kTryAgain, when);
    }
  }
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ", message);
}

}  // namespace carillon::ctl
