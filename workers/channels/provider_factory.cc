#include "workers/channels/provider_factory.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "workers/channels/apns_provider.h"
#include "workers/channels/fcm_provider.h"
#include "workers/channels/jwt_signer.h"
#include "workers/channels/sendgrid_provider.h"
#include "workers/channels/smtp_provider.h"
#include "workers/channels/twilio_provider.h"
#include "workers/channels/vonage_provider.h"
#include "workers/channels/webhook_provider.h"

namespace carillon {
namespace {

using Settings = v1::Provider::SettingsCase;
using Made = absl::StatusOr<std::unique_ptr<Provider>>;

// Endpoints that nobody but us has chosen may be anywhere; empty is such a one.
HttpProvider::Deps DepsFor(const v1::Provider& settings, const ProviderDeps& deps, absl::string_view endpoint) {
  return {.clock = deps.clock,
          .transport = deps.transport,
          .ca_pem = settings.ca_pem(),
          .forbid_private_addresses = !endpoint.empty() && !deps.allow_private_webhooks};
}

absl::Status CheckEndpoint(absl::string_view field, absl::string_view endpoint, const ProviderDeps& deps) {
  const bool encrypted = absl::StartsWith(endpoint, "https://");
  const bool readable = std::all_of(endpoint.begin(), endpoint.end(), absl::ascii_isgraph);
  if (readable && (encrypted || (deps.allow_private_webhooks && absl::StartsWith(endpoint, "http://")))) {
    return absl::OkStatus();
  }
  return error::InvalidField(field, "must be an https URL");
}

// Of an endpoint that a path follows. Empty: the provider's own.
absl::Status CheckBase(absl::string_view field, absl::string_view endpoint, const ProviderDeps& deps) {
  if (endpoint.empty()) return absl::OkStatus();
  if (endpoint.find_first_of("?#") != absl::string_view::npos || absl::EndsWith(endpoint, "/")) {
    return error::InvalidField(field, "must not end in '/' nor have '?' or '#'");
  }
  return CheckEndpoint(field, endpoint, deps);
}

// What becomes part of a URL or of a header.
absl::Status CheckWord(absl::string_view field, absl::string_view word, absl::string_view also_allowed) {
  const auto allowed = [&](char c) { return absl::ascii_isalnum(c) || absl::StrContains(also_allowed, c); };
  if (!word.empty() && std::all_of(word.begin(), word.end(), allowed)) return absl::OkStatus();
  return error::InvalidField(field, also_allowed.empty() ? "must be letters and digits"
                                                         : absl::StrCat("must be letters, digits and ", also_allowed));
}

absl::Status CheckSecret(absl::string_view field, absl::string_view secret) {
  if (!secret.empty() && std::none_of(secret.begin(), secret.end(), absl::ascii_iscntrl)) return absl::OkStatus();
  return error::InvalidField(field, "must not be empty nor have control characters");
}

Made MakeSmtp(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::SmtpSettings& smtp = settings.smtp();
  RETURN_IF_ERROR(CheckWord("smtp.host", smtp.host(), ".-:_"));
  if (smtp.port() < 0 || smtp.port() > 65'535) return error::InvalidField("smtp.port", "must be 0 to 65535");
  return std::make_unique<SmtpProvider>(DepsFor(settings, deps, smtp.host()), smtp);
}

Made MakeSendGrid(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::SendGridSettings& sendgrid = settings.sendgrid();
  RETURN_IF_ERROR(CheckBase("sendgrid.endpoint", sendgrid.endpoint(), deps));
  RETURN_IF_ERROR(CheckSecret("sendgrid.api_key", sendgrid.api_key()));
  return std::make_unique<SendGridProvider>(DepsFor(settings, deps, sendgrid.endpoint()), sendgrid);
}

Made MakeTwilio(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::TwilioSettings& twilio = settings.twilio();
  RETURN_IF_ERROR(CheckBase("twilio.endpoint", twilio.endpoint(), deps));
  RETURN_IF_ERROR(CheckWord("twilio.account_sid", twilio.account_sid(), "-_"));
  return std::make_unique<TwilioProvider>(DepsFor(settings, deps, twilio.endpoint()), twilio);
}

Made MakeVonage(const v1::Provider& settings, const ProviderDeps& deps) {
  RETURN_IF_ERROR(CheckBase("vonage.endpoint", settings.vonage().endpoint(), deps));
  return std::make_unique<VonageProvider>(DepsFor(settings, deps, settings.vonage().endpoint()), settings.vonage());
}

Made MakeApns(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::ApnsSettings& apns = settings.apns();
  RETURN_IF_ERROR(CheckBase("apns.endpoint", apns.endpoint(), deps));
  RETURN_IF_ERROR(CheckWord("apns.topic", apns.topic(), ".-"));
  if (const absl::Status key = CheckJwtKey(JwtAlgorithm::kEs256, apns.private_key_pem()); !key.ok()) {
    return error::InvalidField("apns.private_key_pem", key.message());
  }
  return std::make_unique<ApnsProvider>(DepsFor(settings, deps, apns.endpoint()), deps.app, deps.tokens, deps.executor,
                                        apns);
}

Made MakeFcm(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::FcmSettings& fcm = settings.fcm();
  RETURN_IF_ERROR(CheckBase("fcm.endpoint", fcm.endpoint(), deps));
  const absl::StatusOr<FcmAccount> account = ParseFcmAccount(fcm.service_account_json());
  if (!account.ok()) return error::InvalidField("fcm.service_account_json", account.status().message());
  RETURN_IF_ERROR(CheckEndpoint("fcm.service_account_json.token_uri", account->token_uri, deps));
  const absl::string_view token_uri =
      account->token_uri == kGoogleTokenUri ? absl::string_view() : absl::string_view(account->token_uri);
  return std::make_unique<FcmProvider>(DepsFor(settings, deps, fcm.endpoint()), DepsFor(settings, deps, token_uri),
                                       deps.app, deps.tokens, deps.executor, *account, fcm.endpoint());
}

Made MakeWebhook(const v1::Provider& settings, const ProviderDeps& deps) {
  const v1::WebhookSettings& webhook = settings.webhook();
  RETURN_IF_ERROR(CheckEndpoint("webhook.url", webhook.url(), deps));
  if (webhook.secrets().empty()) return error::InvalidField("webhook.secrets", "must have at least one");
  std::vector<std::string> keys;
  for (int i = 0; i < webhook.secrets_size(); ++i) {
    absl::StatusOr<std::string> key = DecodeWebhookSecret(webhook.secrets(i));
    if (!key.ok()) return error::InvalidField(absl::StrCat("webhook.secrets[", i, "]"), key.status().message());
    keys.push_back(*std::move(key));
  }
  return std::make_unique<WebhookProvider>(DepsFor(settings, deps, webhook.url()), webhook.url(), std::move(keys));
}

struct Kind {
  Settings settings;
  Channel channel;
  Made (*make)(const v1::Provider& settings, const ProviderDeps& deps);
};

constexpr Kind kKinds[] = {
    {Settings::kSmtp, Channel::kEmail, &MakeSmtp},         {Settings::kSendgrid, Channel::kEmail, &MakeSendGrid},
    {Settings::kTwilio, Channel::kSms, &MakeTwilio},       {Settings::kVonage, Channel::kSms, &MakeVonage},
    {Settings::kApns, Channel::kApns, &MakeApns},          {Settings::kFcm, Channel::kFcm, &MakeFcm},
    {Settings::kWebhook, Channel::kWebhook, &MakeWebhook},
};

}  // namespace

absl::StatusOr<std::unique_ptr<Provider>> MakeProvider(const v1::Provider& settings, Channel channel,
                                                       const ProviderDeps& deps) {
  for (const Kind& kind : kKinds) {
    if (kind.settings == settings.settings_case() && kind.channel == channel) return kind.make(settings, deps);
  }
  return error::InvalidField("settings", absl::StrCat("must be a kind of the channel ", ToString(channel)));
}

}  // namespace carillon
