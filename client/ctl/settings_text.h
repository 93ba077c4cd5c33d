// Settings as they are written on the command line, and shown in the same words. What
// can't be read is INVALID_ARGUMENT, with an example; what it means is checked by the server.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/v1/settings.pb.h"

namespace carillon::ctl {

// 'like:email=off', 'category/offers=digest', '*:sms=off'.
absl::StatusOr<v1::Preference> ParsePreference(const std::string& text);
std::string PreferenceText(const v1::Preference& preference);

// '22:00-07:00', 'mon-fri 22:00-07:00', 'sat,sun 00:00-10:00'.
absl::StatusOr<v1::QuietHours> ParseQuietHours(const std::string& text);
std::string QuietHoursText(const v1::QuietHours& quiet_hours);

// 'hourly', 'daily 09:00', 'weekly mon 09:00'. Absent: as the server takes it.
absl::StatusOr<v1::DigestTime> ParseDigestTime(const std::string& text);
std::string DigestTimeText(const v1::RecipientSettings& settings);

// '2h', '90m', or a time of RFC 3339.
absl::StatusOr<google::protobuf::Timestamp> ParseUntil(const std::string& text, absl::Time now);

}  // namespace carillon::ctl
