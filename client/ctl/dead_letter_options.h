// What the dlq commands have in common: which letters, who does it and why, and the question
// before what must not be done by a slip of the hand.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/carillon/client.h"

namespace carillon::ctl {

struct DeadLetterFilterOptions {
  std::string queue, lane, type, error, kind, provider, app;
  std::vector<std::string> ids;
  std::optional<absl::Duration> older_than, newer_than;
  bool no_provider = false, all_apps = false;
};

// Who does it, and why.
struct WhoOptions {
  std::string operator_name;
  std::string reason;
};

// The options must outlive the command.
void AddFilter(CLI::App& command, DeadLetterFilterOptions& filter);
void AddWho(CLI::App& command, WhoOptions& who, const char* why);

v1::DeadLetterFilter ToProto(const DeadLetterFilterOptions& options);
// Who was named, else user@host.
std::string OperatorOf(const WhoOptions& who);

// INVALID_ARGUMENT if it is not said why: before anything is asked, or done.
absl::Status CheckReason(const WhoOptions& options);

// Asks before anything with payment and otp, and before all that an app or all apps have.
// OK: it may be done. FAILED_PRECONDITION where nobody can answer.
absl::Status Confirm(Client& client, const v1::DeadLetterFilter& filter, const char* what);

}  // namespace carillon::ctl
