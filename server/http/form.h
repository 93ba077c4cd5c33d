// Forms as browsers, mail programs and providers send them. Free functions;
// thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "server/http/http_message.h"

namespace carillon {

// By name. Of fields with the same name the first counts.
using FormFields = std::map<std::string, std::string>;

// application/x-www-form-urlencoded, also of queries. nullopt for more than 100
// fields and for broken percent signs.
std::optional<FormFields> ParseUrlEncoded(absl::string_view text);
// The body of a POST, by its Content-Type: urlencoded or multipart/form-data (RFC
// 7578). nullopt if it is neither, or broken.
std::optional<FormFields> ParseForm(const HttpRequest& request);

// The value of a field; empty if there is none.
std::string FieldOf(const FormFields& fields, const std::string& name);

}  // namespace carillon
