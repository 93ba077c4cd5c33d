// Bearer tokens that all workers share, because providers refuse accounts that make
// new ones too often. Thread-safe.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/domain/ids.h"

namespace carillon {

struct SharedToken {
  std::string token;
  absl::Time mint_time;
  absl::Time expire_time;  // Not to be used from then on.
};

class TokenStore {
 public:
  virtual ~TokenStore() = default;

  // Expired ones too; nullopt if there is none. `token_key` names what it was made
  // with: another key has other tokens.
  virtual absl::StatusOr<std::optional<SharedToken>> Find(AppId app, const std::string& token_key) = 0;
  // Puts a new one in the place of one that has expired by the new one's mint_time,
  // or was minted before `replace_older_than`, or of none. Returns the one that is
  // there then: of two who come at once, both get the winner's.
  virtual absl::StatusOr<SharedToken> Put(AppId app, const std::string& token_key, const SharedToken& token,
                                          absl::Time replace_older_than) = 0;
};

}  // namespace carillon
