// What a text costs as SMS.
#pragma once

#include "absl/strings/string_view.h"
#include "carillon/v1/template.pb.h"

namespace carillon {

// GSM-7 (GSM 03.38, basic and extension table) if every character is in it: 160
// alone, 153 in each of several, extended ones counting twice. Else UCS-2 by UTF-16
// units: 70 and 67. What counts twice is never parted. No segment for no text.
// `text` is UTF-8.
v1::SmsSegments CountSmsSegments(absl::string_view text);

}  // namespace carillon
