// The providers' stand-in of a local system, through its control port: what reached
// it, and how it is to fail.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "carillon/v1/notification.pb.h"
#include "client/bench/figures.h"

namespace carillon::bench {

// What providers have received since they were last reset.
struct SandboxCounts {
  int64_t messages = 0;
  int64_t distinct = 0;  // Without repeats.
};

// What was received of a number of deliveries that should have arrived once each.
struct Arrived {
  int64_t missing = 0;
  int64_t doubled = 0;
};
Arrived ArrivedOf(int64_t deliveries, const SandboxCounts& before, const SandboxCounts& after);

// The sandbox's names for those who serve a channel, as a local system sets them.
std::vector<std::string> SandboxProvidersOf(v1::Channel channel);

// From the answers of the control port. INVALID_ARGUMENT for what is none.
absl::StatusOr<SandboxCounts> ParseSandboxCounts(absl::string_view json, absl::Span<const std::string> providers);
// How many connections these messages came on.
absl::StatusOr<int64_t> CountConnections(absl::string_view json);

// Thread-safe. Everything blocks, for a few seconds at most.
class Sandbox {
 public:
  // `url`: of the control port.
  explicit Sandbox(std::string url) : url_(std::move(url)) {}

  absl::StatusOr<SandboxCounts> Counts(v1::Channel channel) const;
  // That the newest messages of the channel's providers came on, so many of each.
  absl::StatusOr<int64_t> Connections(v1::Channel channel, int messages) const;

  // Of one provider: a rule behind those that are there, or no rules any more.
  absl::Status AddRule(const std::string& provider, const Json& rule) const;
  absl::Status ClearRules(const std::string& provider) const;

 private:
  const std::string url_;
};

// CARILLON_SANDBOX_URL; empty if the system has none.
std::string SandboxUrl();

}  // namespace carillon::bench
