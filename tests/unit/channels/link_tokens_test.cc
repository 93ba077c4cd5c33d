#include "carillon/channels/link_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace carillon {
namespace {

using ::testing::StartsWith;

constexpr absl::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr absl::string_view kOtherKey = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr LinkKind kKinds[] = {LinkKind::kOpen, LinkKind::kClick, LinkKind::kUnsubscribe, LinkKind::kReceipt};

LinkTokens Tokens(absl::string_view hex = kKey, absl::string_view public_url = "https://mail.example.com") {
  return LinkTokens(*MasterKey::FromHex(hex), std::string(public_url));
}

LinkTarget Target() {
  return {.app = AppId(7),
          .notification = *Uuid::Parse("01a1fd0d-8520-799b-8282-0d630dc8bd6d"),
          .delivery = *Uuid::Parse("01a1fd0d-8521-799b-8282-0d630dc8bd6e"),
          .channel = Channel::kSms,
          .retention_days = 365};
}

std::string LastPart(absl::string_view url) { return std::string(url.substr(url.rfind('/') + 1)); }

std::string TokenOf(LinkKind kind, const LinkTokens& tokens = Tokens()) {
  switch (kind) {
    case LinkKind::kOpen:
      return std::string(absl::StripSuffix(LastPart(tokens.PixelUrl(Target())), ".gif"));
    case LinkKind::kClick:
      return LastPart(tokens.ClickUrl(Target(), "https://shop.example.com/orders/7?a=b"));
    case LinkKind::kUnsubscribe:
      return LastPart(tokens.UnsubscribeUrl(Target(), "marketing.digest", "Ann@Example.org"));
    case LinkKind::kReceipt:
      return tokens.ReceiptToken(Target());
  }
  return "";
}

TEST(LinkTokens, LeadToThePublicUrl) {
  for (const char* public_url : {"https://mail.example.com", "https://mail.example.com/"}) {
    const LinkTokens tokens = Tokens(kKey, public_url);
    EXPECT_TRUE(tokens.enabled());
    EXPECT_THAT(tokens.PixelUrl(Target()), StartsWith("https://mail.example.com/t/o/"));
    EXPECT_TRUE(absl::EndsWith(tokens.PixelUrl(Target()), ".gif"));
    EXPECT_THAT(tokens.ClickUrl(Target(), "https://a.example/"), StartsWith("https://mail.example.com/t/c/"));
    EXPECT_THAT(tokens.UnsubscribeUrl(Target(), "marketing.digest", "Ann@Example.org"),
                StartsWith("https://mail.example.com/u/"));
    EXPECT_EQ(tokens.ReceiptUrl("twilio", Target()),
              absl::StrCat("https://mail.example.com/receipts/twilio/", tokens.ReceiptToken(Target())));
  }
}

TEST(LinkTokens, SayWhatTheyAreOf) {
  for (const LinkKind kind : kKinds) {
    const std::optional<LinkTokens::Verified> link = Tokens().Verify(kind, TokenOf(kind));
    ASSERT_TRUE(link.has_value());
    EXPECT_EQ(link->target, Target());
    EXPECT_EQ(link->url, kind == LinkKind::kClick ? "https://shop.example.com/orders/7?a=b" : "");
  }
}

TEST(LinkTokens, SayAllThatUnsubscribingTakes) {
  const auto link = Tokens().Verify(LinkKind::kUnsubscribe, TokenOf(LinkKind::kUnsubscribe));
  ASSERT_TRUE(link.has_value());
  EXPECT_EQ(link->type, "marketing.digest");
  // Of ann@example.org.
  EXPECT_EQ(absl::BytesToHexString(link->address_hash),
            "438c4c7afe600cdf1e455c369bec76dc970fc8ca463447c7b387a347f3c79331");
  EXPECT_EQ(Tokens().Verify(LinkKind::kOpen, TokenOf(LinkKind::kOpen))->address_hash, "");
}

TEST(LinkTokens, AreSafeInUrlsAndShort) {
  const std::string token = TokenOf(LinkKind::kReceipt);
  EXPECT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), token.npos);
  EXPECT_EQ(token.size(), 80);
}

TEST(LinkTokens, AreGoodForTheirOwnKindOnly) {
  for (const LinkKind made : kKinds) {
    for (const LinkKind asked : kKinds) {
      EXPECT_EQ(Tokens().Verify(asked, TokenOf(made)).has_value(), made == asked);
    }
  }
}

TEST(LinkTokens, AreRefusedWhenAnythingWasChanged) {
  const std::string token = TokenOf(LinkKind::kClick);
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = token[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(Tokens().Verify(LinkKind::kClick, changed).has_value()) << i;
    EXPECT_FALSE(Tokens().Verify(LinkKind::kClick, token.substr(0, i)).has_value()) << i;
  }
  for (const char* more : {"A", "=", " ", "%"}) {
    EXPECT_FALSE(Tokens().Verify(LinkKind::kClick, absl::StrCat(token, more)).has_value()) << more;
  }
  EXPECT_FALSE(Tokens().Verify(LinkKind::kClick, std::string(1 << 20, 'A')).has_value());
}

TEST(LinkTokens, OfAnotherKeyAreRefused) {
  EXPECT_FALSE(Tokens(kOtherKey).Verify(LinkKind::kOpen, TokenOf(LinkKind::kOpen)).has_value());
}

TEST(LinkTokens, StayGoodWhileTheirKeyIsTheSecondOne) {
  const LinkTokens rotated = Tokens(absl::StrCat(kOtherKey, ",", kKey));
  EXPECT_TRUE(rotated.Verify(LinkKind::kOpen, TokenOf(LinkKind::kOpen)).has_value());
  EXPECT_TRUE(Tokens(kOtherKey).Verify(LinkKind::kOpen, TokenOf(LinkKind::kOpen, rotated)).has_value());
}

TEST(LinkTokens, AreNoLinksWithoutAPublicUrl) {
  const LinkTokens tokens = Tokens(kKey, "");
  EXPECT_FALSE(tokens.enabled());
  EXPECT_EQ(tokens.PixelUrl(Target()), "");
  EXPECT_EQ(tokens.UnsubscribeUrl(Target(), "marketing.digest", "Ann@Example.org"), "");
  EXPECT_EQ(tokens.ReceiptUrl("twilio", Target()), "");
  EXPECT_EQ(tokens.ClickUrl(Target(), "https://a.example/"), "https://a.example/");
}

TEST(LinkTokens, KnowWhatAPublicUrlIs) {
  for (const char* url : {"", "https://mail.example.com", "http://127.0.0.1:8080/", "https://example.com/carillon"}) {
    EXPECT_TRUE(LinkTokens::IsPublicUrl(url)) << url;
  }
  for (const char* url :
       {"mail.example.com", "https://", "ftp://a.example", "https://a.example?x", "https://a b", "x"}) {
    EXPECT_FALSE(LinkTokens::IsPublicUrl(url)) << url;
  }
}

TEST(LinkTokens, LeaveWhatIsNoWebAddressOrTooLongAsItIs) {
  for (const std::string& url :
       {std::string(), std::string("mailto:a@b.example"), std::string("app://orders/7"), std::string("javascript:x()"),
        absl::StrCat("https://a.example/", std::string(2000, 'x'))}) {
    EXPECT_EQ(Tokens().ClickUrl(Target(), url), url);
  }
  const std::string longest = absl::StrCat("https://a.example/", std::string(1982, 'x'));
  const std::optional<LinkTokens::Verified> link =
      Tokens().Verify(LinkKind::kClick, LastPart(Tokens().ClickUrl(Target(), longest)));
  ASSERT_TRUE(link.has_value());
  EXPECT_EQ(link->url, longest);
}

}  // namespace
}  // namespace carillon
