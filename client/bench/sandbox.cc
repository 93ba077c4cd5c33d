#include "client/bench/sandbox.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/plain_http.h"

namespace carillon::bench {
namespace {

Json Parse(absl::string_view json) {
  return Json::parse(json.begin(), json.end(), /*cb=*/nullptr, /*allow_exceptions=*/false);
}

absl::Status NotSandbox() { return absl::InvalidArgumentError("not an answer of the sandbox's control port"); }

}  // namespace

Arrived ArrivedOf(int64_t deliveries, const SandboxCounts& before, const SandboxCounts& after) {
  const int64_t messages = after.messages - before.messages;
  const int64_t distinct = after.distinct - before.distinct;
  return {.missing = std::max<int64_t>(deliveries - distinct, 0),
          .doubled = std::max<int64_t>(messages - std::min(distinct, deliveries), 0)};
}

std::vector<std::string> SandboxProvidersOf(v1::Channel channel) {
  if (channel == v1::CHANNEL_EMAIL) return {"smtp", "sendgrid"};
  if (channel == v1::CHANNEL_SMS) return {"twilio", "vonage"};
  if (channel == v1::CHANNEL_APNS) return {"apns"};
  if (channel == v1::CHANNEL_FCM) return {"fcm"};
  return {"webhook"};
}

absl::StatusOr<SandboxCounts> ParseSandboxCounts(absl::string_view json, absl::Span<const std::string> providers) {
  const Json counts = Parse(json);
  if (!counts.is_object()) return NotSandbox();
  SandboxCounts sum;
  for (const std::string& provider : providers) {
    const auto found = counts.find(provider);
    if (found == counts.end() || !found->is_object()) return NotSandbox();
    sum.messages += found->value("messages", int64_t{0});
    sum.distinct += found->value("distinct", int64_t{0});
  }
  return sum;
}

absl::StatusOr<int64_t> CountConnections(absl::string_view json) {
  const Json answer = Parse(json);
  if (!answer.is_object() || !answer.contains("messages") || !answer["messages"].is_array()) return NotSandbox();
  std::set<int64_t> connections;
  for (const Json& message : answer["messages"]) connections.insert(message.value("connection", int64_t{0}));
  return static_cast<int64_t>(connections.size());
}

absl::StatusOr<SandboxCounts> Sandbox::Counts(v1::Channel channel) const {
  ASSIGN_OR_RETURN(const std::string answer, AskOverHttp("GET", absl::StrCat(url_, "/messages/count")));
  return ParseSandboxCounts(answer, SandboxProvidersOf(channel));
}

absl::StatusOr<int64_t> Sandbox::Connections(v1::Channel channel, int messages) const {
  int64_t connections = 0;
  for (const std::string& provider : SandboxProvidersOf(channel)) {
    const std::string url = absl::StrCat(url_, "/messages?provider=", provider, "&limit=", messages);
    ASSIGN_OR_RETURN(const std::string answer, AskOverHttp("GET", url));
    ASSIGN_OR_RETURN(const int64_t of_provider, CountConnections(answer));
    connections += of_provider;
  }
  return connections;
}

absl::Status Sandbox::AddRule(const std::string& provider, const Json& rule) const {
  return AskOverHttp("POST", absl::StrCat(url_, "/scripts/", provider), rule.dump()).status();
}

absl::Status Sandbox::ClearRules(const std::string& provider) const {
  return AskOverHttp("DELETE", absl::StrCat(url_, "/scripts/", provider)).status();
}

std::string SandboxUrl() {
  const char* url = std::getenv("CARILLON_SANDBOX_URL");
  return url == nullptr ? "" : url;
}

}  // namespace carillon::bench
