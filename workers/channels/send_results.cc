#include "workers/channels/send_results.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr absl::Duration kMaxRetryAfter = absl::Hours(24);
constexpr absl::string_view kRemoved = "***";
// Shorter ones are in every text.
constexpr size_t kMinAddressBytes = 4;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

SendResult MakeResult(AttemptOutcome outcome, absl::string_view code, absl::string_view error) {
  SendResult result{.outcome = outcome, .code = std::string(code)};
  result.error = std::string(error.substr(0, Utf8PrefixBytes(error, limits::kMaxErrorBytes)));
  std::replace_if(result.error.begin(), result.error.end(), absl::ascii_iscntrl, ' ');
  return result;
}

SendResult ResultOfUnanswered(CallEnd end, bool forbidden_address, absl::string_view error) {
  if (forbidden_address) return MakeResult(AttemptOutcome::kBadSender, "forbidden_address", error);
  if (end == CallEnd::kUnconfirmed) return MakeResult(AttemptOutcome::kUnconfirmed, "no_answer", error);
  return MakeResult(AttemptOutcome::kRetryable, "not_sent", error);
}

std::optional<absl::Duration> RetryAfter(const HttpResult& answer, absl::Time now) {
  const absl::string_view value = HeaderOf(answer, "retry-after");
  double seconds = 0;
  absl::Time moment;
  std::string ignored;
  if (absl::SimpleAtod(value, &seconds)) {
    if (!(seconds >= 0)) return std::nullopt;
    return std::min(absl::Seconds(seconds), kMaxRetryAfter);
  }
  if (!absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", value, &moment, &ignored)) return std::nullopt;
  return std::clamp(moment - now, absl::ZeroDuration(), kMaxRetryAfter);
}

std::string WithoutAddress(absl::string_view text, absl::string_view address) {
  absl::string_view bare = address;
  absl::ConsumePrefix(&bare, "+");
  if (bare.size() < kMinAddressBytes) return std::string(text);
  return absl::StrReplaceAll(text, {{address, kRemoved}, {bare, kRemoved}});
}

size_t Utf8PrefixBytes(absl::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text.size();
  size_t bytes = max_bytes;
  while (bytes > 0 && IsContinuation(text[bytes])) --bytes;
  return bytes;
}

bool IsSafeHeaderText(absl::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return absl::ascii_iscntrl(c); });
}

}  // namespace carillon
