// Checks of what callers send. Faults are collected, so that a caller sees all of
// them at once: as many as are reported, the others only count as being there.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/lane.h"

namespace carillon {

class Violations {
 public:
  // Every field is named below `prefix`, such as "requests[3].".
  explicit Violations(std::string prefix = "") : prefix_(std::move(prefix)) {}

  // For a part of what this is about, such as "caps[0].": to be appended.
  Violations Below(absl::string_view part) const { return Violations(absl::StrCat(prefix_, part)); }

  void Add(absl::string_view field, absl::string_view description);

  // An id or a key: UTF-8 without control characters, at most `max_bytes`, not
  // empty if it is required. True if it is fine.
  bool CheckId(absl::string_view field, absl::string_view value, bool required);
  bool CheckText(absl::string_view field, absl::string_view value, bool required, size_t max_bytes);
  // A name: a-z, 0-9, '.', '_' and '-', beginning with a letter.
  bool CheckName(absl::string_view field, absl::string_view value, size_t max_bytes);

  // A path of an update mask that is none of the `known`. It may be anything: shown
  // only as far as it could be a path.
  void AddUnknownPath(absl::string_view path, absl::string_view known);

  // A type that is not in the catalogue: an error with a reason of its own if
  // nothing else is wrong.
  void AddUnknownType(absl::string_view field, absl::string_view type);

  bool empty() const { return violations_.empty(); }
  // OK if there are none.
  absl::Status ToStatus() const;
  void Append(const Violations& other);

 private:
  const std::string prefix_;
  std::vector<FieldViolation> violations_;
  std::string unknown_type_;
};

// The channels of a request; each once, and all of them known.
std::vector<Channel> CheckChannels(absl::Span<const int> channels, Violations& violations);

// Well-formed UTF-8 (RFC 3629), which PostgreSQL and protobuf both demand.
bool IsUtf8(absl::string_view text);

}  // namespace carillon
