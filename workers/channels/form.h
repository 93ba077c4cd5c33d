// Bodies of type application/x-www-form-urlencoded.
#pragma once

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace carillon {

inline constexpr absl::string_view kFormType = "application/x-www-form-urlencoded";

// Not thread-safe.
class FormWriter {
 public:
  FormWriter& Add(absl::string_view name, absl::string_view value) {
    absl::StrAppend(&body_, body_.empty() ? "" : "&", name, "=");
    for (const char c : value) {
      if (absl::ascii_isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
        body_.push_back(c);
      } else {
        absl::StrAppendFormat(&body_, "%%%02X", static_cast<unsigned char>(c));
      }
    }
    return *this;
  }
  std::string Take() && { return std::move(body_); }

 private:
  std::string body_;
};

}  // namespace carillon
