#include "carillon/postgres/membership_import.h"

#include <tuple>
#include <utility>

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"

namespace carillon {
namespace {

// A chunk takes about a second; on a busy server it may take many.
constexpr absl::Duration kStatementTimeout = absl::Minutes(10);

PgOptions Patient(PgOptions options) {
  options.statement_timeout = kStatementTimeout;
  return options;
}

// The same order of tables and keys as PostgresMembershipStore::Add, so that the
// two never wait for each other in a circle.
constexpr PgStatement kMakeHeads = {"import_heads", R"sql(
  INSERT INTO feed_heads (app_id, recipient_id, event_position)
  SELECT $1::bigint, recipient_id, coalesce((SELECT position FROM event_positions WHERE app_id = $1), 0)
  FROM (SELECT DISTINCT member_id AS recipient_id FROM import_chunk) AS members
  ORDER BY recipient_id COLLATE "default"
  ON CONFLICT (app_id, recipient_id) DO NOTHING
)sql"};

constexpr PgStatement kAddMemberships = {"import_memberships", R"sql(
  INSERT INTO memberships (app_id, since_position, kind, group_id, member_id)
  SELECT $1::bigint, coalesce((SELECT position FROM event_positions WHERE app_id = $1), 0), $2, group_id, member_id
  FROM import_chunk
  ORDER BY group_id, member_id
  ON CONFLICT (app_id, kind, group_id, member_id) DO NOTHING
)sql"};

constexpr PgStatement kFindPosition = {"find_import_position", R"sql(
  SELECT byte_offset, line_count, added, skipped, prefix_hash FROM import_positions
  WHERE app_id = $1 AND kind = $2 AND file_size = $3 AND first_line_hash = ($4::bytea[])[1]
)sql"};

constexpr PgStatement kMovePosition = {"move_import_position", R"sql(
  INSERT INTO import_positions (app_id, kind, file_size, first_line_hash, byte_offset, line_count, added, skipped, prefix_hash)
  VALUES ($1, $2, $3, ($4::bytea[])[1], $5, $6, $7, $8, ($9::bytea[])[1])
  ON CONFLICT (app_id, kind, file_size, first_line_hash) DO UPDATE
  SET byte_offset = EXCLUDED.byte_offset, line_count = EXCLUDED.line_count, added = EXCLUDED.added, skipped = EXCLUDED.skipped,
      prefix_hash = EXCLUDED.prefix_hash, updated_at = now()
)sql"};

// Also those that nobody came back to.
constexpr PgStatement kForgetPosition = {"forget_import_position", R"sql(
  DELETE FROM import_positions
  WHERE (app_id = $1 AND kind = $2 AND file_size = $3 AND first_line_hash = ($4::bytea[])[1])
     OR updated_at < now() - interval '30 days'
)sql"};

std::string BytesParameter(const std::string& bytes) {
  PgArray array;
  return array.AddBytes(bytes).str();
}

}  // namespace

MembershipImport::MembershipImport(const PgOptions& options, ImportFile file)
    : file_(std::move(file)), session_(Patient(options)) {}

absl::StatusOr<ImportPosition> MembershipImport::Find() {
  ImportPosition position;
  if (file_.first_line_hash.empty()) return position;
  RETURN_IF_ERROR(session_.Run([&](pqxx::transaction_base& transaction) {
    const pqxx::result rows =
        session_.Execute(transaction, kFindPosition, file_.app.value(), std::string(ToString(file_.kind)), file_.size,
                         BytesParameter(file_.first_line_hash));
    for (const auto& row : rows) {
      position = {.offset = row["byte_offset"].as<int64_t>(),
                  .lines = row["line_count"].as<int64_t>(),
                  .added = row["added"].as<int64_t>(),
                  .skipped = row["skipped"].as<int64_t>(),
                  .prefix_hash = BytesOf(row["prefix_hash"])};
    }
  }));
  return position;
}

absl::StatusOr<ImportPosition> MembershipImport::Write(absl::Span<const Membership> chunk,
                                                       const ImportPosition& after) {
  ImportPosition written;
  RETURN_IF_ERROR(session_.RunTransaction([&](pqxx::work& transaction) {
    written = after;
    CopyChunk(transaction, chunk);
    session_.Execute(transaction, kMakeHeads, file_.app.value());
    const pqxx::result added =
        session_.Execute(transaction, kAddMemberships, file_.app.value(), std::string(ToString(file_.kind)));
    written.added += static_cast<int64_t>(added.affected_rows());
    MovePosition(transaction, written);
    return absl::OkStatus();
  }));
  return written;
}

void MembershipImport::CopyChunk(pqxx::work& transaction, absl::Span<const Membership> chunk) {
  // Another import may hold the heads that this one needs for as long as a chunk takes.
  transaction.exec("SET LOCAL lock_timeout = '60s'");
  transaction.exec(
      "CREATE TEMPORARY TABLE IF NOT EXISTS import_chunk (group_id text COLLATE \"C\", member_id text COLLATE \"C\") "
      "ON COMMIT DELETE ROWS");
  pqxx::stream_to stream(transaction, "import_chunk", std::vector<std::string>{"group_id", "member_id"});
  for (const Membership& membership : chunk) stream << std::tie(membership.group_id, membership.member_id);
  stream.complete();
}

void MembershipImport::MovePosition(pqxx::work& transaction, const ImportPosition& position) {
  if (file_.first_line_hash.empty()) return;
  session_.Execute(transaction, kMovePosition, file_.app.value(), std::string(ToString(file_.kind)), file_.size,
                   BytesParameter(file_.first_line_hash), position.offset, position.lines, position.added,
                   position.skipped, BytesParameter(position.prefix_hash));
}

absl::Status MembershipImport::Forget() {
  return session_.Run([&](pqxx::transaction_base& transaction) {
    session_.Execute(transaction, kForgetPosition, file_.app.value(), std::string(ToString(file_.kind)), file_.size,
                     BytesParameter(file_.first_line_hash));
  });
}

}  // namespace carillon
