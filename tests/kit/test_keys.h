// Private keys that tests make for themselves: none is kept anywhere.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>

#include <memory>
#include <string>

namespace carillon::testing {

// As PKCS #8 in PEM. Takes the key.
inline std::string PrivateKeyPem(EVP_PKEY* key) {
  const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_PKCS8PrivateKey(out.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
  EVP_PKEY_free(key);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

inline std::string NewEcKeyPem(const char* curve = "P-256") { return PrivateKeyPem(EVP_EC_gen(curve)); }
inline std::string NewRsaKeyPem() { return PrivateKeyPem(EVP_RSA_gen(2048)); }

}  // namespace carillon::testing
