// app limits, app sandbox, app advance, app tripped, app lift.
#include <google/protobuf/util/time_util.h>

#include <cstdio>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

using google::protobuf::util::TimeUtil;

// What is not given stays as it is.
struct LimitOptions {
  std::string app_key;
  std::optional<int64_t> app_rate;
  std::optional<int64_t> app_burst;
  std::optional<int64_t> sender_rate;
  std::optional<int64_t> sender_burst;
  std::optional<int64_t> runaway;

  bool has_changes() const {
    return app_rate.has_value() || app_burst.has_value() || sender_rate.has_value() || sender_burst.has_value() ||
           runaway.has_value();
  }
};

v1::SendLimits Merge(const LimitOptions& options, v1::SendLimits limits) {
  limits.set_app_rate(options.app_rate.value_or(limits.app_rate()));
  limits.set_app_burst(options.app_burst.value_or(limits.app_burst()));
  limits.set_sender_rate(options.sender_rate.value_or(limits.sender_rate()));
  limits.set_sender_burst(options.sender_burst.value_or(limits.sender_burst()));
  limits.set_runaway_per_minute(options.runaway.value_or(limits.runaway_per_minute()));
  return limits;
}

std::string RateText(int64_t rate, int64_t burst) {
  if (rate == 0) return "no limit";
  return absl::StrCat(rate, " a second, ", burst == 0 ? rate : burst, " at once");
}

absl::Status SetLimits(Context& context, const LimitOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::UpdateAppRequest request;
  request.set_app_key(options.app_key);
  // Changes nothing, and tells how they are.
  ASSIGN_OR_RETURN(v1::UpdateAppResponse updated, client->UpdateApp(request));
  if (options.has_changes()) {
    *request.mutable_limits() = Merge(options, updated.app().limits());
    ASSIGN_OR_RETURN(updated, client->UpdateApp(request));
  }
  if (context.json()) {
    std::printf("%s\n", ToJson(updated).c_str());
    return absl::OkStatus();
  }
  const v1::SendLimits& limits = updated.app().limits();
  const std::string runaway =
      limits.runaway_per_minute() == 0 ? "no limit" : absl::StrCat(limits.runaway_per_minute(), " a minute");
  std::printf("app %s: %s; each sender: %s; shut out past: %s\n", updated.app().name().c_str(),
              RateText(limits.app_rate(), limits.app_burst()).c_str(),
              RateText(limits.sender_rate(), limits.sender_burst()).c_str(), runaway.c_str());
  return absl::OkStatus();
}

absl::Status MakeSandbox(Context& context, const std::string& app_key) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::UpdateAppRequest request;
  request.set_app_key(app_key);
  request.set_sandbox(true);
  ASSIGN_OR_RETURN(const v1::UpdateAppResponse updated, client->UpdateApp(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(updated).c_str());
  } else {
    std::printf("app %s is a sandbox; its time is %s\n", updated.app().name().c_str(),
                TimeText(updated.app().app_time()).c_str());
  }
  return absl::OkStatus();
}

absl::Status Advance(Context& context, const std::string& by_text) {
  absl::Duration by;
  if (!absl::ParseDuration(by_text, &by)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", by_text, "\" is no time such as 8h, 90m or 1h30m"));
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::AdvanceClockRequest request;
  *request.mutable_by() = TimeUtil::MicrosecondsToDuration(absl::ToInt64Microseconds(by));
  ASSIGN_OR_RETURN(const v1::AdvanceClockResponse moved, client->AdvanceClock(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(moved).c_str());
  } else {
    std::printf("the app's time is %s; %s became due\n", TimeText(moved.app_time()).c_str(),
                absl::StrCat(moved.due()).c_str());
  }
  return absl::OkStatus();
}

absl::Status ListTripped(Context& context, const std::string& app_key) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListTrippedSendersRequest request;
  request.set_app_key(app_key);
  ASSIGN_OR_RETURN(const v1::ListTrippedSendersResponse response, client->ListTrippedSenders(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"TRIPPED", "APP", "SENDER", "SENT", "LIMIT"});
  for (const v1::TrippedSender& sender : response.senders()) {
    table.Add({TimeText(sender.trip_time()), sender.app_key(), sender.sender_id(), absl::StrCat(sender.count()),
               absl::StrCat(sender.limit())});
  }
  table.Print();
  return absl::OkStatus();
}

struct LiftOptions {
  std::string app_key;
  std::string sender_id;
};

absl::Status Lift(Context& context, const LiftOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::LiftTrippedSenderRequest request;
  request.set_app_key(options.app_key);
  request.set_sender_id(options.sender_id);
  ASSIGN_OR_RETURN(const v1::LiftTrippedSenderResponse response, client->LiftTrippedSender(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    std::printf("%s\n", response.lifted() ? "lifted: it may send again" : "it was not shut out");
  }
  return absl::OkStatus();
}

void AddSetLimits(CLI::App& apps, Context& context) {
  auto options = std::make_shared<LimitOptions>();
  CLI::App* limits = AddCommand(apps, context, "limits", "show or change what an app and its senders may send",
                                [&context, options] { return SetLimits(context, *options); });
  limits->add_option("APP_KEY", options->app_key, "ck_...")->required();
  const auto add = [limits](const std::string& name, std::optional<int64_t>& target, const std::string& help) {
    limits->add_option_function<int64_t>(
        name, [&target](int64_t value) { target = value; }, help);
  };
  add("--app-rate", options->app_rate, "notifications a second; 0: no limit");
  add("--app-burst", options->app_burst, "notifications at once; 0: the rate");
  add("--sender-rate", options->sender_rate, "notifications a second of each actor; 0: no limit");
  add("--sender-burst", options->sender_burst, "notifications at once of each actor; 0: the rate");
  add("--runaway", options->runaway, "a sender that sends more in a minute is shut out; 0: never");
}

}  // namespace

void AddLimitCommands(CLI::App& apps, Context& context) {
  AddSetLimits(apps, context);
  auto sandbox_key = std::make_shared<std::string>();
  AddCommand(apps, context, "sandbox", "make an app a sandbox, for good: its time can be moved",
             [&context, sandbox_key] { return MakeSandbox(context, *sandbox_key); })
      ->add_option("APP_KEY", *sandbox_key, "ck_...")
      ->required();
  auto by = std::make_shared<std::string>();
  AddCommand(apps, context, "advance", "move the time of this app, a sandbox, forward",
             [&context, by] { return Advance(context, *by); })
      ->add_option("BY", *by, "8h, 90m, 1h30m")
      ->required();
  auto tripped_key = std::make_shared<std::string>();
  AddCommand(apps, context, "tripped", "senders that are shut out for an absurd volume", [&context, tripped_key] {
    return ListTripped(context, *tripped_key);
  })->add_option("--app", *tripped_key, "of this app only: ck_...");
  auto lift_options = std::make_shared<LiftOptions>();
  CLI::App* lift = AddCommand(apps, context, "lift", "let a sender in again",
                              [&context, lift_options] { return Lift(context, *lift_options); });
  lift->add_option("APP_KEY", lift_options->app_key, "ck_...")->required();
  lift->add_option("SENDER", lift_options->sender_id, "an actor id; none: those who have none");
}

}  // namespace carillon::ctl
