#include "server/api/user_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using testing::IsOk;

constexpr absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);
const nlohmann::json kAsIs = nlohmann::json::object();
const std::string kNewKey(64, 'a');
const std::string kOldKey(64, 'b');

UserTokens Tokens(const std::string& keys, TokenAlgorithm algorithm = TokenAlgorithm::kHs256) {
  return UserTokens(*MasterKey::FromHex(keys), algorithm);
}

UserToken Ada() {
  return {.app_key = "ck_7",
          .secret_id = "0123456789ab",
          .user = "ada",
          .issue_time = kNow,
          .expire_time = kNow + absl::Minutes(15)};
}

std::string Encoded(absl::string_view bytes) { return absl::WebSafeBase64Escape(bytes); }

nlohmann::json Part(const std::string& token, int part) {
  std::string json;
  EXPECT_TRUE(absl::WebSafeBase64Unescape(std::vector<std::string>(absl::StrSplit(token, '.'))[part], &json));
  return nlohmann::json::parse(json, nullptr, false);
}

// Signed as HS256 with any key: what somebody could make who knows one.
std::string Signed(const nlohmann::json& header, const nlohmann::json& claims, const std::string& key) {
  const std::string text = absl::StrCat(Encoded(header.dump()), ".", Encoded(claims.dump()));
  std::string mac(32, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), reinterpret_cast<const unsigned char*>(text.data()),
       text.size(), reinterpret_cast<unsigned char*>(mac.data()), &size);
  return absl::StrCat(text, ".", Encoded(mac));
}

class UserTokensTest : public ::testing::Test {
 protected:
  // What was issued, with some of it changed and signed anew with the right key.
  std::string Forged(const nlohmann::json& header_patch, const nlohmann::json& claims_patch) {
    const std::string token = *tokens_.Issue(Ada());
    nlohmann::json header = Part(token, 0);
    nlohmann::json claims = Part(token, 1);
    header.merge_patch(header_patch);
    claims.merge_patch(claims_patch);
    return Signed(header, claims, MasterKey::FromHex(kNewKey)->DeriveKeys("user-token/HS256", 32).front());
  }

  void ExpectInvalid(const std::string& token) {
    const absl::StatusOr<UserToken> verified = tokens_.Verify(token, kNow);
    EXPECT_EQ(verified.status(), error::InvalidToken()) << token;
    EXPECT_EQ(DetailsOf(verified.status()).reason, "INVALID_TOKEN");
  }

  const UserTokens tokens_ = Tokens(kNewKey);
};

TEST_F(UserTokensTest, VerifiesWhatItHasIssued) {
  for (const TokenAlgorithm algorithm : {TokenAlgorithm::kHs256, TokenAlgorithm::kHs384, TokenAlgorithm::kHs512}) {
    const UserTokens tokens = Tokens(kNewKey, algorithm);
    UserToken token = Ada();
    token.user = "änn \"quoted\" \\ 😀";
    ASSERT_OK_AND_ASSIGN(const UserToken verified, tokens.Verify(*tokens.Issue(token), kNow));
    EXPECT_EQ(verified.app_key, "ck_7");
    EXPECT_EQ(verified.secret_id, "0123456789ab");
    EXPECT_EQ(verified.user, token.user);
    EXPECT_EQ(verified.issue_time, kNow);
    EXPECT_EQ(verified.expire_time, kNow + absl::Minutes(15));
  }
}

TEST_F(UserTokensTest, IssuesWhatOthersCanRead) {
  const std::string token = *tokens_.Issue(Ada());
  const nlohmann::json header = Part(token, 0);
  EXPECT_EQ(header["alg"], "HS256");
  EXPECT_EQ(header["typ"], "JWT");
  const nlohmann::json claims = Part(token, 1);
  EXPECT_EQ(claims["iss"], "carillon");
  EXPECT_EQ(claims["aud"], "carillon");
  EXPECT_EQ(claims["app"], "ck_7");
  EXPECT_EQ(claims["sub"], "ada");
  EXPECT_EQ(claims["iat"], 1'700'000'000);
  EXPECT_EQ(claims["exp"], 1'700'000'900);
  EXPECT_NE(claims["jti"], Part(*tokens_.Issue(Ada()), 1)["jti"]);
}

// The helper above makes good tokens, so each test below fails for its own reason.
TEST_F(UserTokensTest, TakesOneThatWasSignedAsItSigns) {
  EXPECT_THAT(tokens_.Verify(Forged(kAsIs, kAsIs), kNow), IsOk());
}

TEST_F(UserTokensTest, RefusesEveryOtherAlgorithm) {
  const std::vector<std::string> parts = absl::StrSplit(*tokens_.Issue(Ada()), '.');
  for (const char* name : {"none", "None", "NONE", "", "HS384", "HS512", "RS256", "ES256", "hs256", "XX"}) {
    ExpectInvalid(Forged({{"alg", name}}, kAsIs));
    nlohmann::json header = Part(parts[0] + ".e30.", 0);
    header["alg"] = name;
    ExpectInvalid(absl::StrCat(Encoded(header.dump()), ".", parts[1], "."));
    ExpectInvalid(absl::StrCat(Encoded(header.dump()), ".", parts[1], ".", parts[2]));
  }
  ExpectInvalid(Forged({{"alg", nullptr}}, kAsIs));
  for (const TokenAlgorithm other : {TokenAlgorithm::kHs384, TokenAlgorithm::kHs512}) {
    ExpectInvalid(*Tokens(kNewKey, other).Issue(Ada()));
  }
}

TEST_F(UserTokensTest, RefusesOtherKeys) {
  ExpectInvalid(*Tokens(kOldKey).Issue(Ada()));
  ExpectInvalid(Forged({{"kid", "000000000000"}}, kAsIs));
  ExpectInvalid(Forged({{"kid", nullptr}}, kAsIs));
  ExpectInvalid(Forged({{"kid", 7}}, kAsIs));
  ExpectInvalid(Forged({{"kid", "../../etc/passwd"}}, kAsIs));
  // By a key of another use, by the master key itself, by its hexadecimal form and by none.
  const std::string token = *tokens_.Issue(Ada());
  for (const std::string& key : {MasterKey::FromHex(kNewKey)->DeriveKeys("user-token/HS512", 32).front(),
                                 MasterKey::FromHex(kNewKey)->DeriveKeys("user-token/HS256/id", 32).front(),
                                 absl::HexStringToBytes(kNewKey), kNewKey, std::string("")}) {
    ExpectInvalid(Signed(Part(token, 0), Part(token, 1), key));
  }
}

TEST_F(UserTokensTest, VerifiesOldKeysAndSignsWithTheNewest) {
  const UserTokens old = Tokens(kOldKey);
  const UserTokens both = Tokens(absl::StrCat(kNewKey, ",", kOldKey));
  const std::string before = *old.Issue(Ada());
  const std::string after = *both.Issue(Ada());
  EXPECT_THAT(both.Verify(before, kNow), IsOk());
  EXPECT_THAT(both.Verify(after, kNow), IsOk());
  EXPECT_THAT(tokens_.Verify(after, kNow), IsOk());
  EXPECT_EQ(old.Verify(after, kNow).status(), error::InvalidToken());
  ExpectInvalid(before);
  EXPECT_NE(Part(before, 0)["kid"], Part(after, 0)["kid"]);
}

TEST_F(UserTokensTest, RefusesOtherClaims) {
  for (const char* claim : {"iss", "aud", "app", "sid", "sub", "iat", "exp"}) {
    for (const nlohmann::json& value :
         {nlohmann::json(), nlohmann::json(""), nlohmann::json(true), nlohmann::json(-1), nlohmann::json(1.5),
          nlohmann::json("1700000900"), nlohmann::json(nlohmann::json::array({"carillon"})), nlohmann::json(1e300)}) {
      // Any text may be an app or a user.
      if (value.is_string() && value != "" && claim[0] != 'i' && claim[0] != 'e' && claim != std::string("aud"))
        continue;
      ExpectInvalid(Forged(kAsIs, {{claim, value}}));
    }
  }
  ExpectInvalid(Forged(kAsIs, {{"iss", "carillon2"}}));
  ExpectInvalid(Forged(kAsIs, {{"aud", "other"}}));
  ExpectInvalid(Forged(kAsIs, {{"sub", std::string(256, 'a')}}));
  ExpectInvalid(Forged(kAsIs, {{"sub", std::string("ada\0eve", 7)}}));
  ExpectInvalid(Forged(kAsIs, {{"sub", "ada\x1f"}}));
  ExpectInvalid(Forged(kAsIs, {{"exp", absl::ToUnixSeconds(kNow + absl::Hours(24) + absl::Seconds(1))}}));
  ExpectInvalid(Forged(kAsIs, {{"exp", 9'000'000'000'000'000'000}}));
}

TEST_F(UserTokensTest, AllowsForClocksThatAreSecondsApart) {
  const std::string token = *tokens_.Issue(Ada());
  EXPECT_THAT(tokens_.Verify(token, kNow - limits::kTokenLeeway), IsOk());
  EXPECT_EQ(tokens_.Verify(token, kNow - limits::kTokenLeeway - absl::Seconds(1)).status(), error::InvalidToken());
}

TEST_F(UserTokensTest, LeavesToItsCallerWhatHasExpired) {
  ASSERT_OK_AND_ASSIGN(const UserToken verified, tokens_.Verify(*tokens_.Issue(Ada()), kNow + absl::Hours(48)));
  EXPECT_EQ(verified.expire_time, kNow + absl::Minutes(15));
}

TEST_F(UserTokensTest, RefusesGarbage) {
  const std::string token = *tokens_.Issue(Ada());
  for (const std::string& garbage :
       {std::string(), std::string("."), std::string(".."), std::string("..."), std::string("a.b.c"),
        std::string("e30.e30.e30"), std::string("\0\0\0", 3), std::string(10'000, 'a'), std::string(10'000, '.'),
        token + ".", token + "a", token + "=", token + " ", "." + token, token + std::string("\0", 1), token + token,
        token + "." + token, token.substr(0, token.rfind('.')), token.substr(0, token.rfind('.') + 1)}) {
    ExpectInvalid(garbage);
  }
  ExpectInvalid(Forged(kAsIs, {{"padding", std::string(limits::kMaxTokenBytes, 'a')}}));
}

// Whatever is changed in a token, it is no token any more.
TEST_F(UserTokensTest, RefusesMutations) {
  const std::string token = *tokens_.Issue(Ada());
  std::mt19937 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string mutation = token;
    for (uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
      const size_t at = random() % mutation.size();
      switch (random() % 4) {
        case 0:
          mutation[at] = static_cast<char>(random());
          break;
        case 1:
          mutation.erase(at, 1 + random() % 8);
          break;
        case 2:
          mutation.insert(at, 1, static_cast<char>(random()));
          break;
        default:
          mutation[at] = "ABCXYZabcxyz0189-_.="[random() % 20];
      }
      if (mutation.empty()) mutation = "x";
    }
    if (mutation == token) continue;
    ASSERT_FALSE(tokens_.Verify(mutation, kNow).ok()) << mutation;
  }
}

TEST_F(UserTokensTest, KnowsAlgorithmsByTheirNames) {
  EXPECT_EQ(ParseTokenAlgorithm("HS256"), TokenAlgorithm::kHs256);
  EXPECT_EQ(ParseTokenAlgorithm("HS512"), TokenAlgorithm::kHs512);
  for (const char* name : {"", "none", "hs256", "RS256"}) EXPECT_EQ(ParseTokenAlgorithm(name), std::nullopt);
}

}  // namespace
}  // namespace carillon
