// Checks of how people are reached. Each returns the value as it is kept; what is
// wrong with it is added to the violations, and then the result means nothing. Free
// functions; thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "carillon/domain/lane.h"
#include "carillon/v1/notification.pb.h"
#include "server/api/validation.h"

namespace carillon {

// local@domain as in RFC 5321, without quotes or address literals. As it is: a
// local part may know upper from lower case.
std::string CheckEmail(absl::string_view field, const std::string& email, Violations& violations);
// In E.164, without the blanks, hyphens, dots and brackets that people write.
std::string CheckPhone(absl::string_view field, const std::string& phone, Violations& violations);
// A language tag in its usual spelling (locale.h): es-MX, zh-Hant-TW.
std::string CheckLocale(absl::string_view field, const std::string& locale, Violations& violations);
// The IANA name of a zone that this machine knows.
std::string CheckTimeZone(absl::string_view field, const std::string& time_zone, Violations& violations);
// Of CHANNEL_APNS or CHANNEL_FCM.
std::string CheckDeviceToken(absl::string_view field, Channel channel, const std::string& token,
                             Violations& violations);
// None, with a violation, for other channels.
std::optional<Channel> CheckPushChannel(absl::string_view field, v1::Channel channel, Violations& violations);

// The same token has the same id: 32 hexadecimal digits.
std::string DeviceIdOf(Channel channel, absl::string_view token);

}  // namespace carillon
