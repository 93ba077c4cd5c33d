#include "server/api/template_requests.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/channels/render.h"
#include "carillon/channels/template_set.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/locale.h"
#include "carillon/domain/status_macros.h"
#include "server/api/page_token.h"
#include "server/api/send_request.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
// What a preview shows in the place of a signed link.
constexpr absl::string_view kSampleUnsubscribeUrl = "https://example.com/unsubscribe";

// Empty stays empty: for everybody.
std::string CheckLocale(absl::string_view field, const std::string& locale, Violations& violations) {
  if (locale.empty()) return "";
  const std::optional<std::string> canonical = CanonicalLocale(locale);
  if (!canonical.has_value()) violations.Add(field, "must be a BCP 47 language tag such as es or es-MX, or empty");
  return canonical.value_or("");
}

Channel CheckExternal(absl::string_view field, v1::Channel in, Violations& violations) {
  const auto channel = static_cast<Channel>(in);
  if (std::find(kExternalChannels.begin(), kExternalChannels.end(), channel) == kExternalChannels.end()) {
    violations.Add(field, "must be CHANNEL_EMAIL, CHANNEL_SMS, CHANNEL_APNS, CHANNEL_FCM or CHANNEL_WEBHOOK");
  }
  return channel;
}

std::shared_ptr<const NotificationType> CheckKnownType(absl::string_view field, const std::string& name, AppId app,
                                                       const Catalogue& catalogue, Violations& violations) {
  if (!violations.CheckName(field, name, limits::kMaxTypeNameBytes)) return nullptr;
  std::shared_ptr<const NotificationType> type = catalogue.Find(app, name);
  if (type == nullptr) violations.AddUnknownType(field, name);
  return type;
}

void AppendContentFaults(const v1::Template& in, Violations& violations) {
  for (const FieldViolation& fault : CheckContent(in)) violations.Add(fault.field, fault.description);
}

// The content alone: what the columns say is in them.
std::string SerializeContent(v1::Template content) {
  content.clear_type();
  content.clear_channel();
  content.clear_locale();
  content.clear_version();
  content.clear_active();
  content.clear_create_time();
  return content.SerializeAsString();
}

StoredTemplate CheckTemplate(const v1::Template& in, AppId app, const Catalogue& catalogue, Violations& violations) {
  CheckKnownType("type", in.type(), app, catalogue, violations);
  const std::string locale = CheckLocale("locale", in.locale(), violations);
  AppendContentFaults(in, violations);
  return {.app = app,
          .type = in.type(),
          .channel = static_cast<Channel>(in.channel()),
          .locale = locale,
          .create_time = {},
          .content = SerializeContent(in)};
}

// Parts of a position have no slash.
std::string PositionText(const v1::Template& last) {
  const absl::string_view channel = ToString(static_cast<Channel>(last.channel()));
  return absl::StrCat(last.type(), "/", channel, "/", last.locale(), "/", last.version());
}

std::optional<TemplateStore::ListQuery::Position> ParsePosition(absl::string_view text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  int version = 0;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[3], &version)) return std::nullopt;
  const Channel channel = ParseChannel(parts[1]).value_or(Channel::kEmail);
  return TemplateStore::ListQuery::Position{
      .key = {.app = {}, .type = parts[0], .channel = channel, .locale = parts[2]}, .version = version};
}

Notification CheckPreviewed(AppId app, const v1::PreviewTemplateRequest& request, Violations& violations) {
  violations.CheckId("user_id", request.user_id(), /*required=*/false);
  violations.CheckId("actor_id", request.actor_id(), /*required=*/false);
  violations.CheckId("object_id", request.object_id(), /*required=*/false);
  Notification notification;
  notification.app = app;
  notification.type = request.has_template_() ? request.template_().type() : request.type();
  notification.recipient = RecipientId(request.user_id());
  notification.actor_id = request.actor_id();
  notification.object_id = request.object_id();
  notification.data_json = CheckData(request.data(), violations);
  return notification;
}

void CheckDraft(const v1::PreviewTemplateRequest& request, Violations& violations) {
  if (!request.type().empty() || request.channel() != v1::CHANNEL_UNSPECIFIED || !request.locale().empty()) {
    violations.Add("template", "must be absent where type, channel and locale say which");
  }
  Violations own("template.");
  CheckLocale("locale", request.template_().locale(), own);
  AppendContentFaults(request.template_(), own);
  violations.Append(own);
}

}  // namespace

absl::Status TemplateRequests::Apply(AppId app, const v1::ApplyTemplatesRequest& request,
                                     v1::ApplyTemplatesResponse* response) {
  if (request.templates_size() < 1 || request.templates_size() > limits::kMaxBatchSize) {
    return error::InvalidField("templates", absl::StrCat("must be 1 to ", limits::kMaxBatchSize));
  }
  std::vector<StoredTemplate> templates;
  std::set<std::tuple<std::string, Channel, std::string>> keys;
  Violations violations;
  for (int i = 0; i < request.templates_size(); ++i) {
    Violations own(absl::StrCat("templates[", i, "]."));
    const StoredTemplate& added = templates.emplace_back(CheckTemplate(request.templates(i), app, catalogue_, own));
    if (!keys.emplace(added.type, added.channel, added.locale).second) {
      own.Add("locale", "must differ from those of the other templates of this type and channel");
    }
    violations.Append(own);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const std::vector<StoredTemplate> active, store_->Apply(templates));
  for (const StoredTemplate& stored : active) *response->add_templates() = TemplateOf(stored);
  return absl::OkStatus();
}

absl::Status TemplateRequests::Activate(AppId app, const v1::ActivateTemplateRequest& request,
                                        v1::ActivateTemplateResponse* response) {
  Violations violations;
  violations.CheckName("type", request.type(), limits::kMaxTypeNameBytes);
  const Channel channel = CheckExternal("channel", request.channel(), violations);
  const std::string locale = CheckLocale("locale", request.locale(), violations);
  if (request.version() < 1) violations.Add("version", "must be 1 or more");
  RETURN_IF_ERROR(violations.ToStatus());
  const TemplateKey key{.app = app, .type = request.type(), .channel = channel, .locale = locale};
  ASSIGN_OR_RETURN(const StoredTemplate active, store_->Activate(key, request.version()));
  *response->mutable_template_() = TemplateOf(active);
  return absl::OkStatus();
}

absl::Status TemplateRequests::List(AppId app, const v1::ListTemplatesRequest& request,
                                    v1::ListTemplatesResponse* response) {
  Violations violations;
  if (!request.type().empty()) violations.CheckName("type", request.type(), limits::kMaxTypeNameBytes);
  RETURN_IF_ERROR(violations.ToStatus());
  TemplateStore::ListQuery query{
      .app = app, .type = request.type(), .all_versions = request.all_versions(), .after = {}};
  ASSIGN_OR_RETURN(query.limit, EffectivePageSize(request.page_size(), kDefaultPage, kMaxPage));
  const std::string fingerprint =
      absl::StrCat("templates/", app.value(), "/", request.type(), "/", request.all_versions() ? "all" : "active");
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  query.after = ParsePosition(position);
  ASSIGN_OR_RETURN(const std::vector<StoredTemplate> rows, store_->List(query));
  for (const StoredTemplate& row : rows) *response->add_templates() = TemplateOf(row);
  if (rows.size() == static_cast<size_t>(query.limit)) {
    response->set_next_page_token(EncodePageToken(PositionText(response->templates(query.limit - 1)), fingerprint));
  }
  return absl::OkStatus();
}

absl::Status TemplateRequests::Preview(AppId app, const v1::PreviewTemplateRequest& request,
                                       v1::PreviewTemplateResponse* response) {
  Violations violations;
  const Notification notification = CheckPreviewed(app, request, violations);
  const absl::string_view type_field = request.has_template_() ? "template.type" : "type";
  const auto type = CheckKnownType(type_field, notification.type, app, catalogue_, violations);
  if (request.has_template_()) {
    CheckDraft(request, violations);
  } else {
    CheckExternal("channel", request.channel(), violations);
    CheckLocale("locale", request.locale(), violations);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const v1::Template used,
                   request.has_template_() ? absl::StatusOr<v1::Template>(request.template_()) : Choose(app, request));
  const bool unsubscribable = type->unsubscribable && used.channel() == v1::CHANNEL_EMAIL;
  const RenderInput input{.notification = notification,
                          .type = *type,
                          .unsubscribe_url = std::string(unsubscribable ? kSampleUnsubscribeUrl : "")};
  ASSIGN_OR_RETURN(*response->mutable_content(), RenderContent(used, static_cast<Channel>(used.channel()), input));
  for (const std::string& name : MissingVariables(used, input)) response->add_missing_variables(name);
  *response->mutable_template_() = used;
  // A draft has none, whatever it says.
  if (request.has_template_()) response->mutable_template_()->clear_version();
  return absl::OkStatus();
}

absl::StatusOr<v1::Template> TemplateRequests::Choose(AppId app, const v1::PreviewTemplateRequest& request) {
  const auto channel = static_cast<Channel>(request.channel());
  ASSIGN_OR_RETURN(const TemplateStore::Candidates candidates, store_->FindCandidates(app, request.type(), channel));
  const TemplateSet set(candidates.templates);
  const v1::Template* found = set.Find(app, request.type(), channel, request.locale(), candidates.default_locale);
  if (found != nullptr) return *found;
  v1::Template made = DefaultTemplate(channel);
  made.set_type(request.type());
  return made;
}

}  // namespace carillon
