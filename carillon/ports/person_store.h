// Everything that is kept about one person: to be shown, and to be erased. Both go
// on from where the caller says, a bounded step at a time. Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "carillon/domain/notification.h"

namespace carillon {

struct ExportedRow {
  std::string table;
  std::string json;  // An object: the row without its binary columns.
};

struct ExportPage {
  std::vector<ExportedRow> rows;
  // Where the next page goes on; empty at the end. A page before that may be empty.
  std::string next;
};

struct EraseStep {
  int64_t rows = 0;  // Deleted or made nameless.
  // What the next step is; empty: everything is erased.
  std::string next;
};

class PersonStore {
 public:
  virtual ~PersonStore() = default;

  // The next rows, at most `limit`, table after table. `position`: empty at first.
  // INVALID_ARGUMENT naming page_token if it is none of this store's.
  virtual absl::StatusOr<ExportPage> Export(const FeedKey& key, const std::string& position, int limit) = 0;

  // One step: a transaction of at most about a thousand rows, or a look at so many
  // more that holds no locks. `position`: empty at first, then what the step before
  // returned. What an interrupted erasing has walked through is not walked through
  // again. Safe to repeat.
  virtual absl::StatusOr<EraseStep> Erase(const FeedKey& key, const std::string& position) = 0;
};

}  // namespace carillon
