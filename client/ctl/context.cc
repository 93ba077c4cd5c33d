#include "client/ctl/context.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon::ctl {

void Context::AddOptions(CLI::App& app) {
  app.add_flag("--json", json_, "print protobuf JSON: one document, or one per line when streaming");
  app.add_option("--address", address_, "host:port of carillon-server")->envname("CARILLON_ADDRESS");
  // Credentials come from the environment only: arguments are seen by everyone on the machine.
  app.add_option("--app-key", app_key_)->envname("CARILLON_APP_KEY")->group("");
  app.add_option("--app-secret", app_secret_)->envname("CARILLON_APP_SECRET")->group("");
  app.add_option("--user-token", user_token_)->envname("CARILLON_USER_TOKEN")->group("");
  app.add_option("--database-url", database_url_)->envname("CARILLON_DATABASE_URL")->group("");
}

absl::StatusOr<Client*> Context::client() {
  if (client_ == nullptr) {
    ASSIGN_OR_RETURN(client_, MakeClient({}));
  }
  return client_.get();
}

absl::StatusOr<std::unique_ptr<Client>> Context::MakeClient(ClientOptions options) const {
  const bool as_user = !user_token_.empty();
  for (const auto& [value, variable] :
       {std::pair(&address_, "CARILLON_ADDRESS"), std::pair(&app_key_, "CARILLON_APP_KEY"),
        std::pair(&app_secret_, "CARILLON_APP_SECRET")}) {
    if (value->empty() && (!as_user || value == &address_)) {
      return absl::FailedPreconditionError(absl::StrCat(variable, " is not set (after ./dev up: . .run/env)"));
    }
  }
  options.address = address_;
  options.app_key = app_key_;
  options.app_secret = app_secret_;
  if (as_user) options.user_token = [token = user_token_] { return token; };
  return std::make_unique<Client>(std::move(options));
}

absl::StatusOr<std::string> Context::database_url() const {
  if (database_url_.empty()) return absl::FailedPreconditionError("CARILLON_DATABASE_URL is not set");
  return database_url_;
}

absl::StatusOr<std::string> Context::app_key() const {
  if (app_key_.empty()) return absl::FailedPreconditionError("CARILLON_APP_KEY is not set");
  return app_key_;
}

std::string Context::DefaultMigrations() const {
  std::error_code ignored;
  const std::filesystem::path program = std::filesystem::canonical("/proc/self/exe", ignored);
  const std::filesystem::path beside = program.parent_path() / ".." / ".." / "migrations";
  return std::filesystem::is_directory(beside, ignored) ? beside.string() : "/usr/share/carillon/migrations";
}

}  // namespace carillon::ctl
