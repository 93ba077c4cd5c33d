// templates apply, list, activate, preview.
#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "carillon/domain/status_macros.h"
#include "client/ctl/context.h"
#include "client/ctl/json_file.h"
#include "client/ctl/output.h"

namespace carillon::ctl {
namespace {

std::string ChannelName(v1::Channel channel) { return ShortName(v1::Channel_Name(channel), "CHANNEL_"); }

absl::StatusOr<v1::Channel> ParseChannelName(const std::string& text) {
  v1::Channel channel = v1::CHANNEL_UNSPECIFIED;
  if (v1::Channel_Parse(absl::StrCat("CHANNEL_", absl::AsciiStrToUpper(text)), &channel)) return channel;
  return absl::InvalidArgumentError("CHANNEL must be email, sms, apns, fcm or webhook");
}

std::string LocaleName(const std::string& locale) { return locale.empty() ? "(all)" : locale; }

absl::StatusOr<v1::Template> ParseTemplate(const std::string& path, nlohmann::json entry) {
  v1::Template parsed;
  if (entry.is_object() && entry.contains("channel")) LengthenEnum(entry["channel"], "CHANNEL_");
  const auto status = google::protobuf::util::JsonStringToMessage(entry.dump(), &parsed);
  if (status.ok()) return parsed;
  const std::string why(status.message().data(), status.message().size());
  return absl::InvalidArgumentError(absl::StrCat(path, ": must be a template, or a JSON array of them: ", why));
}

// One template, or an array of them.
absl::StatusOr<std::vector<v1::Template>> ReadTemplates(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const nlohmann::json file = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  std::vector<v1::Template> templates;
  for (const nlohmann::json& entry : file.is_array() ? file : nlohmann::json::array({file})) {
    ASSIGN_OR_RETURN(v1::Template parsed, ParseTemplate(path, entry));
    templates.push_back(std::move(parsed));
  }
  return templates;
}

absl::Status Apply(Context& context, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<v1::Template> templates, ReadTemplates(path));
  v1::ApplyTemplatesRequest request;
  for (const v1::Template& wanted : templates) *request.add_templates() = wanted;
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ApplyTemplatesResponse applied, client->ApplyTemplates(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(applied).c_str());
    return absl::OkStatus();
  }
  for (const v1::Template& active : applied.templates()) {
    std::printf("%s %s %s: version %d is active\n", active.type().c_str(), ChannelName(active.channel()).c_str(),
                LocaleName(active.locale()).c_str(), active.version());
  }
  return absl::OkStatus();
}

struct ListOptions {
  std::string type;
  bool all = false;
};

absl::Status List(Context& context, const ListOptions& options) {
  ASSIGN_OR_RETURN(Client * client, context.client());
  v1::ListTemplatesResponse all;
  v1::ListTemplatesRequest request;
  request.set_type(options.type);
  request.set_all_versions(options.all);
  do {
    ASSIGN_OR_RETURN(const v1::ListTemplatesResponse page, client->ListTemplates(request));
    all.mutable_templates()->MergeFrom(page.templates());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (context.json()) {
    std::printf("%s\n", ToJson(all).c_str());
    return absl::OkStatus();
  }
  Table table({"TYPE", "CHANNEL", "LOCALE", "VERSION", "ACTIVE", "MADE"});
  for (const v1::Template& listed : all.templates()) {
    table.Add({listed.type(), ChannelName(listed.channel()), LocaleName(listed.locale()),
               absl::StrCat(listed.version()), listed.active() ? "yes" : "no", TimeText(listed.create_time())});
  }
  table.Print();
  return absl::OkStatus();
}

struct ActivateOptions {
  std::string type, channel, locale;
  int version = 0;
};

absl::Status Activate(Context& context, const ActivateOptions& options) {
  v1::ActivateTemplateRequest request;
  request.set_type(options.type);
  ASSIGN_OR_RETURN(const v1::Channel channel, ParseChannelName(options.channel));
  request.set_channel(channel);
  request.set_locale(options.locale);
  request.set_version(options.version);
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::ActivateTemplateResponse activated, client->ActivateTemplate(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(activated).c_str());
  } else {
    std::printf("version %d is active\n", activated.template_().version());
  }
  return absl::OkStatus();
}

struct PreviewOptions {
  std::string type, channel, locale, user, actor, object, data, file;
};

// A draft needs to say only what its command does not.
absl::Status SetDraft(const PreviewOptions& options, v1::Channel channel, v1::PreviewTemplateRequest& request) {
  ASSIGN_OR_RETURN(const std::vector<v1::Template> drafts, ReadTemplates(options.file));
  if (drafts.size() != 1) return absl::InvalidArgumentError(absl::StrCat(options.file, ": must hold one template"));
  v1::Template& draft = *request.mutable_template_();
  draft = drafts.front();
  draft.set_type(options.type);
  draft.set_channel(channel);
  if (!options.locale.empty()) draft.set_locale(options.locale);
  return absl::OkStatus();
}

absl::StatusOr<v1::PreviewTemplateRequest> MakePreview(const PreviewOptions& options) {
  v1::PreviewTemplateRequest request;
  ASSIGN_OR_RETURN(const v1::Channel channel, ParseChannelName(options.channel));
  if (options.file.empty()) {
    request.set_type(options.type);
    request.set_channel(channel);
    request.set_locale(options.locale);
  } else {
    RETURN_IF_ERROR(SetDraft(options, channel, request));
  }
  request.set_user_id(options.user);
  request.set_actor_id(options.actor);
  request.set_object_id(options.object);
  if (!options.data.empty()) RETURN_IF_ERROR(ParseData(options.data, request.mutable_data()));
  return request;
}

void PrintField(const char* name, const std::string& text) {
  if (!text.empty()) std::printf("%s: %s\n", name, text.c_str());
}

void PrintPreview(const v1::PreviewTemplateResponse& preview) {
  const v1::Template& used = preview.template_();
  const v1::RenderedContent& content = preview.content();
  const std::string version = used.version() == 0 ? "unsaved" : absl::StrCat("version ", used.version());
  std::printf("[%s %s %s, %s]\n", used.type().c_str(), ChannelName(used.channel()).c_str(),
              LocaleName(used.locale()).c_str(), version.c_str());
  PrintField("subject", content.subject());
  PrintField("title", content.title());
  PrintField("body", content.body());
  PrintField("action link", content.action_link());
  PrintField("image", content.image_url());
  if (!content.text().empty()) std::printf("\n%s\n", content.text().c_str());
  if (!content.html().empty()) std::printf("\n--- HTML\n%s\n", content.html().c_str());
  if (content.has_sms_segments()) {
    std::printf("\n(%s, %d characters, segments: %d)\n", content.sms_segments().encoding().c_str(),
                content.sms_segments().characters(), content.sms_segments().segments());
  }
  if (!preview.missing_variables().empty()) {
    std::printf("\nmissing: %s\n", absl::StrJoin(preview.missing_variables(), ", ").c_str());
  }
}

absl::Status Preview(Context& context, const PreviewOptions& options) {
  ASSIGN_OR_RETURN(const v1::PreviewTemplateRequest request, MakePreview(options));
  ASSIGN_OR_RETURN(Client * client, context.client());
  ASSIGN_OR_RETURN(const v1::PreviewTemplateResponse preview, client->PreviewTemplate(request));
  if (context.json()) {
    std::printf("%s\n", ToJson(preview).c_str());
  } else {
    PrintPreview(preview);
  }
  return absl::OkStatus();
}

void AddPreview(CLI::App& templates, Context& context) {
  auto options = std::make_shared<PreviewOptions>();
  CLI::App* preview = AddCommand(templates, context, "preview", "show what a recipient would get; sends nothing",
                                 [&context, options] { return Preview(context, *options); });
  preview->add_option("TYPE", options->type, "a type's name")->required();
  preview->add_option("CHANNEL", options->channel, "email, sms, apns, fcm or webhook")->required();
  preview->add_option("--locale", options->locale, "the recipient's language: es-MX");
  preview->add_option("--user", options->user, "the recipient");
  preview->add_option("--actor", options->actor, "who did it");
  preview->add_option("--object", options->object, "what it is about");
  preview->add_option("--data", options->data, "a JSON object, as for send");
  preview->add_option("--file", options->file, "a draft instead of what is active: {\"sms\": {\"text\": ...}}");
}

}  // namespace

void AddTemplateCommands(CLI::App& app, Context& context) {
  CLI::App* templates = app.add_subcommand("templates", "what notifications say on external channels");
  templates->require_subcommand(1);
  auto path = std::make_shared<std::string>();
  CLI::App* apply = AddCommand(*templates, context, "apply", "add templates, each as the new active version",
                               [&context, path] { return Apply(context, *path); });
  apply->add_option("FILE", *path, "a template, or a JSON array of them; -: standard input")->required();
  auto list_options = std::make_shared<ListOptions>();
  CLI::App* list = AddCommand(*templates, context, "list", "list the app's templates and the shipped ones",
                              [&context, list_options] { return List(context, *list_options); });
  list->add_option("--type", list_options->type, "of this type only");
  list->add_flag("--all", list_options->all, "every version, not only the active ones");
  auto options = std::make_shared<ActivateOptions>();
  CLI::App* activate = AddCommand(*templates, context, "activate", "make a version the active one, older or newer",
                                  [&context, options] { return Activate(context, *options); });
  activate->add_option("TYPE", options->type, "a type's name")->required();
  activate->add_option("CHANNEL", options->channel, "email, sms, apns, fcm or webhook")->required();
  activate->add_option("VERSION", options->version, "as listed")->required();
  activate->add_option("--locale", options->locale, "of this language; absent: the one for everybody");
  AddPreview(*templates, context);
}

}  // namespace carillon::ctl
