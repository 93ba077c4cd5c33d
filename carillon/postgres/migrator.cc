#include "carillon/postgres/migrator.h"

#include <openssl/sha.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/session.h"

namespace carillon {
namespace {

// Any constant; the same for everyone who migrates this database.
constexpr int64_t kAdvisoryLock = 7'205'410'633;

struct MigrationFile {
  std::string up;
  std::string down;
  std::string checksum;
};

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) return absl::NotFoundError(absl::StrCat("can't read ", path.string()));
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::string Checksum(const std::string& text) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return absl::BytesToHexString(hash);
}

absl::StatusOr<std::map<std::string, MigrationFile>> ReadDirectory(const std::string& directory) {
  std::error_code failure;
  std::filesystem::directory_iterator entries(directory, failure);
  if (failure) return absl::NotFoundError(absl::StrCat("no migrations in ", directory, ": ", failure.message()));
  std::map<std::string, MigrationFile> files;
  for (const auto& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (!absl::EndsWith(name, ".up.sql")) continue;
    const std::string version = name.substr(0, name.size() - 7);
    MigrationFile& file = files[version];
    ASSIGN_OR_RETURN(file.up, ReadFile(entry.path()));
    ASSIGN_OR_RETURN(file.down, ReadFile(entry.path().parent_path() / (version + ".down.sql")));
    file.checksum = Checksum(file.up);
  }
  if (files.empty()) return absl::NotFoundError(absl::StrCat("no migrations in ", directory));
  return files;
}

PgSession MigrationSession(const std::string& database_url) {
  // Waits for another migration, and may rewrite tables.
  return PgSession({.url = database_url, .application_name = "carillonctl", .statement_timeout = absl::Minutes(10)});
}

void Prepare(pqxx::work& transaction) {
  transaction.exec("SET LOCAL lock_timeout = '10min'");
  transaction.exec(absl::StrCat("SELECT pg_advisory_xact_lock(", kAdvisoryLock, ")"));
  transaction.exec("SET LOCAL client_min_messages = warning");
  transaction.exec("CREATE SCHEMA IF NOT EXISTS carillon");
  transaction.exec(
      "CREATE TABLE IF NOT EXISTS schema_migrations (version text PRIMARY KEY, checksum text NOT NULL, "
      "applied_at timestamptz NOT NULL DEFAULT now())");
}

std::map<std::string, std::string> Applied(pqxx::work& transaction) {
  std::map<std::string, std::string> applied;
  for (const auto& row : transaction.exec("SELECT version, checksum FROM schema_migrations")) {
    applied[row[0].as<std::string>()] = row[1].as<std::string>();
  }
  return applied;
}

absl::Status CheckApplied(const std::map<std::string, std::string>& applied,
                          const std::map<std::string, MigrationFile>& files) {
  for (const auto& [version, checksum] : applied) {
    const auto file = files.find(version);
    if (file == files.end()) {
      return absl::FailedPreconditionError(absl::StrCat("the database has migration ", version,
                                                        ", which this version of Carillon does not know: it is newer"));
    }
    if (file->second.checksum != checksum) {
      return absl::FailedPreconditionError(absl::StrCat("migration ", version, " has changed since it was applied"));
    }
  }
  return absl::OkStatus();
}

// Applies the first that is missing. Empty when there is none.
absl::StatusOr<std::string> ApplyNext(PgSession& session, const std::map<std::string, MigrationFile>& files) {
  std::string done;
  RETURN_IF_ERROR(session.RunTransaction([&](pqxx::work& transaction) -> absl::Status {
    Prepare(transaction);
    const std::map<std::string, std::string> applied = Applied(transaction);
    RETURN_IF_ERROR(CheckApplied(applied, files));
    for (const auto& [version, file] : files) {
      if (applied.contains(version)) continue;
      transaction.exec(file.up);
      transaction.exec_params("INSERT INTO schema_migrations (version, checksum) VALUES ($1, $2)", version,
                              file.checksum);
      done = version;
      return absl::OkStatus();
    }
    return absl::OkStatus();
  }));
  return done;
}

}  // namespace

absl::StatusOr<int> Migrate(const std::string& database_url, const std::string& directory) {
  ASSIGN_OR_RETURN(const auto files, ReadDirectory(directory));
  PgSession session = MigrationSession(database_url);
  for (int count = 0;; ++count) {
    ASSIGN_OR_RETURN(const std::string version, ApplyNext(session, files));
    if (version.empty()) return count;
  }
}

absl::Status MigrateDown(const std::string& database_url, const std::string& directory, int steps) {
  ASSIGN_OR_RETURN(const auto files, ReadDirectory(directory));
  PgSession session = MigrationSession(database_url);
  return session.RunTransaction([&](pqxx::work& transaction) -> absl::Status {
    Prepare(transaction);
    const std::map<std::string, std::string> applied = Applied(transaction);
    RETURN_IF_ERROR(CheckApplied(applied, files));
    int left = steps;
    for (auto newest = applied.rbegin(); newest != applied.rend() && left > 0; ++newest, --left) {
      transaction.exec(files.at(newest->first).down);
      transaction.exec_params("DELETE FROM schema_migrations WHERE version = $1", newest->first);
    }
    return absl::OkStatus();
  });
}

}  // namespace carillon
