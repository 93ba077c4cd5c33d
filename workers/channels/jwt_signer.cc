#include "workers/channels/jwt_signer.h"

#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <cstdlib>
#include <memory>

#include "carillon/domain/errors.h"

namespace carillon {
namespace {

constexpr int kMinRsaBits = 2048;
constexpr size_t kMaxGroupName = 64;

struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct JwtDeleter {
  void operator()(jwt_t* jwt) const { jwt_free(jwt); }
};
struct JwtTextDeleter {
  void operator()(char* text) const { std::free(text); }
};

// Keys with a passphrase are refused rather than asked for on a terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

bool IsP256(const EVP_PKEY* key) {
  char group[kMaxGroupName] = {};
  return EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), nullptr) == 1 &&
         absl::string_view(group) == "prime256v1";
}

}  // namespace

absl::Status CheckJwtKey(JwtAlgorithm algorithm, absl::string_view private_key_pem) {
  const std::unique_ptr<BIO, BioDeleter> bio(
      BIO_new_mem_buf(private_key_pem.data(), static_cast<int>(private_key_pem.size())));
  const std::unique_ptr<EVP_PKEY, KeyDeleter> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, &NoPassphrase, nullptr));
  if (key == nullptr) return absl::InvalidArgumentError("must be a private key in PEM, without a passphrase");
  if (algorithm == JwtAlgorithm::kEs256 && !IsP256(key.get())) {
    return absl::InvalidArgumentError("must be an EC key of curve P-256");
  }
  if (algorithm == JwtAlgorithm::kRs256 &&
      (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key.get()) < kMinRsaBits)) {
    return absl::InvalidArgumentError("must be an RSA key of 2048 bits or more");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> SignJwt(JwtAlgorithm algorithm, absl::string_view private_key_pem,
                                    const std::string& key_id, const std::string& claims_json) {
  jwt_t* made = nullptr;
  if (jwt_new(&made) != 0) return error::Internal("libjwt makes no token");
  const std::unique_ptr<jwt_t, JwtDeleter> jwt(made);
  const jwt_alg_t libjwt_algorithm = algorithm == JwtAlgorithm::kEs256 ? JWT_ALG_ES256 : JWT_ALG_RS256;
  bool ok = jwt_set_alg(jwt.get(), libjwt_algorithm, reinterpret_cast<const unsigned char*>(private_key_pem.data()),
                        static_cast<int>(private_key_pem.size())) == 0;
  ok = ok && (key_id.empty() || jwt_add_header(jwt.get(), "kid", key_id.c_str()) == 0);
  ok = ok && jwt_add_grants_json(jwt.get(), claims_json.c_str()) == 0;
  if (!ok) return error::Internal("libjwt takes no key or no claims");
  const std::unique_ptr<char, JwtTextDeleter> text(jwt_encode_str(jwt.get()));
  if (text == nullptr) return error::Internal("libjwt does not sign");
  return std::string(text.get());
}

}  // namespace carillon
