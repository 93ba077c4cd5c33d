#include "carillon/runtime/master_key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/runtime/secrets.h"

namespace carillon {
namespace {

constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr size_t kMacBytes = 32;
constexpr size_t kShortestMacBytes = 16;
constexpr size_t kMaxKeys = 2;
constexpr char kVersion = 1;
constexpr size_t kHeadBytes = 1 + kNonceBytes;
constexpr absl::string_view kSealLabel = "carillon/seal/1";
constexpr absl::string_view kSignLabel = "carillon/sign/1/";
constexpr absl::string_view kKeyLabel = "carillon/key/1/";

struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter>;

const unsigned char* Bytes(absl::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

// Only a broken or exhausted process comes here: nothing it went on to write would
// be safe.
void Require(bool ok) {
  if (!ok) std::abort();
}

std::string Hmac(absl::string_view key, absl::string_view text) {
  std::string mac(kMacBytes, '\0');
  unsigned int length = 0;
  Require(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), Bytes(text), text.size(), Bytes(mac), &length) !=
              nullptr &&
          length == kMacBytes);
  return mac;
}

// HKDF-Expand: the master key is uniform already, so there is nothing to extract.
std::string Expand(absl::string_view master, absl::string_view label, size_t bytes) {
  std::string expanded, block;
  for (char i = 1; expanded.size() < bytes; ++i) {
    block = Hmac(master, absl::StrCat(block, label, std::string(1, i)));
    expanded += block;
  }
  expanded.resize(bytes);
  return expanded;
}

std::string Derive(absl::string_view master, absl::string_view label) { return Expand(master, label, kKeyBytes); }

std::string SignWith(absl::string_view master, absl::string_view purpose, absl::string_view text) {
  return Hmac(Derive(master, absl::StrCat(kSignLabel, purpose)), text);
}

// nullopt unless it was sealed with this key in this context.
std::optional<std::string> OpenWith(absl::string_view master, absl::string_view sealed, absl::string_view context) {
  if (sealed.size() < kHeadBytes + kTagBytes || sealed[0] != kVersion) return std::nullopt;
  const std::string key = Derive(master, kSealLabel);
  const absl::string_view body = sealed.substr(kHeadBytes, sealed.size() - kHeadBytes - kTagBytes);
  std::string tag(sealed.substr(sealed.size() - kTagBytes));
  std::string plain(body.size(), '\0');
  int length = 0;
  const CipherContext cipher(EVP_CIPHER_CTX_new());
  Require(cipher != nullptr &&
          EVP_DecryptInit_ex2(cipher.get(), EVP_aes_256_gcm(), Bytes(key), Bytes(sealed.substr(1)), nullptr) == 1 &&
          EVP_DecryptUpdate(cipher.get(), nullptr, &length, Bytes(context), static_cast<int>(context.size())) == 1 &&
          EVP_DecryptUpdate(cipher.get(), Bytes(plain), &length, Bytes(body), static_cast<int>(body.size())) == 1 &&
          EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1);
  unsigned char rest[EVP_MAX_BLOCK_LENGTH];
  if (EVP_DecryptFinal_ex(cipher.get(), rest, &length) == 1) return plain;
  // Or a TLS connection that this thread serves next would find the fault.
  ERR_clear_error();
  return std::nullopt;
}

absl::Status BadKey() {
  return absl::InvalidArgumentError(
      absl::StrCat(MasterKey::kVariable, " must be 64 hexadecimal digits, or two such keys with a comma between them"));
}

}  // namespace

absl::StatusOr<MasterKey> MasterKey::FromHex(absl::string_view hex) {
  std::vector<std::string> keys;
  for (const absl::string_view part : absl::StrSplit(hex, ',')) {
    const bool well_formed = part.size() == 2 * kKeyBytes &&
                             std::all_of(part.begin(), part.end(), [](char c) { return absl::ascii_isxdigit(c); });
    if (!well_formed || keys.size() == kMaxKeys) return BadKey();
    keys.push_back(absl::HexStringToBytes(part));
  }
  return MasterKey(std::move(keys));
}

absl::StatusOr<MasterKey> MasterKey::FromEnvironment() {
  const char* value = std::getenv(kVariable);
  return FromHex(value == nullptr ? "" : value);
}

std::string MasterKey::Seal(absl::string_view plain, absl::string_view context) const {
  const std::string key = Derive(keys_.front(), kSealLabel);
  std::string sealed(kHeadBytes + plain.size() + kTagBytes, '\0');
  sealed[0] = kVersion;
  unsigned char* const nonce = Bytes(sealed) + 1;
  unsigned char* const body = Bytes(sealed) + kHeadBytes;
  unsigned char* const tag = body + plain.size();
  int length = 0;
  const CipherContext cipher(EVP_CIPHER_CTX_new());
  Require(cipher != nullptr && RAND_bytes(nonce, kNonceBytes) == 1 &&
          EVP_EncryptInit_ex2(cipher.get(), EVP_aes_256_gcm(), Bytes(key), nonce, nullptr) == 1 &&
          EVP_EncryptUpdate(cipher.get(), nullptr, &length, Bytes(context), static_cast<int>(context.size())) == 1 &&
          EVP_EncryptUpdate(cipher.get(), body, &length, Bytes(plain), static_cast<int>(plain.size())) == 1 &&
          EVP_EncryptFinal_ex(cipher.get(), tag, &length) == 1 &&
          EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1);
  return sealed;
}

absl::StatusOr<std::string> MasterKey::Open(absl::string_view sealed, absl::string_view context) const {
  for (const std::string& key : keys_) {
    if (std::optional<std::string> plain = OpenWith(key, sealed, context); plain.has_value()) return *std::move(plain);
  }
  return absl::FailedPreconditionError(
      absl::StrCat("can't be opened: it was sealed with a key that is not in ", kVariable));
}

bool MasterKey::IsSealedWithNewest(absl::string_view sealed, absl::string_view context) const {
  return OpenWith(keys_.front(), sealed, context).has_value();
}

std::string MasterKey::Sign(absl::string_view purpose, absl::string_view text) const {
  return SignWith(keys_.front(), purpose, text);
}

bool MasterKey::Verify(absl::string_view purpose, absl::string_view text, absl::string_view mac) const {
  if (mac.size() < kShortestMacBytes || mac.size() > kMacBytes) return false;
  bool verified = false;
  for (const std::string& key : keys_) {
    const std::string expected = SignWith(key, purpose, text);
    verified |= ConstantTimeEquals(absl::string_view(expected).substr(0, mac.size()), mac);
  }
  return verified;
}

std::vector<std::string> MasterKey::DeriveKeys(absl::string_view purpose, size_t bytes) const {
  std::vector<std::string> derived;
  for (const std::string& key : keys_) derived.push_back(Expand(key, absl::StrCat(kKeyLabel, purpose), bytes));
  return derived;
}

}  // namespace carillon
