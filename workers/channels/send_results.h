// What the adapters have in common when they say what a call came to. Pure.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "workers/channels/provider.h"
#include "workers/channels/transport.h"

namespace carillon {

// `error` is cut to limits::kMaxErrorBytes, control characters become spaces.
SendResult MakeResult(AttemptOutcome outcome, absl::string_view code, absl::string_view error);

// Of a call that was not answered: kRetryable if it was not sent, else kUnconfirmed.
// An address that is forbidden is a matter of configuration: kBadSender.
SendResult ResultOfUnanswered(CallEnd end, bool forbidden_address, absl::string_view error);

// The header Retry-After: seconds or a date of HTTP; at most a day. nullopt if there
// is none, or it is neither.
std::optional<absl::Duration> RetryAfter(const HttpResult& answer, absl::Time now);

// Without what must not be kept: every occurrence of `address`, with or without a
// leading plus, becomes "***".
std::string WithoutAddress(absl::string_view text, absl::string_view address);

// How many bytes of `text`, at most `max_bytes`, end at the end of a character.
size_t Utf8PrefixBytes(absl::string_view text, size_t max_bytes);

// Whether it may stand in a header or an address: no control character, CR, LF and
// NUL among them.
bool IsSafeHeaderText(absl::string_view text);

}  // namespace carillon
