// recurrences create|list|delete.

#include <cstdio>

#include "absl/strings/str_format.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

struct CreateOptions {
  std::string cron, zone;
  std::string type, actor, object, data;
  std::string user, followers_of, topic;
  bool everyone = false;
};

// What both kinds of requests have.
template <typename Request>
absl::Status FillIn(const CreateOptions& options, Request* request) {
  request->set_type(options.type);
  request->set_actor_id(options.actor);
  request->set_object_id(options.object);
  if (options.data.empty()) return absl::OkStatus();
  return ParseData(options.data, request->mutable_data());
}

absl::StatusOr<v1::CreateRecurrenceRequest> ToRequest(const CreateOptions& options) {
  v1::CreateRecurrenceRequest request;
  request.mutable_recurrence()->set_cron(options.cron);
  request.mutable_recurrence()->set_time_zone(options.zone);
  if (!options.user.empty()) {
    request.mutable_send()->set_user_id(options.user);
    RETURN_IF_ERROR(FillIn(options, request.mutable_send()));
    return request;
  }
  v1::Audience& audience = *request.mutable_event()->mutable_audience();
  if (!options.followers_of.empty()) audience.set_followers_of(options.followers_of);
  if (!options.topic.empty()) audience.set_topic(options.topic);
  if (options.everyone) audience.mutable_everyone();
  RETURN_IF_ERROR(FillIn(options, request.mutable_event()));
  return request;
}

std::string NextText(const v1::Recurrence& recurrence) {
  return recurrence.has_next_time() ? TimeText(recurrence.next_time()) : "never";
}

absl::Status Create(Context& context, const CreateOptions& options) {
  ASSIGN_OR_RETURN(const v1::CreateRecurrenceRequest request, ToRequest(options));
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::CreateRecurrenceResponse created, client->CreateRecurrence(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(created).c_str());
  } else {
    absl::PrintF("%s next %s\n", created.recurrence().recurrence_id(), NextText(created.recurrence()));
  }
  return absl::OkStatus();
}

void PrintRecurrences(const v1::ListRecurrencesResponse& listed) {
  Table table({"ID", "CRON", "ZONE", "TYPE", "USER", "NEXT", "LAST ERROR"});
  for (const v1::Recurrence& recurrence : listed.recurrences()) {
    const std::string zone = recurrence.time_zone().empty() ? "UTC" : recurrence.time_zone();
    const std::string user = recurrence.user_id().empty() ? "(event)" : recurrence.user_id();
    const std::string error = recurrence.last_error().empty() ? "-" : recurrence.last_error();
    table.Add(
        {recurrence.recurrence_id(), recurrence.cron(), zone, recurrence.type(), user, NextText(recurrence), error});
  }
  table.Print();
}

// All of them: an app has at most a page full.
absl::Status List(Context& context) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListRecurrencesRequest request;
  request.set_page_size(1000);
  ASSIGN_OR_RETURN(const v1::ListRecurrencesResponse listed, client->ListRecurrences(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(listed).c_str());
  } else {
    PrintRecurrences(listed);
  }
  return absl::OkStatus();
}

absl::Status Delete(Context& context, const std::string& id) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::DeleteRecurrenceRequest request;
  request.set_recurrence_id(id);
  ASSIGN_OR_RETURN(const v1::DeleteRecurrenceResponse response, client->DeleteRecurrence(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(response).c_str());
  } else {
    std::printf("%s\n", response.deleted() ? "deleted" : "there was none");
  }
  return absl::OkStatus();
}

void AddCreateCommand(CLI::App& recurrences, Context& context) {
  auto options = std::make_shared<CreateOptions>();
  CLI::App* create = AddCommand(recurrences, context, "create", "send something again and again",
                                [&context, options] { return Create(context, *options); });
  create->add_option("--cron", options->cron, "when, as in crontab(5): '0 9 * * mon-fri'")->required();
  create->add_option("--zone", options->zone, "whose clock: an IANA name, as Europe/Berlin; default: UTC");
  create->add_option("--type", options->type, "its type in the catalogue")->required();
  create->add_option("--actor", options->actor, "who caused it");
  create->add_option("--object", options->object, "what it is about");
  create->add_option("--data", options->data, "a JSON object for templates and clients");
  CLI::Option_group* to = create->add_option_group("audience", "whom it is told: exactly one");
  to->add_option("--user", options->user, "this user");
  to->add_option("--followers-of", options->followers_of, "an event to the followers of this user");
  to->add_option("--topic", options->topic, "an event to the subscribers of this topic");
  to->add_flag("--everyone", options->everyone, "an event to everyone with a feed");
  to->require_option(1);
}

}  // namespace

void AddRecurrenceCommands(CLI::App& app, Context& context) {
  CLI::App* recurrences = app.add_subcommand("recurrences", "what is sent again and again");
  recurrences->require_subcommand(1);
  AddCreateCommand(*recurrences, context);
  AddCommand(*recurrences, context, "list", "show all and when they are sent next",
             [&context] { return List(context); });
  auto id = std::make_shared<std::string>();
  CLI::App* remove = AddCommand(*recurrences, context, "delete", "end one; what it has sent stays",
                                [&context, id] { return Delete(context, *id); });
  remove->add_option("ID", *id, "recurrence id")->required();
}

}  // namespace carillon::ctl
