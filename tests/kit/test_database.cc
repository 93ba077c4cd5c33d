#include "tests/kit/test_database.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "carillon/postgres/migrator.h"
#include "tests/kit/environment.h"
#include "tests/kit/process.h"

namespace carillon::testing {
namespace {

// Serialises the making of templates across test programs.
constexpr char kTemplateLock[] = "SELECT pg_advisory_lock(7231940)";

[[noreturn]] void Die(const std::string& what) {
  std::cerr << "TestDatabase: " << what << std::endl;
  std::abort();
}

struct ConnectionCloser {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, ConnectionCloser>;

struct ResultClearer {
  void operator()(PGresult* result) const { PQclear(result); }
};

Connection Connect(const std::string& url) {
  Connection connection(PQconnectdb(url.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) Die(PQerrorMessage(connection.get()));
  return connection;
}

std::string Execute(PGconn* connection, const std::string& statements) {
  const std::unique_ptr<PGresult, ResultClearer> result(PQexec(connection, statements.c_str()));
  const ExecStatusType status = PQresultStatus(result.get());
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    Die(absl::StrCat(PQerrorMessage(connection), "in: ", statements));
  }
  if (status != PGRES_TUPLES_OK || PQntuples(result.get()) == 0) return "";
  return PQgetvalue(result.get(), 0, 0);
}

// The URL of another database on the same server.
std::string WithDatabase(const std::string& url, const std::string& name) {
  const size_t authority = url.find("://") + 3;
  const size_t path = std::min(url.find('/', authority), url.size());
  return absl::StrCat(url.substr(0, path), "/", name, "?options=-csearch_path%3Dcarillon");
}

std::string MigrationsDirectory() { return absl::StrCat(SourceDirectory(), "/migrations"); }

// FNV-1a over all migrations, so that a changed schema gets a template of its own.
std::string TemplateName() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(MigrationsDirectory())) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::ostringstream text;
  for (const auto& file : files) text << file.filename().string() << std::ifstream(file).rdbuf();
  uint64_t hash = 14695981039346656037u;
  for (const unsigned char byte : text.str()) hash = (hash ^ byte) * 1099511628211u;
  return absl::StrFormat("carillon_template_%016x", hash);
}

// Makes the template under another name first: one that exists is complete.
void MakeTemplate(PGconn* server, const std::string& name) {
  const std::string unfinished = absl::StrCat(name, "_new");
  Execute(server, absl::StrCat("DROP DATABASE IF EXISTS ", unfinished, " WITH (FORCE)"));
  Execute(server, absl::StrCat("CREATE DATABASE ", unfinished));
  const absl::StatusOr<int> migrated =
      Migrate(WithDatabase(TestDatabaseServerUrl(), unfinished), MigrationsDirectory());
  if (!migrated.ok()) Die(migrated.status().ToString());
  Execute(server, absl::StrCat("ALTER DATABASE ", unfinished, " RENAME TO ", name));
}

const std::string& EnsureTemplate(PGconn* server) {
  static const auto* const name = [server] {
    auto* const made = new std::string(TemplateName());
    Execute(server, kTemplateLock);
    const std::string query = absl::StrCat("SELECT count(*) FROM pg_database WHERE datname = '", *made, "'");
    if (Execute(server, query) == "0") MakeTemplate(server, *made);
    Execute(server, "SELECT pg_advisory_unlock_all()");
    return made;
  }();
  return *name;
}

std::string UniqueName() {
  static std::atomic<int> count = 0;
  return absl::StrFormat("carillon_test_%d_%d_%04x", getpid(), ++count, absl::Uniform<uint16_t>(absl::BitGen()));
}

}  // namespace

TestDatabase::TestDatabase() : name_(UniqueName()), url_(WithDatabase(TestDatabaseServerUrl(), name_)) {
  const Connection server = Connect(TestDatabaseServerUrl());
  const std::string& source = EnsureTemplate(server.get());
  Execute(server.get(), absl::StrCat("CREATE DATABASE ", name_, " TEMPLATE ", source));
}

TestDatabase::~TestDatabase() {
  const Connection server = Connect(TestDatabaseServerUrl());
  Execute(server.get(), absl::StrCat("DROP DATABASE IF EXISTS ", name_, " WITH (FORCE)"));
}

std::string TestDatabase::Query(const std::string& statements) const {
  return Execute(Connect(url_).get(), statements);
}

void RestartPostgres() {
  for (const char* command : {"stop", "start"}) {
    const absl::StatusOr<CommandResult> result =
        RunCommand({"/usr/bin/python3", absl::StrCat(SourceDirectory(), "/deploy/local/stack.py"), command, "--dir",
                    TestStackDirectory(), "postgres"});
    if (!result.ok()) Die(result.status().ToString());
    if (result->exit_status != 0) Die(absl::StrCat(command, ": ", result->output, result->errors));
  }
}

}  // namespace carillon::testing
