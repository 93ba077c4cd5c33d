// The tokens by which end users reach what is theirs: JSON Web Tokens (RFC 7519),
// signed with keys that are derived from the master key.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "carillon/runtime/master_key.h"

namespace carillon {

// By which tokens are signed, and the only one by which they are verified.
enum class TokenAlgorithm { kHs256, kHs384, kHs512 };
std::optional<TokenAlgorithm> ParseTokenAlgorithm(absl::string_view name);

// What a token says.
struct UserToken {
  std::string app_key;
  // Of the app's secret that it was issued by: it ends with it.
  std::string secret_id;
  std::string user;
  absl::Time issue_time;
  absl::Time expire_time;
};

// Immutable; safe to share and to copy. The newest master key signs, all verify: the
// header's kid says which, and its alg says nothing that is believed.
class UserTokens {
 public:
  UserTokens(const MasterKey& master_key, TokenAlgorithm algorithm);

  absl::StatusOr<std::string> Issue(const UserToken& token) const;
  // error::InvalidToken unless we have issued it. It may have expired: that is told only
  // to whom all else is right.
  absl::StatusOr<UserToken> Verify(absl::string_view token, absl::Time now) const;

 private:
  struct Key {
    std::string id;
    std::string secret;
  };

  const Key* FindKey(absl::string_view id) const;

  TokenAlgorithm algorithm_;
  std::vector<Key> keys_;  // The first signs.
};

}  // namespace carillon
