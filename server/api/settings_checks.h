// Preferences, settings and mutes: from requests to values and back. Each check adds
// what is wrong to the violations, and then its result means nothing. Free functions;
// thread-safe.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/domain/settings.h"
#include "carillon/ports/settings_store.h"
#include "carillon/v1/recipient_service.pb.h"
#include "carillon/v1/settings.pb.h"
#include "server/api/validation.h"

namespace carillon {

std::vector<Preference> CheckPreferences(absl::string_view field,
                                         const google::protobuf::RepeatedPtrField<v1::Preference>& preferences,
                                         Violations& violations);
// Of each span one for every day on which it begins.
QuietHours CheckQuietHours(absl::string_view field,
                           const google::protobuf::RepeatedPtrField<v1::QuietHours>& quiet_hours,
                           Violations& violations);
DigestTime CheckDigestTime(absl::string_view field, const v1::DigestTime& time, Violations& violations);
// From 1970 on.
absl::Time CheckTimestamp(absl::string_view field, const google::protobuf::Timestamp& time, Violations& violations);
std::vector<Mute> CheckMutes(absl::string_view field, const google::protobuf::RepeatedPtrField<v1::Mute>& mutes,
                             Violations& violations);

// What of a recipient's settings changes; absent: nothing.
struct SettingsChange {
  std::optional<std::vector<Preference>> preferences;
  std::optional<std::optional<absl::Time>> do_not_disturb_until;
  std::optional<QuietHours> quiet_hours;
  std::optional<DigestTime> digest_time;

  void ApplyTo(RecipientSettings& settings) const;
};

// What update_mask names, without one what is set. `now`: by the app's clock.
SettingsChange PrepareSettings(const v1::UpdateSettingsRequest& request, absl::Time now, Violations& violations);

v1::Choice ToProto(Choice choice);
void ToProto(const Preference& preference, v1::Preference* out);
// Spans with the same times are one again.
void ToProto(const RecipientSettings& settings, v1::RecipientSettings* out);
void ToProto(const Mute& mute, v1::Mute* out);

}  // namespace carillon
