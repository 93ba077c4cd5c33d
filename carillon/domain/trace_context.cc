#include "carillon/domain/trace_context.h"

#include <algorithm>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace carillon {
namespace {

// version-traceid-parentid-flags.
constexpr size_t kBytes = 55;
constexpr size_t kTraceIdAt = 3;
constexpr size_t kTraceIdBytes = 32;
constexpr size_t kParentIdAt = 36;
constexpr size_t kParentIdBytes = 16;
constexpr size_t kFlagsAt = 53;

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(absl::string_view text) { return text.find_first_not_of('0') == absl::string_view::npos; }

// The fields that every version has in its place.
bool HasFields(absl::string_view text) {
  if (text.size() < kBytes) return false;
  const absl::string_view trace_id = text.substr(kTraceIdAt, kTraceIdBytes);
  const absl::string_view parent_id = text.substr(kParentIdAt, kParentIdBytes);
  return text[2] == '-' && text[kParentIdAt - 1] == '-' && text[kFlagsAt - 1] == '-' && IsHex(text.substr(0, 2)) &&
         IsHex(trace_id) && IsHex(parent_id) && IsHex(text.substr(kFlagsAt, 2)) && !IsZero(trace_id) &&
         !IsZero(parent_id);
}

// Section 4.3: one of a version that is not known yet is read as far as it is.
bool IsReadable(absl::string_view text) {
  if (IsTraceparent(text)) return true;
  return HasFields(text) && text.substr(0, 2) != "00" && text.substr(0, 2) != "ff" &&
         (text.size() == kBytes || text[kBytes] == '-');
}

}  // namespace

bool IsTraceparent(absl::string_view text) {
  return text.size() == kBytes && text.substr(0, 2) == "00" && HasFields(text);
}

std::string NextTraceparent(absl::string_view received) {
  if (!IsReadable(received)) return "";
  thread_local absl::BitGen random;
  const uint64_t id = absl::Uniform<uint64_t>(absl::IntervalClosed, random, 1, ~uint64_t{0});
  // Of the flags version 00 knows one: sampled.
  const bool sampled = std::string("13579bdf").find(received[kFlagsAt + 1]) != std::string::npos;
  return absl::StrCat("00-", received.substr(kTraceIdAt, kTraceIdBytes), "-", absl::StrFormat("%016x", id), "-",
                      sampled ? "01" : "00");
}

absl::string_view TraceIdOf(absl::string_view traceparent) {
  return IsTraceparent(traceparent) ? traceparent.substr(kTraceIdAt, kTraceIdBytes) : absl::string_view();
}

}  // namespace carillon
