#include "server/api/catalog_service.h"

#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/mustache.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/topology.h"
#include "server/api/page_token.h"
#include "server/api/timestamps.h"
#include "server/api/type_policy.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr absl::string_view kScope = "catalog";
constexpr int kDefaultTypesPage = 100;
constexpr int kMaxTypesPage = 1000;

std::optional<Lane> LaneOf(v1::Weight weight) {
  switch (weight) {
    case v1::WEIGHT_PAYMENT:
      return Lane::kPayment;
    case v1::WEIGHT_OTP:
      return Lane::kOtp;
    case v1::WEIGHT_SOCIAL:
      return Lane::kSocial;
    case v1::WEIGHT_MARKETING:
      return Lane::kMarketing;
    default:
      return std::nullopt;
  }
}

v1::Weight WeightOf(Lane lane) {
  switch (lane) {
    case Lane::kPayment:
      return v1::WEIGHT_PAYMENT;
    case Lane::kOtp:
      return v1::WEIGHT_OTP;
    case Lane::kSocial:
      return v1::WEIGHT_SOCIAL;
    case Lane::kMarketing:
      return v1::WEIGHT_MARKETING;
    case Lane::kFanout:
      break;
  }
  return v1::WEIGHT_UNSPECIFIED;
}

v1::Exchange ExchangeEnum(absl::string_view exchange) {
  return exchange == kTopicExchange ? v1::EXCHANGE_TOPIC : v1::EXCHANGE_DIRECT;
}

// Sections would be logic; texts of items have none.
void CheckTemplateField(absl::string_view field, absl::string_view text, size_t max_bytes, Violations& violations) {
  if (text.size() > max_bytes || !IsUtf8(text) || absl::StrContains(text, absl::string_view("\0", 1))) {
    violations.Add(field, absl::StrCat("must be at most ", max_bytes, " bytes of UTF-8"));
    return;
  }
  const absl::StatusOr<Mustache> parsed = Mustache::Parse(text);
  if (!parsed.ok()) {
    violations.Add(field, parsed.status().message());
  } else if (parsed->has_sections()) {
    violations.Add(field, "may hold names only, not {{# or {{^");
  }
}

InAppTemplate CheckTemplate(const v1::InAppTemplate& in_app, Violations& violations) {
  if (in_app.title().empty()) violations.Add("in_app.title", "is required");
  CheckTemplateField("in_app.title", in_app.title(), limits::kMaxTemplateFieldBytes, violations);
  CheckTemplateField("in_app.body", in_app.body(), limits::kMaxTemplateBodyBytes, violations);
  CheckTemplateField("in_app.actor_name", in_app.actor_name(), limits::kMaxTemplateFieldBytes, violations);
  CheckTemplateField("in_app.actor_picture_url", in_app.actor_picture_url(), limits::kMaxTemplateFieldBytes,
                     violations);
  CheckTemplateField("in_app.image_url", in_app.image_url(), limits::kMaxTemplateFieldBytes, violations);
  CheckTemplateField("in_app.action_link", in_app.action_link(), limits::kMaxTemplateFieldBytes, violations);
  CheckTemplateField("in_app.badge", in_app.badge(), limits::kMaxTemplateFieldBytes, violations);
  return {.title = in_app.title(),
          .body = in_app.body(),
          .actor_name = in_app.actor_name(),
          .actor_picture_url = in_app.actor_picture_url(),
          .image_url = in_app.image_url(),
          .action_link = in_app.action_link(),
          .badge = in_app.badge()};
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void CheckDedupe(const v1::DedupeWindow& dedupe, NotificationType& type, Violations& violations) {
  type.dedupe_key = dedupe.key();
  type.dedupe_window = ToDuration(dedupe.window());
  if (dedupe.key().empty()) violations.Add("dedupe.key", "is required");
  CheckTemplateField("dedupe.key", dedupe.key(), limits::kMaxTemplateFieldBytes, violations);
  const absl::StatusOr<Mustache> key = Mustache::Parse(dedupe.key());
  if (key.ok() && key->Uses("user_id")) {
    violations.Add("dedupe.key", "may not name user_id: an event has no recipient of its own");
  }
  if (type.dedupe_window < absl::Seconds(1) || type.dedupe_window > limits::kMaxDedupeWindow) {
    violations.Add("dedupe.window", "must be 1 s to 30 days");
  }
}

void CheckRouting(const v1::Type& in, NotificationType& type, Violations& violations) {
  const std::optional<Lane> lane = LaneOf(in.weight());
  if (!lane.has_value()) {
    violations.Add("weight", "must be WEIGHT_PAYMENT, WEIGHT_OTP, WEIGHT_SOCIAL or WEIGHT_MARKETING");
    return;
  }
  type.lane = *lane;
  type.exchange = std::string(ExchangeOf(*lane));
  type.routing_key = in.routing_key();
  const std::string prefix = absl::StrCat(ToString(*lane), ".");
  if (violations.CheckName("routing_key", in.routing_key(), limits::kMaxTypeNameBytes) &&
      (!absl::StartsWith(in.routing_key(), prefix) || in.routing_key().size() == prefix.size())) {
    violations.Add("routing_key", absl::StrCat("must begin with ", prefix, " and go on"));
  }
  if (in.exchange() != v1::EXCHANGE_UNSPECIFIED && in.exchange() != ExchangeEnum(type.exchange)) {
    violations.Add("exchange", absl::StrCat("must be that of the weight, ", type.exchange, ", or absent"));
  }
}

NotificationType CheckType(const v1::Type& in, AppId app, Violations& violations) {
  NotificationType type{.app = app, .name = in.name()};
  violations.CheckName("name", in.name(), limits::kMaxTypeNameBytes);
  CheckRouting(in, type, violations);
  type.channels = CheckChannels(in.channels(), violations);
  if (in.channels().empty()) violations.Add("channels", "is required");
  type.retention_days = in.retention_days() == 0 ? 7 : in.retention_days();
  if (type.retention_days != 1 && type.retention_days != 7 && type.retention_days != 30 && type.retention_days != 365) {
    violations.Add("retention_days", "must be 1, 7, 30, 365, or 0 for 7");
  }
  type.critical = in.critical();
  if (in.has_ttl()) {
    type.ttl = ToDuration(in.ttl());
    if (*type.ttl < limits::kMinTtl || *type.ttl > limits::kMaxTtl) violations.Add("ttl", "must be 1 s to 365 days");
  }
  type.in_app = CheckTemplate(in.in_app(), violations);
  if (in.has_dedupe()) CheckDedupe(in.dedupe(), type, violations);
  type.track_interactions = in.track_interactions();
  if (type.track_interactions && (type.lane == Lane::kOtp || type.lane == Lane::kPayment)) {
    violations.Add("track_interactions", "must not be set for otp and payment");
  }
  type.unsubscribable = in.unsubscribable();
  type.at_most_once = in.at_most_once();
  type.policy = CheckPolicy(in, type.lane, violations);
  return type;
}

void ToProto(const NotificationType& type, v1::Type* out) {
  out->set_name(type.name);
  out->set_weight(WeightOf(type.lane));
  out->set_routing_key(type.routing_key);
  out->set_exchange(ExchangeEnum(type.exchange));
  for (const Channel channel : type.channels) out->add_channels(static_cast<v1::Channel>(channel));
  out->mutable_in_app()->set_title(type.in_app.title);
  out->mutable_in_app()->set_body(type.in_app.body);
  out->mutable_in_app()->set_actor_name(type.in_app.actor_name);
  out->mutable_in_app()->set_actor_picture_url(type.in_app.actor_picture_url);
  out->mutable_in_app()->set_image_url(type.in_app.image_url);
  out->mutable_in_app()->set_action_link(type.in_app.action_link);
  out->mutable_in_app()->set_badge(type.in_app.badge);
  out->set_retention_days(type.retention_days);
  if (type.ttl.has_value()) {
    *out->mutable_ttl() = ToProtoDuration(*type.ttl);
  }
  if (!type.dedupe_key.empty()) {
    out->mutable_dedupe()->set_key(type.dedupe_key);
    *out->mutable_dedupe()->mutable_window() = ToProtoDuration(type.dedupe_window);
  }
  out->set_critical(type.critical);
  out->set_track_interactions(type.track_interactions);
  out->set_unsubscribable(type.unsubscribable);
  out->set_at_most_once(type.at_most_once);
  PolicyToProto(type.policy, out);
  out->set_shipped(type.app == kShippedApp);
}

}  // namespace

grpc::ServerUnaryReactor* CatalogServiceImpl::ApplyTypes(grpc::CallbackServerContext* context,
                                                         const v1::ApplyTypesRequest* request,
                                                         v1::ApplyTypesResponse* response) {
  return RunUnary(calls_, context, "ApplyTypes", kScope,
                  [=, this](const Caller& caller) { return Apply(caller.app, *request, response); });
}

absl::Status CatalogServiceImpl::Apply(AppId app, const v1::ApplyTypesRequest& request,
                                       v1::ApplyTypesResponse* response) {
  if (request.types_size() < 1 || request.types_size() > limits::kMaxBatchSize) {
    return error::InvalidField("types", absl::StrCat("must be 1 to ", limits::kMaxBatchSize));
  }
  std::vector<NotificationType> types;
  std::set<std::string> names;
  Violations violations;
  for (int i = 0; i < request.types_size(); ++i) {
    Violations own(absl::StrCat("types[", i, "]."));
    types.push_back(CheckType(request.types(i), app, own));
    if (!names.insert(types.back().name).second) own.Add("name", "must differ from those of the other types");
    violations.Append(own);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  RETURN_IF_ERROR(store_->Apply(types));
  // This server knows at once; a failure here only means that it learns like the others.
  (void)catalogue_.Refresh();
  for (const NotificationType& type : types) ToProto(type, response->add_types());
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ListTypes(grpc::CallbackServerContext* context,
                                                        const v1::ListTypesRequest* request,
                                                        v1::ListTypesResponse* response) {
  return RunUnary(calls_, context, "ListTypes", kScope,
                  [=, this](const Caller& caller) { return List(caller.app, *request, response); });
}

absl::Status CatalogServiceImpl::List(AppId app, const v1::ListTypesRequest& request, v1::ListTypesResponse* response) {
  ASSIGN_OR_RETURN(const int limit, EffectivePageSize(request.page_size(), kDefaultTypesPage, kMaxTypesPage));
  const std::string fingerprint = absl::StrCat("types/", app.value());
  ASSIGN_OR_RETURN(const std::string after, DecodePageToken(request.page_token(), fingerprint));
  ASSIGN_OR_RETURN(const std::vector<NotificationType> rows, store_->LoadTypes());
  // Rows come by app, shipped ones first: the app's own take their place.
  std::map<std::string, const NotificationType*> visible;
  for (const NotificationType& row : rows) {
    if (row.app == kShippedApp || row.app == app) visible[row.name] = &row;
  }
  for (auto it = visible.upper_bound(after); it != visible.end(); ++it) {
    if (response->types_size() == limit) {
      response->set_next_page_token(EncodePageToken(response->types(limit - 1).name(), fingerprint));
      break;
    }
    ToProto(*it->second, response->add_types());
  }
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* CatalogServiceImpl::SetAppPreferences(grpc::CallbackServerContext* context,
                                                                const v1::SetAppPreferencesRequest* request,
                                                                v1::SetAppPreferencesResponse* response) {
  return RunUnary(calls_, context, "SetAppPreferences", kScope,
                  [=, this](const Caller& caller) { return preferences_.Set(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::GetAppPreferences(grpc::CallbackServerContext* context,
                                                                const v1::GetAppPreferencesRequest*,
                                                                v1::GetAppPreferencesResponse* response) {
  return RunUnary(calls_, context, "GetAppPreferences", kScope,
                  [=, this](const Caller& caller) { return preferences_.Get(caller.app, response); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ApplyTemplates(grpc::CallbackServerContext* context,
                                                             const v1::ApplyTemplatesRequest* request,
                                                             v1::ApplyTemplatesResponse* response) {
  return RunUnary(calls_, context, "ApplyTemplates", kScope,
                  [=, this](const Caller& caller) { return templates_.Apply(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ActivateTemplate(grpc::CallbackServerContext* context,
                                                               const v1::ActivateTemplateRequest* request,
                                                               v1::ActivateTemplateResponse* response) {
  return RunUnary(calls_, context, "ActivateTemplate", kScope,
                  [=, this](const Caller& caller) { return templates_.Activate(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::ListTemplates(grpc::CallbackServerContext* context,
                                                            const v1::ListTemplatesRequest* request,
                                                            v1::ListTemplatesResponse* response) {
  return RunUnary(calls_, context, "ListTemplates", kScope,
                  [=, this](const Caller& caller) { return templates_.List(caller.app, *request, response); });
}

grpc::ServerUnaryReactor* CatalogServiceImpl::PreviewTemplate(grpc::CallbackServerContext* context,
                                                              const v1::PreviewTemplateRequest* request,
                                                              v1::PreviewTemplateResponse* response) {
  return RunUnary(calls_, context, "PreviewTemplate", kScope,
                  [=, this](const Caller& caller) { return templates_.Preview(caller.app, *request, response); });
}

}  // namespace carillon
