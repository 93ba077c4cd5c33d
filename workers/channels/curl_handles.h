// Owners of what libcurl hands out, and what all of its handles have in common.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <memory>
#include <string>

#include "absl/time/time.h"
#include "workers/channels/transport.h"

namespace carillon {

struct CurlEasyDeleter {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
using CurlEasy = std::unique_ptr<CURL, CurlEasyDeleter>;

struct CurlMultiDeleter {
  void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
using CurlMulti = std::unique_ptr<CURLM, CurlMultiDeleter>;

struct CurlListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlList = std::unique_ptr<curl_slist, CurlListDeleter>;

// The time since it was made, on the monotonic clock. Immutable.
class Stopwatch {
 public:
  absl::Duration elapsed() const { return absl::FromChrono(std::chrono::steady_clock::now() - start_); }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Sets options and remembers the first that failed: an option that is not set could
// be one that protects.
class CurlSetup {
 public:
  explicit CurlSetup(CURL* easy) : easy_(easy) {}

  template <typename Value>
  void Set(CURLoption option, Value value) {
    if (code_ == CURLE_OK) code_ = curl_easy_setopt(easy_, option, value);
  }
  CURLcode code() const { return code_; }

 private:
  CURL* const easy_;
  CURLcode code_ = CURLE_OK;
};

// What a handle's sockets are guarded by, and why it failed. At the same place for as
// long as the handle lives.
struct CurlGuard {
  bool forbid_private_addresses = true;
  bool refused = false;  // An address was forbidden.
  char error[CURL_ERROR_SIZE] = {};

  // Why a call failed, in words.
  std::string Describe(CURLcode code) const;
};

// libcurl's own initialisation, once per process.
void InitializeCurl();
// For the threads that work for libcurl: OpenSSL writes to sockets that may be
// closed, and signals are for the main thread anyway.
void BlockSignals();
// Everything but what the protocol needs. `guard` and what `options` holds stay where
// they are until the handle is gone.
void SetCommonOptions(CurlSetup& setup, const CallOptions& options, absl::Duration timeout, CurlGuard* guard);

}  // namespace carillon
