// How a client reaches Carillon and how patient it is.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/time/time.h"

namespace carillon {

struct RetryOptions {
  // Attempts of one call, the first included.
  int max_attempts = 6;
  // The delay before attempt n + 1 is drawn evenly from (0, min(max, initial * 2^(n-1))].
  absl::Duration initial_backoff = absl::Milliseconds(100);
  absl::Duration max_backoff = absl::Seconds(5);
  // All attempts and the waits between them.
  absl::Duration total_time = absl::Seconds(30);
  // What is worth repeating. RESOURCE_EXHAUSTED is too, wherever the server says
  // when to come back.
  absl::flat_hash_set<absl::StatusCode> codes = {absl::StatusCode::kUnavailable};
};

struct TlsOptions {
  // PEM. Empty: the roots that gRPC comes with.
  std::string root_certificates;
  // PEM, for servers that ask for a certificate. Both or none.
  std::string client_certificate;
  std::string client_key;
};

struct ClientOptions {
  // host:port, or any gRPC target such as dns:///carillon.example.org:443.
  std::string address;
  std::string app_key;
  std::string app_secret;
  // Instead of the app's credentials: a token of IssueUserToken, for one end user. Asked
  // for each attempt, so that a new one can take an old one's place; must not block and
  // may be called on any thread. A subscription whose token has ended goes on if there
  // is another by then.
  std::function<std::string()> user_token;
  // Of one attempt.
  absl::Duration deadline = absl::Seconds(10);
  RetryOptions retry;
  // Absent: plain text, for loopback and trusted networks.
  std::optional<TlsOptions> tls;
  // Called for each failed attempt that will be repeated, on a thread of the
  // library; must not block. May be empty.
  std::function<void(const absl::Status& status, absl::Duration delay)> on_retry;
};

}  // namespace carillon
