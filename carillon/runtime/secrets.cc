#include "carillon/runtime/secrets.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <cstdlib>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

std::string RandomHex(size_t bytes) {
  std::string buffer(bytes, '\0');
  // Without randomness no secret can be made; nothing sensible is left to do.
  if (RAND_bytes(reinterpret_cast<unsigned char*>(buffer.data()), static_cast<int>(bytes)) != 1) std::abort();
  return absl::BytesToHexString(buffer);
}

}  // namespace

std::string NewAppKey() { return absl::StrCat("ck_", RandomHex(12)); }
std::string NewAppSecret() { return absl::StrCat("cs_", RandomHex(32)); }

std::string HashSecret(absl::string_view secret) {
  std::string hash(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(),
         reinterpret_cast<unsigned char*>(hash.data()));
  return hash;
}

bool ConstantTimeEquals(absl::string_view a, absl::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace carillon
