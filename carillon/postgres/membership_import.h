// Brings a whole file of memberships into PostgreSQL, chunk by chunk.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "carillon/ports/membership_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// What tells one file from another.
struct ImportFile {
  AppId app;
  GroupKind kind = GroupKind::kFollowers;
  int64_t size = 0;             // Bytes.
  std::string first_line_hash;  // SHA-256. Empty: what can't be read twice has no position.
};

// How far a file has been brought in.
struct ImportPosition {
  int64_t offset = 0;  // The lines before this byte are in.
  int64_t lines = 0;
  int64_t added = 0;        // Memberships that were new.
  int64_t skipped = 0;      // Lines that were bad.
  std::string prefix_hash;  // SHA-256 of everything before the offset.
};

// Owner thread only.
class MembershipImport {
 public:
  MembershipImport(const PgOptions& options, ImportFile file);

  // Where an import of the file stopped; all zero if it is to begin.
  absl::StatusOr<ImportPosition> Find();

  // Adds what is missing and makes a feed for members who have none, as
  // MembershipStore::Add does, together with the position after it: all of it in
  // one transaction. Returns the position with what was new added to it.
  absl::StatusOr<ImportPosition> Write(absl::Span<const Membership> chunk, const ImportPosition& after);

  // The file is in: the next import of it begins at its beginning.
  absl::Status Forget();

 private:
  void CopyChunk(pqxx::work& transaction, absl::Span<const Membership> chunk);
  void MovePosition(pqxx::work& transaction, const ImportPosition& position);

  const ImportFile file_;
  PgSession session_;
};

}  // namespace carillon
