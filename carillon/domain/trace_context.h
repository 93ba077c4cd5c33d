// W3C Trace Context: the caller's trace goes on through the outbox and the broker to the
// providers, and into the log.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace carillon {

// Whether it is a traceparent of version 00 (section 3.2): lower case, no id that is all
// zeros, nothing after the flags.
bool IsTraceparent(absl::string_view text);

// As the next part of the way tells it: the same trace and flags, and an id of its own in
// the parent's place. Empty if it is no traceparent of version 00, nor one of a later
// version that begins like it. Thread-safe.
std::string NextTraceparent(absl::string_view received);

// 32 hexadecimal digits; empty if it is no traceparent.
absl::string_view TraceIdOf(absl::string_view traceparent);

}  // namespace carillon
