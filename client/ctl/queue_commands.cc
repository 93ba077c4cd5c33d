// queues, top.
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"
#include "client/ctl/pressure_text.h"
#include "client/ctl/terminal.h"

namespace carillon::ctl {
namespace {

constexpr int kPlainWidth = 160;
constexpr absl::Duration kDepthShown = absl::Minutes(5);

struct TopOptions {
  double interval_seconds = 1;
  bool once = false;
};

v1::ListQueuesRequest WithHistory(absl::Duration history) {
  v1::ListQueuesRequest request;
  request.mutable_history()->set_seconds(absl::ToInt64Seconds(history));
  return request;
}

void PrintLines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
}

absl::Status ListQueues(Context& context) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ListQueuesResponse response, client->ListQueues({}));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintLines(RenderQueues(response, {.width = kPlainWidth, .title = "", .notice = ""}));
  }
  return absl::OkStatus();
}

std::string TitleOf(const v1::ListQueuesResponse& response) {
  return absl::StrCat("carillon, ", TimeText(response.sample_time()), " UTC");
}

absl::Status PrintOnce(Context& context, Client& client) {
  ASSIGN_OR_RETURN(const v1::ListQueuesResponse response, client.ListQueues(WithHistory(kDepthShown)));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  PrintLines(RenderQueues(
      response,
      {.width = kPlainWidth, .utf8 = TakesUtf8(), .sparklines = true, .title = TitleOf(response), .notice = ""}));
  return absl::OkStatus();
}

// What was last known stays on the screen while nothing answers.
absl::Status Follow(Client& client, absl::Duration interval) {
  ASSIGN_OR_RETURN(v1::ListQueuesResponse known, client.ListQueues(WithHistory(kDepthShown)));
  FullScreen screen;
  const bool utf8 = TakesUtf8();
  std::string notice;
  while (true) {
    screen.Draw(RenderQueues(known, {.width = screen.width(),
                                     .height = screen.height(),
                                     .color = true,
                                     .utf8 = utf8,
                                     .sparklines = true,
                                     .title = absl::StrCat(TitleOf(known), "   (q: leave)"),
                                     .notice = notice}));
    const FullScreen::Event event = screen.Wait(interval);
    if (event == FullScreen::Event::kQuit) return absl::OkStatus();
    if (event == FullScreen::Event::kResized) continue;
    absl::StatusOr<v1::ListQueuesResponse> newer = client.ListQueues(WithHistory(kDepthShown));
    notice = newer.ok() ? "" : absl::StrCat("no answer: ", newer.status().message());
    if (newer.ok()) known = *std::move(newer);
  }
}

absl::Status Top(Context& context, const TopOptions& options) {
  // One attempt, and soon over: the next look comes by itself.
  ASSIGN_OR_RETURN(const std::unique_ptr<Client> client, context.MakeClient({.address = "",
                                                                             .app_key = "",
                                                                             .app_secret = "",
                                                                             .user_token = nullptr,
                                                                             .deadline = absl::Seconds(3),
                                                                             .retry = {.max_attempts = 1},
                                                                             .tls = {},
                                                                             .on_retry = nullptr}));
  if (options.once || context.json() || !IsTerminal()) return PrintOnce(context, *client);
  return Follow(*client, absl::Seconds(options.interval_seconds));
}

}  // namespace

void AddQueueCommands(CLI::App& app, Context& context) {
  AddCommand(app, context, "queues", "every lane and busy queue: how much waits, how old it is, how fast it moves",
             [&context] { return ListQueues(context); });
  auto options = std::make_shared<TopOptions>();
  CLI::App* top = AddCommand(app, context, "top", "the same, live; without a terminal one frame",
                             [&context, options] { return Top(context, *options); });
  top->add_option("--interval", options->interval_seconds, "seconds between two looks")
      ->capture_default_str()
      ->check(CLI::Range(0.2, 3600.0));
  top->add_flag("--once", options->once, "one frame as plain text");
}

}  // namespace carillon::ctl
