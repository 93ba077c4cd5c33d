// Checks of options that several commands share.
#pragma once

#include <CLI/CLI.hpp>

namespace carillon::ctl {

// CLI::NonNegativeNumber says the same, and names its upper end with 300 digits.
inline CLI::Validator NotNegative() {
  return CLI::Validator([](std::string& text) { return text[0] == '-' ? "must not be negative" : std::string(); }, "");
}

}  // namespace carillon::ctl
