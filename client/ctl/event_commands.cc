// event publish|get|watch|pause|resume|cancel, react, counters.
#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/dry_run.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

constexpr absl::Duration kWatchInterval = absl::Milliseconds(500);

std::string StateText(const v1::Event& event) { return ShortName(v1::EventState_Name(event.state()), "EVENT_STATE_"); }

bool HasEnded(const v1::Event& event) {
  return event.state() == v1::EVENT_STATE_DONE || event.state() == v1::EVENT_STATE_CANCELLED ||
         event.state() == v1::EVENT_STATE_SUPPRESSED;
}

// Where an event is, in one line.
std::string ProgressText(const v1::Event& event) {
  std::string text = StateText(event);
  if (event.shared()) {
    absl::StrAppend(&text, "  stored once for all, ", event.audience_size(), " recipients counted");
  } else if (event.audience_size() > 0) {
    absl::StrAppend(&text, "  ", event.expanded(), "/", event.audience_size());
  } else if (event.expanded() > 0) {
    absl::StrAppend(&text, "  ", event.expanded());
  }
  if (event.recipients_per_second() > 0) absl::StrAppendFormat(&text, "  %.0f/s", event.recipients_per_second());
  if (event.has_remaining_time()) absl::StrAppend(&text, "  ", event.remaining_time().seconds(), " s left");
  if (!event.detail().empty()) absl::StrAppend(&text, "  ", event.detail());
  return text;
}

void PrintEvent(const v1::Event& event) {
  absl::PrintF("%s  %s  %s\n", event.event_id(), event.type(), ProgressText(event));
  absl::PrintF("  published %s\n", TimeText(event.create_time()));
  if (event.has_finish_time()) absl::PrintF("  ended     %s\n", TimeText(event.finish_time()));
}

struct PublishOptions {
  std::string type, actor, object, data, key;
  std::string followers_of, topic;
  std::vector<std::string> users;
  bool everyone = false;
  bool dry_run = false;
};

absl::StatusOr<v1::PublishEventRequest> ToRequest(const PublishOptions& options) {
  v1::PublishEventRequest request;
  request.set_type(options.type);
  request.set_actor_id(options.actor);
  request.set_object_id(options.object);
  request.set_idempotency_key(options.key);
  RETURN_IF_ERROR(options.data.empty() ? absl::OkStatus() : ParseData(options.data, request.mutable_data()));
  v1::Audience& audience = *request.mutable_audience();
  if (!options.followers_of.empty()) audience.set_followers_of(options.followers_of);
  if (!options.topic.empty()) audience.set_topic(options.topic);
  for (const std::string& user : options.users) audience.mutable_users()->add_user_ids(user);
  if (options.everyone) audience.mutable_everyone();
  return request;
}

absl::Status Publish(Context& context, const PublishOptions& options) {
  ASSIGN_OR_RETURN(const v1::PublishEventRequest request, ToRequest(options));
  if (options.dry_run) {
    v1::DryRunRequest dry;
    *dry.mutable_event() = request;
    return RunDry(context, dry);
  }
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::PublishEventResponse published, client->PublishEvent(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(published).c_str());
  } else {
    absl::PrintF("%s %s%s\n", published.event().event_id(), StateText(published.event()),
                 published.duplicate() ? " (the key was used before: this is the first answer)" : "");
  }
  return absl::OkStatus();
}

// Of GetEvent, PauseEvent, ResumeEvent and CancelEvent alike.
template <typename Request, typename Response>
absl::Status Steer(Context& context, const std::string& id,
                   absl::StatusOr<Response> (Client::*method)(const Request&)) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  Request request;
  request.set_event_id(id);
  ASSIGN_OR_RETURN(const Response response, (client->*method)(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    PrintEvent(response.event());
  }
  return absl::OkStatus();
}

// Whether a watcher would see a difference; the rate alone is none.
bool LooksTheSame(const v1::Event& a, const v1::Event& b) {
  return a.state() == b.state() && a.expanded() == b.expanded() && a.audience_size() == b.audience_size() &&
         a.shared() == b.shared() && a.detail() == b.detail();
}

absl::Status Watch(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::GetEventRequest request;
  request.set_event_id(id);
  const bool in_place = !context.json() && isatty(STDOUT_FILENO) == 1;
  v1::Event shown;
  while (true) {
    ASSIGN_OR_RETURN(const v1::GetEventResponse response, client->GetEvent(request));
    const v1::Event& event = response.event();
    if (in_place) {
      absl::PrintF("\r%s\x1b[K%s", ProgressText(event), HasEnded(event) ? "\n" : "");
    } else if (shown.event_id().empty() || !LooksTheSame(shown, event)) {
      std::printf("%s\n", context.json() ? ToJson(response).c_str() : ProgressText(event).c_str());
    }
    std::fflush(stdout);
    if (HasEnded(event)) return absl::OkStatus();
    shown = event;
    absl::SleepFor(kWatchInterval);
  }
}

struct ReactOptions {
  std::string actor, object, kind, user, type, data;
  bool retract = false;
};

absl::Status React(Context& context, const ReactOptions& options) {
  v1::RecordReactionsRequest request;
  v1::Reaction& reaction = *request.add_reactions();
  reaction.set_actor_id(options.actor);
  reaction.set_object_id(options.object);
  reaction.set_kind(options.kind);
  reaction.set_retracted(options.retract);
  reaction.set_user_id(options.user);
  reaction.set_type(options.type);
  RETURN_IF_ERROR(options.data.empty() ? absl::OkStatus() : ParseData(options.data, reaction.mutable_data()));
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::RecordReactionsResponse response, client->RecordReactions(request));
  std::printf("%s\n", context.json() ? ToJson(response).c_str() : "accepted");
  return absl::OkStatus();
}

absl::Status Counters(Context& context, const std::vector<std::string>& objects) {
  v1::GetCountersRequest request;
  for (const std::string& object : objects) request.add_object_ids(object);
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::GetCountersResponse response, client->GetCounters(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
    return absl::OkStatus();
  }
  Table table({"OBJECT", "KIND", "COUNT"});
  for (const v1::Counter& counter : response.counters()) {
    table.Add({counter.object_id(), counter.kind(), absl::StrCat(counter.count())});
  }
  table.Print();
  return absl::OkStatus();
}

void AddPublishCommand(CLI::App& event, Context& context) {
  auto options = std::make_shared<PublishOptions>();
  CLI::App* publish = AddCommand(event, context, "publish", "tell an audience of something",
                                 [&context, options] { return Publish(context, *options); });
  publish->add_option("--type", options->type, "a type of weight social or marketing")->required();
  publish->add_option("--actor", options->actor, "who caused it");
  publish->add_option("--object", options->object, "what it is about");
  publish->add_option("--data", options->data, "a JSON object for templates and clients");
  publish->add_option("--key", options->key, "idempotency key: published again within 24 h it answers the same");
  publish->add_flag("--dry-run", options->dry_run, kDryRunHelp);
  CLI::Option_group* audience = publish->add_option_group("audience", "whom it is told: exactly one");
  audience->add_option("--followers-of", options->followers_of, "the followers of this user");
  audience->add_option("--topic", options->topic, "the subscribers of this topic, and its public feed");
  audience->add_option("--users", options->users, "these users: a,b,c")->delimiter(',');
  audience->add_flag("--everyone", options->everyone, "everyone with a feed");
  audience->require_option(1);
}

template <typename Run>
void AddEventCommand(CLI::App& event, Context& context, const std::string& name, const std::string& help, Run run) {
  auto id = std::make_shared<std::string>();
  CLI::App* command = AddCommand(event, context, name, help, [&context, id, run] { return run(context, *id); });
  command->add_option("ID", *id, "event id")->required();
}

void AddEventsCommand(CLI::App& app, Context& context) {
  CLI::App* event = app.add_subcommand("event", "what concerns an audience, and how far it was told");
  event->require_subcommand(1);
  AddPublishCommand(*event, context);
  AddEventCommand(*event, context, "get", "show how far an event has come",
                  [](Context& c, const std::string& id) { return Steer(c, id, &Client::GetEvent); });
  AddEventCommand(*event, context, "watch", "show it until it has ended", Watch);
  AddEventCommand(*event, context, "pause", "tell no further recipients until it is resumed",
                  [](Context& c, const std::string& id) { return Steer(c, id, &Client::PauseEvent); });
  AddEventCommand(*event, context, "resume", "go on where it was paused",
                  [](Context& c, const std::string& id) { return Steer(c, id, &Client::ResumeEvent); });
  AddEventCommand(*event, context, "cancel", "tell nobody further, for good",
                  [](Context& c, const std::string& id) { return Steer(c, id, &Client::CancelEvent); });
}

}  // namespace

void AddEventCommands(CLI::App& app, Context& context) {
  AddEventsCommand(app, context);
  auto options = std::make_shared<ReactOptions>();
  CLI::App* react = AddCommand(app, context, "react", "react to something, or take it back",
                               [&context, options] { return React(context, *options); });
  react->add_option("--actor", options->actor, "who reacts")->required();
  react->add_option("--object", options->object, "to what")->required();
  react->add_option("--kind", options->kind, "how: like, ...")->required();
  react->add_flag("--retract", options->retract, "take it back");
  react->add_option("--user", options->user, "whose feed tells of it; default: nobody's");
  react->add_option("--type", options->type, "the type of that item; default: the one named as the kind");
  react->add_option("--data", options->data, "a JSON object for that item's template");

  auto objects = std::make_shared<std::vector<std::string>>();
  CLI::App* counters = AddCommand(app, context, "counters", "how many react to objects",
                                  [&context, objects] { return Counters(context, *objects); });
  counters->add_option("OBJECT", *objects, "object ids")->required();
}

}  // namespace carillon::ctl
