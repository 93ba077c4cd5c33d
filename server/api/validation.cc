#include "server/api/validation.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

// One more than is reported: enough to know whether there is just one.
constexpr size_t kMaxKept = limits::kMaxReportedViolations + 1;
// The feed's own too.
constexpr size_t kChannels = kExternalChannels.size() + 1;

// Bytes of the sequence that begins with `lead`; 0 if nothing may begin so.
int SequenceLength(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

// Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte.
bool SecondByteAllowed(unsigned char lead, unsigned char second) {
  if (lead == 0xe0) return second >= 0xa0;
  if (lead == 0xed) return second <= 0x9f;
  if (lead == 0xf0) return second >= 0x90;
  if (lead == 0xf4) return second <= 0x8f;
  return true;
}

}  // namespace

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = static_cast<unsigned char>(text[i]);
    const size_t length = static_cast<size_t>(SequenceLength(lead));
    if (length == 0 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      const unsigned char next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80 || (k == 1 && !SecondByteAllowed(lead, next))) return false;
    }
    i += length;
  }
  return true;
}

std::vector<Channel> CheckChannels(absl::Span<const int> channels, Violations& violations) {
  if (channels.size() > kChannels) {
    violations.Add("channels", absl::StrCat("must be at most ", kChannels, ", each once"));
    return {};
  }
  std::vector<Channel> checked;
  for (size_t i = 0; i < channels.size(); ++i) {
    const auto channel = static_cast<Channel>(channels[i]);
    if (ToString(channel).empty()) {
      violations.Add(absl::StrCat("channels[", i, "]"), "must be a channel: CHANNEL_IN_APP, CHANNEL_EMAIL, ...");
    } else if (std::find(checked.begin(), checked.end(), channel) != checked.end()) {
      violations.Add(absl::StrCat("channels[", i, "]"), "must name each channel once");
    } else {
      checked.push_back(channel);
    }
  }
  return checked;
}

void Violations::Add(absl::string_view field, absl::string_view description) {
  if (violations_.size() == kMaxKept) return;
  violations_.push_back({absl::StrCat(prefix_, field), std::string(description)});
}

bool Violations::CheckId(absl::string_view field, absl::string_view value, bool required) {
  return CheckText(field, value, required, limits::kMaxIdBytes);
}

bool Violations::CheckText(absl::string_view field, absl::string_view value, bool required, size_t max_bytes) {
  const bool has_control =
      std::any_of(value.begin(), value.end(), [](unsigned char c) { return absl::ascii_iscntrl(c); });
  if ((!required || !value.empty()) && value.size() <= max_bytes && !has_control && IsUtf8(value)) return true;
  Add(field,
      absl::StrCat("must be ", required ? 1 : 0, " to ", max_bytes, " bytes of UTF-8 without control characters"));
  return false;
}

bool Violations::CheckName(absl::string_view field, absl::string_view value, size_t max_bytes) {
  const bool fine = !value.empty() && value.size() <= max_bytes && absl::ascii_islower(value[0]) &&
                    std::all_of(value.begin(), value.end(), [](unsigned char c) {
                      return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '.' || c == '_' || c == '-';
                    });
  if (!fine) {
    Add(field,
        absl::StrCat("must be 1 to ", max_bytes, " characters of a-z, 0-9, '.', '_' and '-', beginning with a letter"));
  }
  return fine;
}

void Violations::AddUnknownPath(absl::string_view path, absl::string_view known) {
  Violations readable;
  const bool shown = readable.CheckName("path", path, limits::kMaxTypeNameBytes);
  Add("update_mask", absl::StrCat(shown ? absl::StrCat("may not name ", path, ", ") : "may name ", "only ", known));
}

void Violations::AddUnknownType(absl::string_view field, absl::string_view type) {
  Add(field, absl::StrCat("no type \"", type, "\" in the catalogue"));
  unknown_type_ = std::string(type);
}

absl::Status Violations::ToStatus() const {
  if (violations_.size() == 1 && !unknown_type_.empty()) {
    return error::UnknownType(violations_.front().field, unknown_type_);
  }
  return violations_.empty() ? absl::OkStatus() : error::InvalidFields(violations_);
}

void Violations::Append(const Violations& other) {
  const size_t taken = std::min(other.violations_.size(), kMaxKept - violations_.size());
  violations_.insert(violations_.end(), other.violations_.begin(), other.violations_.begin() + taken);
  if (!other.unknown_type_.empty()) unknown_type_ = other.unknown_type_;
}

}  // namespace carillon
