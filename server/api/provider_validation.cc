#include "server/api/provider_validation.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr size_t kMaxHostBytes = 253;
constexpr size_t kMaxLocalPartBytes = 64;
constexpr size_t kMaxAccountBytes = 100;
constexpr size_t kAppleIdBytes = 10;
constexpr size_t kMaxAlphanumericSender = 11;
constexpr size_t kMinWebhookKeyBytes = 24;
constexpr size_t kMaxWebhookKeyBytes = 64;
constexpr int kMinRsaBits = 2048;
// A flag of theirs decides, which is not known here.
constexpr absl::string_view kWhereHttp = "http only where the workers allow private addresses";

struct OpenSslDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
};

std::unique_ptr<BIO, OpenSslDeleter> Reader(absl::string_view text) {
  return std::unique_ptr<BIO, OpenSslDeleter>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// Instead of asking on the terminal.
int NoPassword(char*, int, int, void*) { return -1; }

std::unique_ptr<EVP_PKEY, OpenSslDeleter> ReadPrivateKey(absl::string_view pem) {
  std::unique_ptr<EVP_PKEY, OpenSslDeleter> key(
      PEM_read_bio_PrivateKey(Reader(pem).get(), nullptr, NoPassword, nullptr));
  // Or a TLS connection that this thread serves next would find the fault.
  ERR_clear_error();
  return key;
}

bool IsP256Key(absl::string_view pem) {
  const auto key = ReadPrivateKey(pem);
  char group[32] = "";
  return key != nullptr && EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_EC &&
         EVP_PKEY_get_utf8_string_param(key.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), nullptr) == 1 &&
         absl::string_view(group) == SN_X9_62_prime256v1;
}

bool IsRsaKey(absl::string_view pem) {
  const auto key = ReadPrivateKey(pem);
  return key != nullptr && EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA &&
         EVP_PKEY_get_bits(key.get()) >= kMinRsaBits;
}

bool IsCertificate(absl::string_view pem) {
  const std::unique_ptr<X509, OpenSslDeleter> certificate(
      PEM_read_bio_X509(Reader(pem).get(), nullptr, NoPassword, nullptr));
  ERR_clear_error();
  return certificate != nullptr;
}

template <typename Allowed>
bool ConsistsOf(absl::string_view text, size_t min_bytes, size_t max_bytes, Allowed allowed) {
  return text.size() >= min_bytes && text.size() <= max_bytes && std::all_of(text.begin(), text.end(), allowed);
}

bool IsAlphanumeric(unsigned char c) { return absl::ascii_isalnum(c); }
bool IsVisible(unsigned char c) { return absl::ascii_isgraph(c); }
bool IsHostCharacter(unsigned char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-' || c == '_'; }

bool IsInBundleId(unsigned char c) { return absl::ascii_isalnum(c) || c == '.' || c == '-'; }

bool IsHost(absl::string_view text) { return ConsistsOf(text, 1, kMaxHostBytes, IsHostCharacter); }
// In brackets where it is part of a URL.
bool IsIpv6Host(absl::string_view text) {
  return absl::StrContains(text, ':') && ConsistsOf(text, 2, kMaxHostBytes, [](unsigned char c) {
           return absl::ascii_isxdigit(c) || c == ':' || c == '.';
         });
}

bool IsPort(absl::string_view text) {
  int port = 0;
  return ConsistsOf(text, 1, 5, [](unsigned char c) { return absl::ascii_isdigit(c); }) &&
         absl::SimpleAtoi(text, &port) && port >= 1 && port <= 65535;
}

// host, host:port, [address] or [address]:port; no user.
bool IsAuthority(absl::string_view text) {
  absl::string_view host = text;
  absl::string_view rest;
  if (absl::ConsumePrefix(&host, "[")) {
    const size_t end = host.find(']');
    if (end == absl::string_view::npos) return false;
    rest = host.substr(end + 1);
    host = host.substr(0, end);
    if (!IsIpv6Host(host)) return false;
  } else {
    const size_t colon = host.find(':');
    rest = colon == absl::string_view::npos ? "" : host.substr(colon);
    host = host.substr(0, colon);
    if (!IsHost(host)) return false;
  }
  return rest.empty() || (absl::ConsumePrefix(&rest, ":") && IsPort(rest));
}

// http or https; whether it may be called is the worker's to decide.
bool IsWebUrl(absl::string_view text, bool with_query) {
  if (!ConsistsOf(text, 1, limits::kMaxUrlBytes, IsVisible)) return false;
  if (text.find_first_of("#\\\"<>^`{|}") != absl::string_view::npos) return false;
  if (!with_query && absl::StrContains(text, '?')) return false;
  if (!absl::ConsumePrefix(&text, "https://") && !absl::ConsumePrefix(&text, "http://")) return false;
  return IsAuthority(text.substr(0, text.find_first_of("/?")));
}

// What fits into a header and an SMTP command as it is.
bool IsEmailAddress(absl::string_view text) {
  const size_t at = text.rfind('@');
  if (text.size() > limits::kMaxEmailBytes || at == absl::string_view::npos) return false;
  return ConsistsOf(text.substr(0, at), 1, kMaxLocalPartBytes,
                    [](unsigned char c) {
                      return absl::ascii_isgraph(c) && !absl::StrContains("@<>()[],;:\\\"", static_cast<char>(c));
                    }) &&
         IsHost(text.substr(at + 1));
}

absl::Duration DurationOf(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

// A secret that goes into a header or a form as it is.
void CheckSecret(absl::string_view field, absl::string_view value, Violations& violations) {
  if (value == kMaskedSecret) return;
  if (!ConsistsOf(value, 1, limits::kMaxProviderSecretBytes, IsVisible)) {
    violations.Add(field, absl::StrCat("must be 1 to ", limits::kMaxProviderSecretBytes, " visible ASCII characters"));
  }
}

void CheckEndpoint(absl::string_view field, absl::string_view value, Violations& violations) {
  // A path follows it.
  if (!value.empty() && (!IsWebUrl(value, /*with_query=*/false) || absl::EndsWith(value, "/"))) {
    violations.Add(field,
                   absl::StrCat("must be https://HOST[:PORT][/PATH] without '/' at its end, or empty; ", kWhereHttp));
  }
}

void CheckFromAddress(absl::string_view field, absl::string_view value, Violations& violations) {
  if (!IsEmailAddress(value)) violations.Add(field, "must be an e-mail address, like news@example.com");
}

void CheckFromName(absl::string_view field, absl::string_view value, Violations& violations) {
  violations.CheckText(field, value, /*required=*/false, limits::kMaxIdBytes);
}

void CheckAccount(absl::string_view field, absl::string_view value, bool required, Violations& violations) {
  if (!ConsistsOf(value, required ? 1 : 0, kMaxAccountBytes, IsAlphanumeric)) {
    violations.Add(field, absl::StrCat("must be ", required ? 1 : 0, " to ", kMaxAccountBytes, " letters and digits"));
  }
}

void CheckSmtp(const v1::SmtpSettings& smtp, Violations& violations) {
  if (!IsHost(smtp.host()) && !IsIpv6Host(smtp.host())) violations.Add("smtp.host", "must be a host's name or address");
  if (smtp.port() < 0 || smtp.port() > 65535) violations.Add("smtp.port", "must be 1 to 65535, or 0");
  if (!v1::SmtpSecurity_IsValid(smtp.security())) {
    violations.Add("smtp.security",
                   "must be SMTP_SECURITY_STARTTLS, SMTP_SECURITY_TLS or SMTP_SECURITY_NONE, or absent");
  }
  violations.CheckText("smtp.username", smtp.username(), /*required=*/false, limits::kMaxIdBytes);
  violations.CheckText("smtp.password", smtp.password(), !smtp.username().empty(), limits::kMaxProviderSecretBytes);
  CheckFromAddress("smtp.from_address", smtp.from_address(), violations);
  CheckFromName("smtp.from_name", smtp.from_name(), violations);
}

void CheckSendGrid(const v1::SendGridSettings& sendgrid, Violations& violations) {
  CheckEndpoint("sendgrid.endpoint", sendgrid.endpoint(), violations);
  CheckSecret("sendgrid.api_key", sendgrid.api_key(), violations);
  CheckFromAddress("sendgrid.from_address", sendgrid.from_address(), violations);
  CheckFromName("sendgrid.from_name", sendgrid.from_name(), violations);
}

void CheckTwilio(const v1::TwilioSettings& twilio, Violations& violations) {
  CheckEndpoint("twilio.endpoint", twilio.endpoint(), violations);
  CheckAccount("twilio.account_sid", twilio.account_sid(), /*required=*/true, violations);
  CheckAccount("twilio.username", twilio.username(), /*required=*/false, violations);
  CheckSecret("twilio.password", twilio.password(), violations);
  violations.CheckText("twilio.from", twilio.from(), /*required=*/false, kMaxAccountBytes);
  CheckAccount("twilio.messaging_service_sid", twilio.messaging_service_sid(), /*required=*/false, violations);
  if (twilio.from().empty() == twilio.messaging_service_sid().empty()) {
    violations.Add("twilio.from", "either this or messaging_service_sid is required, not both");
  }
}

bool IsSmsSender(absl::string_view from) {
  absl::string_view digits = from;
  absl::ConsumePrefix(&digits, "+");
  return ConsistsOf(digits, 3, 15, [](unsigned char c) { return absl::ascii_isdigit(c); }) ||
         ConsistsOf(from, 1, kMaxAlphanumericSender, IsAlphanumeric);
}

void CheckVonage(const v1::VonageSettings& vonage, Violations& violations) {
  CheckEndpoint("vonage.endpoint", vonage.endpoint(), violations);
  CheckAccount("vonage.api_key", vonage.api_key(), /*required=*/true, violations);
  CheckSecret("vonage.api_secret", vonage.api_secret(), violations);
  if (!IsSmsSender(vonage.from())) {
    violations.Add("vonage.from", "must be a number of 3 to 15 digits, or at most 11 letters and digits");
  }
}

void CheckAppleId(absl::string_view field, absl::string_view value, Violations& violations) {
  if (!ConsistsOf(value, kAppleIdBytes, kAppleIdBytes, IsAlphanumeric)) {
    violations.Add(field, "must be 10 letters and digits");
  }
}

void CheckApns(const v1::ApnsSettings& apns, Violations& violations) {
  CheckEndpoint("apns.endpoint", apns.endpoint(), violations);
  CheckAppleId("apns.team_id", apns.team_id(), violations);
  CheckAppleId("apns.key_id", apns.key_id(), violations);
  if (apns.private_key_pem() != kMaskedSecret &&
      (apns.private_key_pem().size() > limits::kMaxPemBytes || !IsP256Key(apns.private_key_pem()))) {
    violations.Add("apns.private_key_pem", "must be a private key of curve P-256 in PEM, without a password");
  }
  if (!ConsistsOf(apns.topic(), 1, limits::kMaxIdBytes, IsInBundleId)) {
    violations.Add("apns.topic", "must be a bundle id: 1 to 255 of letters, digits, '.' and '-'");
  }
}

// The text of a field; empty if it has none.
std::string TextOf(const nlohmann::json& json, const char* field) {
  const auto found = json.find(field);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

void CheckFcm(const v1::FcmSettings& fcm, Violations& violations) {
  constexpr absl::string_view kField = "fcm.service_account_json";
  CheckEndpoint("fcm.endpoint", fcm.endpoint(), violations);
  const std::string& text = fcm.service_account_json();
  if (text == kMaskedSecret) return;
  const nlohmann::json json = text.size() > limits::kMaxServiceAccountBytes
                                  ? nlohmann::json()
                                  : nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    violations.Add(kField,
                   absl::StrCat("must be a JSON object of at most ", limits::kMaxServiceAccountBytes, " bytes"));
    return;
  }
  // A part of a URL.
  if (!ConsistsOf(TextOf(json, "project_id"), 1, kMaxAccountBytes,
                  [](unsigned char c) { return absl::ascii_isalnum(c) || c == '-' || c == '.' || c == ':'; })) {
    violations.Add(kField, "must have project_id, of letters, digits, '-', '.' and ':'");
  }
  if (!IsEmailAddress(TextOf(json, "client_email")))
    violations.Add(kField, "must have client_email, an e-mail address");
  if (!IsRsaKey(TextOf(json, "private_key"))) {
    violations.Add(kField, absl::StrCat("must have private_key, an RSA key of ", kMinRsaBits, " bits or more in PEM"));
  }
  if (!IsWebUrl(TextOf(json, "token_uri"), /*with_query=*/false)) {
    violations.Add(kField, absl::StrCat("must have token_uri, an https URL; ", kWhereHttp));
  }
}

bool IsWebhookSecret(absl::string_view secret) {
  std::string key;
  return absl::ConsumePrefix(&secret, "whsec_") && absl::Base64Unescape(secret, &key) &&
         key.size() >= kMinWebhookKeyBytes && key.size() <= kMaxWebhookKeyBytes &&
         // Unescaping passes over spaces and missing padding.
         absl::Base64Escape(key) == secret;
}

void CheckWebhook(const v1::WebhookSettings& webhook, Violations& violations) {
  if (!IsWebUrl(webhook.url(), /*with_query=*/true)) {
    violations.Add("webhook.url", absl::StrCat("must be https://HOST[:PORT][/PATH][?QUERY]; ", kWhereHttp));
  }
  if (webhook.secrets_size() < 1 || webhook.secrets_size() > limits::kMaxWebhookSecrets) {
    violations.Add("webhook.secrets", absl::StrCat("must be 1 to ", limits::kMaxWebhookSecrets));
  }
  for (int i = 0; i < webhook.secrets_size(); ++i) {
    if (webhook.secrets(i) == kMaskedSecret || IsWebhookSecret(webhook.secrets(i))) continue;
    violations.Add(absl::StrCat("webhook.secrets[", i, "]"), "must be whsec_ and base64 of 24 to 64 bytes");
  }
}

void CheckSettings(const v1::Provider& provider, Violations& violations) {
  switch (provider.settings_case()) {
    case v1::Provider::kSmtp:
      return CheckSmtp(provider.smtp(), violations);
    case v1::Provider::kSendgrid:
      return CheckSendGrid(provider.sendgrid(), violations);
    case v1::Provider::kTwilio:
      return CheckTwilio(provider.twilio(), violations);
    case v1::Provider::kVonage:
      return CheckVonage(provider.vonage(), violations);
    case v1::Provider::kApns:
      return CheckApns(provider.apns(), violations);
    case v1::Provider::kFcm:
      return CheckFcm(provider.fcm(), violations);
    case v1::Provider::kWebhook:
      return CheckWebhook(provider.webhook(), violations);
    case v1::Provider::SETTINGS_NOT_SET:
      return;
  }
}

// The kinds that serve a channel, in words.
absl::string_view KindsOf(Channel channel) {
  switch (channel) {
    case Channel::kEmail:
      return "smtp or sendgrid";
    case Channel::kSms:
      return "twilio or vonage";
    case Channel::kApns:
      return "apns";
    case Channel::kFcm:
      return "fcm";
    case Channel::kWebhook:
      return "webhook";
    case Channel::kInApp:
      break;
  }
  return "";
}

std::optional<Channel> ChannelOf(v1::Provider::SettingsCase kind) {
  switch (kind) {
    case v1::Provider::kSmtp:
    case v1::Provider::kSendgrid:
      return Channel::kEmail;
    case v1::Provider::kTwilio:
    case v1::Provider::kVonage:
      return Channel::kSms;
    case v1::Provider::kApns:
      return Channel::kApns;
    case v1::Provider::kFcm:
      return Channel::kFcm;
    case v1::Provider::kWebhook:
      return Channel::kWebhook;
    case v1::Provider::SETTINGS_NOT_SET:
      break;
  }
  return std::nullopt;
}

void CheckWithin(absl::string_view field, const google::protobuf::Duration& value, absl::Duration min,
                 absl::Duration max, Violations& violations) {
  if (DurationOf(value) >= min && DurationOf(value) <= max) return;
  violations.Add(field, absl::StrCat("must be ", absl::FormatDuration(min), " to ", absl::FormatDuration(max)));
}

void CheckProvider(Channel channel, const v1::Provider& provider, Violations& violations) {
  violations.CheckName("name", provider.name(), limits::kMaxTypeNameBytes);
  if (provider.has_timeout()) {
    CheckWithin("timeout", provider.timeout(), limits::kMinProviderTimeout, limits::kMaxProviderTimeout, violations);
  }
  if (provider.has_receipt_wait()) {
    CheckWithin("receipt_wait", provider.receipt_wait(), limits::kMinReceiptWait, limits::kMaxReceiptWait, violations);
  }
  if (provider.max_concurrent() < 0 || provider.max_concurrent() > limits::kMaxProviderConcurrency) {
    violations.Add("max_concurrent", absl::StrCat("must be 1 to ", limits::kMaxProviderConcurrency, ", or 0 for 100"));
  }
  if (!provider.ca_pem().empty() &&
      (provider.ca_pem().size() > limits::kMaxPemBytes || !IsCertificate(provider.ca_pem()))) {
    violations.Add("ca_pem", absl::StrCat("must be certificates in PEM, at most ", limits::kMaxPemBytes, " bytes"));
  }
  if (ChannelOf(provider.settings_case()) != channel) {
    violations.Add("settings", absl::StrCat("must be ", KindsOf(channel), " for ", ToString(channel)));
  }
  CheckSettings(provider, violations);
}

}  // namespace

std::vector<ProviderSecret> SecretsOf(v1::Provider& provider) {
  switch (provider.settings_case()) {
    case v1::Provider::kSmtp:
      return {{"smtp.password", provider.mutable_smtp()->mutable_password()}};
    case v1::Provider::kSendgrid:
      return {{"sendgrid.api_key", provider.mutable_sendgrid()->mutable_api_key()}};
    case v1::Provider::kTwilio:
      return {{"twilio.password", provider.mutable_twilio()->mutable_password()}};
    case v1::Provider::kVonage:
      return {{"vonage.api_secret", provider.mutable_vonage()->mutable_api_secret()}};
    case v1::Provider::kApns:
      return {{"apns.private_key_pem", provider.mutable_apns()->mutable_private_key_pem()}};
    case v1::Provider::kFcm:
      return {{"fcm.service_account_json", provider.mutable_fcm()->mutable_service_account_json()}};
    case v1::Provider::kWebhook: {
      std::vector<ProviderSecret> secrets;
      for (std::string& secret : *provider.mutable_webhook()->mutable_secrets()) {
        secrets.push_back({absl::StrCat("webhook.secrets[", secrets.size(), "]"), &secret});
      }
      return secrets;
    }
    case v1::Provider::SETTINGS_NOT_SET:
      break;
  }
  return {};
}

void CheckProviders(Channel channel, const v1::SetProvidersRequest& request, Violations& violations) {
  if (request.providers_size() > limits::kMaxProviders) {
    violations.Add("providers", absl::StrCat("must be at most ", limits::kMaxProviders));
    return;
  }
  std::set<std::string> names;
  for (int i = 0; i < request.providers_size(); ++i) {
    const v1::Provider& provider = request.providers(i);
    Violations own(absl::StrCat("providers[", i, "]."));
    CheckProvider(channel, provider, own);
    if (!names.insert(provider.name()).second) own.Add("name", "must differ from those of the other providers");
    violations.Append(own);
  }
}

std::optional<Channel> ExternalChannelOf(v1::Channel channel) {
  for (const Channel external : kExternalChannels) {
    if (static_cast<int>(external) == static_cast<int>(channel)) return external;
  }
  return std::nullopt;
}

}  // namespace carillon
