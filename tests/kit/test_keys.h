// Private keys and certificates that tests make for themselves: none is kept anywhere.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

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
inline std::string NewRsaKeyPem(int bits = 2048) { return PrivateKeyPem(EVP_RSA_gen(static_cast<unsigned int>(bits))); }

// Vouches for itself for an hour.
inline std::string NewCertificatePem() {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const certificate = X509_new();
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_sign(certificate, key, EVP_sha256());
  const std::unique_ptr<BIO, int (*)(BIO*)> out(BIO_new(BIO_s_mem()), BIO_free);
  PEM_write_bio_X509(out.get(), certificate);
  X509_free(certificate);
  EVP_PKEY_free(key);
  char* data = nullptr;
  const long size = BIO_get_mem_data(out.get(), &data);
  return std::string(data, static_cast<size_t>(size));
}

}  // namespace carillon::testing
