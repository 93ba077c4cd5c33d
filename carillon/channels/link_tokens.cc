#include "carillon/channels/link_tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "carillon/domain/names.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

constexpr char kVersion = 1;
constexpr size_t kMacBytes = 16;
constexpr size_t kMaxUrlBytes = 2000;  // What browsers and mail filters take for certain.
// Version, app, notification, delivery, channel, retention.
constexpr size_t kTargetBytes = 1 + 8 + 16 + 16 + 1 + 2;
constexpr size_t kHashBytes = 32;
constexpr size_t kMaxTokenBytes = (kTargetBytes + kMaxUrlBytes + kMacBytes) * 4 / 3 + 4;

constexpr EnumNames<LinkKind, 4> kPurposes = {{{LinkKind::kOpen, "link/open"},
                                               {LinkKind::kClick, "link/click"},
                                               {LinkKind::kUnsubscribe, "link/unsubscribe"},
                                               {LinkKind::kReceipt, "link/receipt"}}};

void AppendNumber(uint64_t number, int bytes, std::string& out) {
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(number >> (8 * i)));
}

// Takes so many bytes off the front, or what there is.
absl::string_view Take(size_t bytes, absl::string_view& text) {
  const absl::string_view taken = text.substr(0, bytes);
  text.remove_prefix(taken.size());
  return taken;
}

uint64_t TakeNumber(size_t bytes, absl::string_view& text) {
  uint64_t number = 0;
  for (const char c : Take(bytes, text)) number = number << 8 | static_cast<uint8_t>(c);
  return number;
}

std::string Payload(const LinkTarget& target, absl::string_view more) {
  std::string payload(1, kVersion);
  AppendNumber(static_cast<uint64_t>(target.app.value()), 8, payload);
  absl::StrAppend(&payload, target.notification.bytes(), target.delivery.bytes());
  AppendNumber(static_cast<uint64_t>(target.channel), 1, payload);
  AppendNumber(static_cast<uint64_t>(target.retention_days), 2, payload);
  return absl::StrCat(payload, more);
}

// Of a payload whose signature is right: we wrote it.
LinkTokens::Verified FromPayload(LinkKind kind, absl::string_view payload) {
  LinkTokens::Verified link;
  Take(1, payload);
  link.target.app = AppId(static_cast<int64_t>(TakeNumber(8, payload)));
  link.target.notification = *Uuid::FromBytes(Take(16, payload));
  link.target.delivery = *Uuid::FromBytes(Take(16, payload));
  link.target.channel = static_cast<Channel>(TakeNumber(1, payload));
  link.target.retention_days = static_cast<int>(TakeNumber(2, payload));
  if (kind == LinkKind::kUnsubscribe) {
    link.address_hash = std::string(Take(kHashBytes, payload));
    link.type = std::string(payload);
  } else {
    link.url = std::string(payload);
  }
  return link;
}

bool CanBeTracked(absl::string_view url) {
  return url.size() <= kMaxUrlBytes &&
         (absl::StartsWithIgnoreCase(url, "https://") || absl::StartsWithIgnoreCase(url, "http://"));
}

}  // namespace

LinkTokens::LinkTokens(MasterKey key, std::string public_url)
    : key_(std::move(key)), public_url_(absl::StripSuffix(public_url, "/")) {}

bool LinkTokens::IsPublicUrl(absl::string_view url) {
  if (url.empty()) return true;
  return CanBeTracked(url) && url.size() > absl::string_view("https://").size() &&
         std::all_of(url.begin(), url.end(), [](unsigned char c) { return absl::ascii_isgraph(c); }) &&
         url.find_first_of("?#\"<>") == absl::string_view::npos;
}

std::string LinkTokens::PixelUrl(const LinkTarget& target) const {
  const std::string url = Url("/t/o/", Token(LinkKind::kOpen, target, ""));
  return url.empty() ? url : absl::StrCat(url, ".gif");
}

std::string LinkTokens::ClickUrl(const LinkTarget& target, absl::string_view url) const {
  if (!enabled() || !CanBeTracked(url)) return std::string(url);
  return Url("/t/c/", Token(LinkKind::kClick, target, url));
}

std::string LinkTokens::UnsubscribeUrl(const LinkTarget& target, absl::string_view type,
                                       absl::string_view address) const {
  // As the claim of a delivery compares it.
  const std::string hash = HashSecret(absl::AsciiStrToLower(address));
  return Url("/u/", Token(LinkKind::kUnsubscribe, target, absl::StrCat(hash, type)));
}

std::string LinkTokens::ReceiptUrl(absl::string_view provider_kind, const LinkTarget& target) const {
  return Url(absl::StrCat("/receipts/", provider_kind, "/"), ReceiptToken(target));
}

std::string LinkTokens::ReceiptToken(const LinkTarget& target) const { return Token(LinkKind::kReceipt, target, ""); }

std::optional<LinkTokens::Verified> LinkTokens::Verify(LinkKind kind, absl::string_view token) const {
  std::string bytes;
  if (token.size() > kMaxTokenBytes || !absl::WebSafeBase64Unescape(token, &bytes)) return std::nullopt;
  // Unescaping passes over spaces, padding and spare bits.
  if (absl::WebSafeBase64Escape(bytes) != token) return std::nullopt;
  if (bytes.size() < kTargetBytes + kMacBytes || bytes.front() != kVersion) return std::nullopt;
  const absl::string_view payload = absl::string_view(bytes).substr(0, bytes.size() - kMacBytes);
  const absl::string_view mac = absl::string_view(bytes).substr(payload.size());
  if (!key_.Verify(NameOf(kPurposes, kind), payload, mac)) return std::nullopt;
  return FromPayload(kind, payload);
}

std::string LinkTokens::Token(LinkKind kind, const LinkTarget& target, absl::string_view more) const {
  const std::string payload = Payload(target, more);
  const std::string mac = key_.Sign(NameOf(kPurposes, kind), payload);
  return absl::WebSafeBase64Escape(absl::StrCat(payload, absl::string_view(mac).substr(0, kMacBytes)));
}

std::string LinkTokens::Url(absl::string_view path, absl::string_view token) const {
  return enabled() ? absl::StrCat(public_url_, path, token) : "";
}

}  // namespace carillon
