// carillonctl: the command line of Carillon's users and admins.
#include <cstdio>

#include "client/ctl/context.h"
#include "client/ctl/error_text.h"

namespace {

constexpr const char* kFooter =
    "Reads CARILLON_ADDRESS, CARILLON_APP_KEY and CARILLON_APP_SECRET (migrate, follows import and\n"
    "app create --direct: CARILLON_DATABASE_URL). After ./dev up:  . .run/env\n"
    "CARILLON_USER_TOKEN takes the app's place: calls are the end user's (recipients token makes one).\n\n"
    "  carillonctl send --type like --user ana --actor bob --object post-1 --data '{\"actor_name\": \"Bob\"}'\n"
    "  carillonctl watch --user ana\n"
    "  carillonctl get ID\n"
    "  carillonctl explain ID\n\n"
    "Exit status: 0 done, 1 failed (the reason is on standard error), 2 wrong usage.";

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Sends notifications, follows feeds and looks after Carillon.", "carillonctl");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  carillon::ctl::Context context;
  context.AddOptions(app);
  carillon::ctl::AddNotificationCommands(app, context);
  carillon::ctl::AddExplainCommands(app, context);
  carillon::ctl::AddFeedCommands(app, context);
  carillon::ctl::AddRecipientCommands(app, context);
  carillon::ctl::AddSettingsCommands(app, context);
  carillon::ctl::AddAudienceCommands(app, context);
  carillon::ctl::AddEventCommands(app, context);
  carillon::ctl::AddRecurrenceCommands(app, context);
  carillon::ctl::AddCatalogCommands(app, context);
  carillon::ctl::AddTemplateCommands(app, context);
  carillon::ctl::AddQueueCommands(app, context);
  carillon::ctl::AddAdminCommands(app, context);
  carillon::ctl::AddDeadLetterCommands(app, context);
  carillon::ctl::AddProviderCommands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (context.result().ok()) return 0;
  std::fprintf(stderr, "carillonctl: %s\n", carillon::ctl::ErrorText(context.result()).c_str());
  return 1;
}
