// Languages of people, as BCP 47 writes them: es, es-MX, zh-Hant-TW.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace carillon {

// The usual spelling (es-MX for ES-mx), if it is a language tag: a language of 2 or 3
// letters and, as far as given, a script, a region and variants; at most
// limits::kMaxLocaleBytes. Extensions and private use are none of ours.
std::optional<std::string> CanonicalLocale(absl::string_view text);

// Itself, then always less exact: es-MX, es. Nothing for none.
std::vector<std::string> LocaleAndWider(absl::string_view locale);

}  // namespace carillon
