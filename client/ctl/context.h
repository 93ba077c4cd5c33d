// What the commands share: the options that all have, and the client they call by.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "client/carillon/client.h"

namespace carillon::ctl {

// The process ends with 0, or with 1 and a message on standard error.
class Context {
 public:
  // --json, --address and the variables of the environment.
  void AddOptions(CLI::App& app);

  bool json() const { return json_; }
  // Made when a command first calls; FAILED_PRECONDITION if the environment does
  // not say whom to call.
  absl::StatusOr<Client*> client();
  // Another one, whose address and credentials are the same.
  absl::StatusOr<std::unique_ptr<Client>> MakeClient(ClientOptions options) const;
  absl::StatusOr<std::string> database_url() const;
  absl::StatusOr<std::string> app_key() const;
  // Beside the sources that this program was built from, else where the package puts them.
  std::string DefaultMigrations() const;

  // A command's result: its callback stores what it returned.
  void Finish(const absl::Status& status) { result_ = status; }
  const absl::Status& result() const { return result_; }

 private:
  bool json_ = false;
  std::string address_;
  std::string app_key_;
  std::string app_secret_;
  std::string user_token_;
  std::string database_url_;
  std::unique_ptr<Client> client_;
  absl::Status result_;
};

// Adds a command whose `run` returns a status.
template <typename Run>
CLI::App* AddCommand(CLI::App& parent, Context& context, const std::string& name, const std::string& help, Run run) {
  CLI::App* command = parent.add_subcommand(name, help);
  command->callback([&context, run] { context.Finish(run()); });
  return command;
}

// send, get, cancel, opened, clicked.
void AddNotificationCommands(CLI::App& app, Context& context);
// explain.
void AddExplainCommands(CLI::App& app, Context& context);
// feed, watch.
void AddFeedCommands(CLI::App& app, Context& context);
// recipients set, get, token, export, erase; devices add, remove; suppressions list, add, remove.
void AddRecipientCommands(CLI::App& app, Context& context);
// settings get, set, mute, unmute, mutes, centre, app.
void AddSettingsCommands(CLI::App& app, Context& context);
// follows add, remove, list, import; topics subscribe, unsubscribe, subscribers, feed, watch.
void AddAudienceCommands(CLI::App& app, Context& context);
// event publish, get, watch, pause, resume, cancel; react, counters.
void AddEventCommands(CLI::App& app, Context& context);
// recurrences create, list, delete.
void AddRecurrenceCommands(CLI::App& app, Context& context);
// types list, types apply.
void AddCatalogCommands(CLI::App& app, Context& context);
// templates apply, list, activate, preview.
void AddTemplateCommands(CLI::App& app, Context& context);
// queues, top.
void AddQueueCommands(CLI::App& app, Context& context);
// dlq list, show, replay, purge, export, audit.
void AddDeadLetterCommands(CLI::App& app, Context& context);
// migrate, app create, app set, app rotate.
void AddAdminCommands(CLI::App& app, Context& context);
// app limits, sandbox, advance, tripped, lift.
void AddLimitCommands(CLI::App& apps, Context& context);
// providers apply, providers list; stats.
void AddProviderCommands(CLI::App& app, Context& context);

}  // namespace carillon::ctl
