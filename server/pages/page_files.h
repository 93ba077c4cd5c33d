// The files of the pages, as they were when the program was built.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace carillon {

struct PageFile {
  absl::string_view name;
  absl::string_view content;
  absl::string_view digest;  // Of the content, in hexadecimal.
};

// Made at build time; lives as long as the program. Thread-safe.
absl::Span<const PageFile> PageFiles();

}  // namespace carillon
