#include "server/api/suppressions.h"

#include <google/protobuf/util/time_util.h>

#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/contact_checks.h"
#include "server/api/page_token.h"
#include "server/api/timestamps.h"
#include "server/api/validation.h"

namespace carillon {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;

std::optional<Channel> ChannelOf(v1::Channel channel) {
  if (channel == v1::CHANNEL_EMAIL) return Channel::kEmail;
  if (channel == v1::CHANNEL_SMS) return Channel::kSms;
  return std::nullopt;
}

// As it is compared.
std::string CheckAddress(absl::string_view field, std::optional<Channel> channel, const std::string& address,
                         Violations& violations) {
  if (channel == Channel::kSms) return CheckPhone(field, address, violations);
  return absl::AsciiStrToLower(CheckEmail(field, address, violations));
}

Suppression Prepare(AppId app, const v1::Suppression& in, Violations& violations) {
  const std::optional<Channel> channel = ChannelOf(in.channel());
  if (!channel.has_value()) {
    violations.Add("suppression.channel", "must be CHANNEL_EMAIL or CHANNEL_SMS");
    return {};
  }
  if (!in.type().empty()) violations.CheckName("suppression.type", in.type(), limits::kMaxTypeNameBytes);
  violations.CheckText("suppression.reason", in.reason(), /*required=*/false, limits::kMaxReasonBytes);
  return {.app = app,
          .channel = *channel,
          .address = CheckAddress("suppression.address", channel, in.address(), violations),
          .type = in.type(),
          .reason = in.reason(),
          .create_time = {}};
}

// An address without a channel is looked for on the one that it can be of.
absl::StatusOr<SuppressionQuery> PrepareQuery(AppId app, const v1::ListSuppressionsRequest& request) {
  SuppressionQuery query{.app = app, .channel = ChannelOf(request.channel()), .address = "", .after = ""};
  Violations violations;
  if (!query.channel.has_value() && request.channel() != v1::CHANNEL_UNSPECIFIED) {
    violations.Add("channel", "must be CHANNEL_EMAIL or CHANNEL_SMS, or absent");
  }
  if (!request.address().empty()) {
    if (!query.channel.has_value()) query.channel = request.address()[0] == '+' ? Channel::kSms : Channel::kEmail;
    query.address = CheckAddress("address", query.channel, request.address(), violations);
  }
  RETURN_IF_ERROR(violations.ToStatus());
  return query;
}

void ToProto(const Suppression& suppression, v1::Suppression* out) {
  out->set_channel(static_cast<v1::Channel>(suppression.channel));
  out->set_address(suppression.address);
  out->set_type(suppression.type);
  out->set_reason(suppression.reason);
  *out->mutable_create_time() = ToTimestamp(suppression.create_time);
}

}  // namespace

absl::Status Suppressions::List(AppId app, const v1::ListSuppressionsRequest& request,
                                v1::ListSuppressionsResponse* response) {
  ASSIGN_OR_RETURN(const int limit, EffectivePageSize(request.page_size(), kDefaultPage, kMaxPage));
  ASSIGN_OR_RETURN(SuppressionQuery query, PrepareQuery(app, request));
  const std::string fingerprint =
      absl::StrCat("suppressions/", app.value(), "/", static_cast<int>(request.channel()), "/", query.address);
  ASSIGN_OR_RETURN(query.after, DecodePageToken(request.page_token(), fingerprint));
  query.limit = limit;
  ASSIGN_OR_RETURN(const SuppressionPage page, store_->List(query));
  for (const Suppression& suppression : page.suppressions) ToProto(suppression, response->add_suppressions());
  // A full page may have been the last: then the next one is empty.
  if (page.suppressions.size() == static_cast<size_t>(limit)) {
    response->set_next_page_token(EncodePageToken(page.last, fingerprint));
  }
  return absl::OkStatus();
}

absl::Status Suppressions::Add(AppId app, const v1::AddSuppressionRequest& request,
                               v1::AddSuppressionResponse* response) {
  Violations violations;
  const Suppression suppression = Prepare(app, request.suppression(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const bool added, store_->Add(suppression));
  response->set_added(added);
  return absl::OkStatus();
}

absl::Status Suppressions::Remove(AppId app, const v1::RemoveSuppressionRequest& request,
                                  v1::RemoveSuppressionResponse* response) {
  Violations violations;
  const Suppression suppression = Prepare(app, request.suppression(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const bool removed, store_->Remove(suppression));
  response->set_removed(removed);
  return absl::OkStatus();
}

}  // namespace carillon
