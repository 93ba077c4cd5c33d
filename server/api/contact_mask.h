// Words of others that may name whom a message went to. Free functions; thread-safe.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace carillon {

// The text with "***" for everything that looks like an e-mail address or like a phone
// number: seven digits and more, however they are grouped.
std::string WithoutContacts(absl::string_view text);

}  // namespace carillon
