// How calls leave for providers: HTTP/1.1, HTTP/2 and SMTP on libcurl's multi
// interface, asynchronous, with a deadline each. No call is ever made twice.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "carillon/v1/provider.pb.h"

namespace carillon {

// How far a call got.
enum class CallEnd {
  kAnswered,     // There is an answer; see its status or code.
  kNotSent,      // The provider never got it.
  kUnconfirmed,  // The provider may have got it, and did not answer.
};

// Of every call.
struct CallOptions {
  // From Send to the answer, the wait for a connection included.
  absl::Duration timeout = absl::Seconds(10);
  // Certificates in PEM to trust instead of the system's; empty: the system's.
  std::string ca_pem;
  // Connects to addresses of the public Internet only (public_address.h). Checked on
  // the very address that is connected to, so names that change are no way around.
  bool forbid_private_addresses = true;
};

// Names in lower case.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

// A POST, or without a body a GET.
struct HttpRequest {
  std::string url;
  HttpHeaders headers;
  std::string body;
  bool http2 = false;  // HTTP/2 or nothing, many calls on one connection.
  CallOptions options;
};

struct HttpResult {
  CallEnd end = CallEnd::kNotSent;
  int status = 0;       // If answered.
  HttpHeaders headers;  // If answered; at most 16 KiB of them.
  std::string body;     // If answered; its first 64 KiB.
  std::string error;    // If not: why.
  // Not sent because of CallOptions::forbid_private_addresses.
  bool forbidden_address = false;
  absl::Duration latency;
};

// The value of a header; empty if there is none.
absl::string_view HeaderOf(const HttpResult& result, absl::string_view lower_case_name);

struct MailRequest {
  std::string host;
  int port = 0;
  v1::SmtpSecurity security = v1::SMTP_SECURITY_STARTTLS;  // Not unspecified.
  std::string username;                                    // Empty: no AUTH.
  std::string password;
  std::string from;     // Addresses without brackets, checked: no control character,
  std::string to;       // space or bracket.
  std::string message;  // Lines that end in CR LF; dots need not be doubled.
  CallOptions options;
};

// What a mail server was asked when it gave its last reply.
enum class MailStage { kConnect, kAuth, kMail, kRcpt, kData, kMessage };

struct MailResult {
  CallEnd end = CallEnd::kNotSent;
  // Of the last reply; 0: none. A code of 400 and more is an answer, at whatever stage.
  int code = 0;
  std::string text;  // Of that reply, without its code; lines parted by spaces.
  MailStage stage = MailStage::kConnect;
  std::string error;  // If not answered: why.
  bool forbidden_address = false;
  absl::Duration latency;
};

class HttpLoop;
class MailLoop;

// Thread-safe. Connections are kept for the next call to the same host with the same
// settings; calls with and without forbid_private_addresses share none. TLS is 1.2 or
// newer, the peer always verified; no redirect is followed, no proxy used.
//
// `done` is called exactly once, on a thread of the transport (there are three: HTTP
// with and without forbidden addresses, and SMTP) or, when the call is refused at
// once, on the caller's; it must not block.
class CurlTransport {
 public:
  struct Options {
    // Calls of each thread that have begun and not ended; more are not sent.
    size_t max_calls = 4096;
  };

  explicit CurlTransport(const Options& options);
  CurlTransport() : CurlTransport(Options()) {}
  ~CurlTransport();

  void Send(HttpRequest request, std::function<void(HttpResult)> done);
  void Send(MailRequest request, std::function<void(MailResult)> done);

  // Ends all calls: what was not answered is kNotSent or kUnconfirmed, as far as it
  // got. Later ones are not sent. Returns when every `done` has returned, within a
  // few seconds. Idempotent; not from within `done`.
  void Stop();

 private:
  const std::unique_ptr<HttpLoop> public_http_;
  const std::unique_ptr<HttpLoop> any_http_;
  const std::unique_ptr<MailLoop> mail_;
};

}  // namespace carillon
