// Settings as they are kept in jsonb columns.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "carillon/domain/settings.h"

namespace carillon {

std::string EncodePreferences(absl::Span<const Preference> preferences);
std::string EncodeQuietHours(const QuietHours& quiet_hours);
std::string EncodeDigestTime(const DigestTime& time);

// DATA_LOSS if it is none of what the functions above write.
absl::StatusOr<std::vector<Preference>> DecodePreferences(absl::string_view json);
absl::StatusOr<QuietHours> DecodeQuietHours(absl::string_view json);
absl::StatusOr<DigestTime> DecodeDigestTime(absl::string_view json);

// The words of columns and jsonb.
absl::string_view ToString(Choice choice);
absl::string_view ToString(Preference::Scope scope);

// Of a type's policy what has a column of its own, category and required, is left out.
std::string EncodePolicy(const DeliveryPolicy& policy);
absl::StatusOr<DeliveryPolicy> DecodePolicy(absl::string_view json);

}  // namespace carillon
