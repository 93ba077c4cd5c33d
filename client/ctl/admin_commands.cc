// migrate, app create, app set, app rotate.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/migrator.h"
#include "carillon/runtime/secrets.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

struct MigrateOptions {
  std::string directory;
  int down = 0;
};

absl::Status RunMigrations(Context& context, const MigrateOptions& options) {
  ASSIGN_OR_RETURN(const std::string url, context.database_url());
  const std::string directory = options.directory.empty() ? context.DefaultMigrations() : options.directory;
  int applied = 0;
  if (options.down > 0) {
    RETURN_IF_ERROR(MigrateDown(url, directory, options.down));
  } else {
    ASSIGN_OR_RETURN(applied, Migrate(url, directory));
  }
  if (context.json()) {
    std::printf("{\"applied\":%d,\"taken_back\":%d}\n", applied, options.down);
  } else if (options.down > 0) {
    std::printf("%d migrations taken back\n", options.down);
  } else {
    std::printf("%d migrations applied; the schema is current\n", applied);
  }
  return absl::OkStatus();
}

struct CreateOptions {
  std::string name;
  std::vector<std::string> scopes;
  bool direct = false;
};

// The first app of an installation: nobody has credentials to call with yet.
absl::StatusOr<v1::CreateAppResponse> CreateDirectly(Context& context, const CreateOptions& options) {
  ASSIGN_OR_RETURN(const std::string url, context.database_url());
  PostgresAppStore store(std::make_shared<PgPool>(PgOptions{.url = url, .application_name = "carillonctl"}, 1));
  const std::string secret = NewAppSecret();
  const App wanted{
      .id = {},
      .name = options.name,
      .key = NewAppKey(),
      .scopes = options.scopes.empty() ? std::vector<std::string>{"send", "feed", "catalog"} : options.scopes,
      .create_time = {}};
  ASSIGN_OR_RETURN(const App created, store.Create(wanted, HashSecret(secret)));
  v1::CreateAppResponse response;
  response.mutable_app()->set_app_id(absl::StrCat(created.id.value()));
  response.mutable_app()->set_name(created.name);
  response.mutable_app()->set_app_key(created.key);
  for (const std::string& scope : created.scopes) response.mutable_app()->add_scopes(scope);
  response.mutable_app()->mutable_create_time()->set_seconds(absl::ToUnixSeconds(created.create_time));
  response.mutable_app()->set_shared_audience_threshold(created.shared_audience_threshold);
  response.mutable_app()->set_default_locale(created.default_locale);
  response.set_app_secret(secret);
  return response;
}

absl::StatusOr<v1::CreateAppResponse> CreateByCall(Context& context, const CreateOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::CreateAppRequest request;
  request.set_name(options.name);
  for (const std::string& scope : options.scopes) request.add_scopes(scope);
  return client->CreateApp(request);
}

absl::Status CreateApp(Context& context, const CreateOptions& options) {
  ASSIGN_OR_RETURN(const v1::CreateAppResponse created,
                   options.direct ? CreateDirectly(context, options) : CreateByCall(context, options));
  if (context.json()) {
    std::printf("%s\n", ToJson(created).c_str());
    return absl::OkStatus();
  }
  std::printf("app %s (%s), scopes %s\nCARILLON_APP_KEY=%s\nCARILLON_APP_SECRET=%s\n", created.app().name().c_str(),
              created.app().app_id().c_str(), absl::StrJoin(created.app().scopes(), ",").c_str(),
              created.app().app_key().c_str(), created.app_secret().c_str());
  std::fprintf(stderr, "The secret is shown this once; only its hash is stored.\n");
  return absl::OkStatus();
}

struct SetOptions {
  std::string app_key;
  std::optional<int64_t> shared_audience_threshold;
  std::string default_locale;
};

absl::Status SetApp(Context& context, const SetOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::UpdateAppRequest request;
  request.set_app_key(options.app_key);
  if (options.shared_audience_threshold.has_value()) {
    request.mutable_shared_audience_threshold()->set_value(*options.shared_audience_threshold);
  }
  request.set_default_locale(options.default_locale);
  ASSIGN_OR_RETURN(const v1::UpdateAppResponse updated, client->UpdateApp(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(updated).c_str());
  } else {
    std::printf("app %s: events for more than %s recipients are stored once; default locale %s\n",
                updated.app().name().c_str(), absl::StrCat(updated.app().shared_audience_threshold()).c_str(),
                updated.app().default_locale().c_str());
  }
  return absl::OkStatus();
}

absl::Status RotateSecret(Context& context, const std::string& app_key) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::RotateAppSecretRequest request;
  request.set_app_key(app_key);
  ASSIGN_OR_RETURN(const v1::RotateAppSecretResponse rotated, client->RotateAppSecret(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(rotated).c_str());
  } else {
    std::printf("CARILLON_APP_SECRET=%s\n", rotated.app_secret().c_str());
    std::fprintf(stderr, "The secret before it stays valid until the next rotation.\n");
  }
  return absl::OkStatus();
}

void AddAppCommands(CLI::App& app, Context& context) {
  CLI::App* apps = app.add_subcommand("app", "apps (tenants) and their secrets");
  apps->require_subcommand(1);
  auto options = std::make_shared<CreateOptions>();
  CLI::App* create = AddCommand(*apps, context, "create", "create an app and its first secret",
                                [&context, options] { return CreateApp(context, *options); });
  create->add_option("NAME", options->name, "a name that no other app has")->required();
  create->add_option("--scopes", options->scopes, "of send,feed,catalog,admin; default: send,feed,catalog")
      ->delimiter(',');
  create->add_flag("--direct", options->direct, "write to CARILLON_DATABASE_URL: for the first app of an installation");
  auto set_options = std::make_shared<SetOptions>();
  CLI::App* set = AddCommand(*apps, context, "set", "change an app's settings",
                             [&context, set_options] { return SetApp(context, *set_options); });
  set->add_option("--app-key", set_options->app_key, "ck_...")->required();
  CLI::Option_group* settings = set->add_option_group("settings");
  settings->require_option(1, 0);
  settings->add_option_function<int64_t>(
      "--shared-audience-threshold", [set_options](int64_t size) { set_options->shared_audience_threshold = size; },
      "events for more recipients are stored once and enter a feed when it is next looked at");
  settings->add_option("--default-locale", set_options->default_locale,
                       "the language of recipients who have none: en, es-MX");
  auto app_key = std::make_shared<std::string>();
  CLI::App* rotate = AddCommand(*apps, context, "rotate", "give an app a new secret; the one before stays valid",
                                [&context, app_key] { return RotateSecret(context, *app_key); });
  rotate->add_option("APP_KEY", *app_key, "ck_...")->required();
  AddLimitCommands(*apps, context);
}

}  // namespace

void AddAdminCommands(CLI::App& app, Context& context) {
  auto migrate_options = std::make_shared<MigrateOptions>();
  CLI::App* migrate = AddCommand(app, context, "migrate", "bring the database's schema up to date",
                                 [&context, migrate_options] { return RunMigrations(context, *migrate_options); });
  migrate->add_option("--migrations", migrate_options->directory, "directory of the SQL files");
  migrate->add_option("--down", migrate_options->down, "take so many back instead")->check(CLI::Range(1, 1000));
  AddAppCommands(app, context);
}

}  // namespace carillon::ctl
