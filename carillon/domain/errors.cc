#include "carillon/domain/errors.h"

#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/limits.h"

namespace carillon {
namespace {

constexpr absl::string_view kPayloadUrl = "carillon/error-details";
// Separators that no field holds: control characters are refused at the door.
constexpr char kRecord = '\x1e';
constexpr char kUnit = '\x1f';

std::string Encode(const ErrorDetails& details) {
  std::string text = absl::StrCat("r", std::string(1, kUnit), details.reason);
  for (const auto& [key, value] : details.metadata) {
    absl::StrAppend(&text, std::string(1, kRecord), "m", std::string(1, kUnit), key, std::string(1, kUnit), value);
  }
  for (const FieldViolation& violation : details.violations) {
    absl::StrAppend(&text, std::string(1, kRecord), "v", std::string(1, kUnit), violation.field, std::string(1, kUnit),
                    violation.description);
  }
  if (details.retry_delay.has_value()) {
    absl::StrAppend(&text, std::string(1, kRecord), "d", std::string(1, kUnit),
                    absl::ToInt64Microseconds(*details.retry_delay));
  }
  return text;
}

ErrorDetails Decode(absl::string_view text) {
  ErrorDetails details;
  for (absl::string_view record : absl::StrSplit(text, kRecord)) {
    const std::vector<std::string> units = absl::StrSplit(record, kUnit);
    if (units.size() < 2) continue;
    int64_t microseconds = 0;
    if (units[0] == "r") details.reason = units[1];
    if (units[0] == "m" && units.size() == 3) details.metadata[units[1]] = units[2];
    if (units[0] == "v" && units.size() == 3) details.violations.push_back({units[1], units[2]});
    if (units[0] == "d" && absl::SimpleAtoi(units[1], &microseconds)) {
      details.retry_delay = absl::Microseconds(microseconds);
    }
  }
  return details;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, absl::string_view message, const ErrorDetails& details) {
  absl::Status status(code, message);
  status.SetPayload(kPayloadUrl, absl::Cord(Encode(details)));
  return status;
}

ErrorDetails DetailsOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  return payload.has_value() ? Decode(std::string(*payload)) : ErrorDetails{};
}

bool IsInfrastructureFailure(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) || absl::IsResourceExhausted(status) ||
         absl::IsAborted(status) || absl::IsCancelled(status);
}

namespace error {

absl::Status InvalidFields(std::vector<FieldViolation> violations) {
  if (violations.size() > limits::kMaxReportedViolations) violations.resize(limits::kMaxReportedViolations);
  const std::string text = absl::StrJoin(violations, "; ", [](std::string* out, const FieldViolation& violation) {
    absl::StrAppend(out, violation.field, ": ", violation.description);
  });
  return MakeError(absl::StatusCode::kInvalidArgument, text,
                   {.reason = "INVALID_FIELD", .metadata = {}, .violations = std::move(violations), .retry_delay = {}});
}

absl::Status InvalidField(absl::string_view field, absl::string_view description) {
  return InvalidFields({{std::string(field), std::string(description)}});
}

absl::Status InvalidCredentials() {
  return MakeError(absl::StatusCode::kUnauthenticated, "x-app-key or x-app-secret is missing or not valid",
                   {.reason = "INVALID_CREDENTIALS"});
}

absl::Status TwoCredentials() {
  return MakeError(absl::StatusCode::kUnauthenticated,
                   "give either x-app-key and x-app-secret or a user token, not both",
                   {.reason = "INVALID_CREDENTIALS"});
}

absl::Status InvalidToken() {
  return MakeError(absl::StatusCode::kUnauthenticated, "the user token is not valid", {.reason = "INVALID_TOKEN"});
}

absl::Status TokenExpired() {
  return MakeError(absl::StatusCode::kUnauthenticated, "the user token has expired; get another one",
                   {.reason = "TOKEN_EXPIRED"});
}

absl::Status NotYours() {
  return MakeError(absl::StatusCode::kPermissionDenied,
                   "a user token reaches its own user's feed, settings, devices and interactions only",
                   {.reason = "NOT_YOURS"});
}

absl::Status MissingScope(absl::string_view scope) {
  return MakeError(absl::StatusCode::kPermissionDenied, absl::StrCat("this app lacks the scope ", scope),
                   {.reason = "MISSING_SCOPE", .metadata = {{"scope", std::string(scope)}}});
}

absl::Status UnknownType(absl::string_view field, absl::string_view type) {
  return MakeError(absl::StatusCode::kInvalidArgument, absl::StrCat(field, ": no type \"", type, "\" in the catalogue"),
                   {.reason = "UNKNOWN_TYPE",
                    .metadata = {{"type", std::string(type)}},
                    .violations = {{std::string(field), "must be the name of a type of the catalogue"}}});
}

absl::Status NotFound(absl::string_view what, absl::string_view id) {
  return MakeError(absl::StatusCode::kNotFound, absl::StrCat("no ", what, " ", id),
                   {.reason = "NOT_FOUND", .metadata = {{"resource", std::string(what)}, {"id", std::string(id)}}});
}

absl::Status AlreadyExists(absl::string_view what, absl::string_view name) {
  return MakeError(
      absl::StatusCode::kAlreadyExists, absl::StrCat("a ", what, " named ", name, " exists already"),
      {.reason = "ALREADY_EXISTS", .metadata = {{"resource", std::string(what)}, {"name", std::string(name)}}});
}

absl::Status IdempotencyKeyReused(absl::string_view key) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("idempotency_key ", key, " was used within 24 h for another payload"),
                   {.reason = "IDEMPOTENCY_KEY_REUSED", .metadata = {{"idempotency_key", std::string(key)}}});
}

absl::Status EventHasEnded(absl::string_view id, absl::string_view state) {
  return MakeError(absl::StatusCode::kFailedPrecondition, absl::StrCat("event ", id, " has ended: it is ", state),
                   {.reason = "EVENT_HAS_ENDED", .metadata = {{"state", std::string(state)}}});
}

absl::Status CannotCancel(absl::string_view id, absl::string_view state, absl::string_view why) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("notification ", id, " can't be cancelled any more: ", why),
                   {.reason = "CANNOT_CANCEL", .metadata = {{"state", std::string(state)}}});
}

absl::Status Overloaded(absl::string_view what, absl::Duration retry_delay) {
  return MakeError(absl::StatusCode::kResourceExhausted, absl::StrCat(what, " is full; try again"),
                   {.reason = "OVERLOADED",
                    .metadata = {{"what", std::string(what)}},
                    .violations = {},
                    .retry_delay = retry_delay});
}

absl::Status LaneOverloaded(absl::string_view lane, absl::Duration retry_delay) {
  return MakeError(absl::StatusCode::kResourceExhausted,
                   absl::StrCat("too much waits to be published: lane ", lane, " takes no more for now; try again"),
                   {.reason = "OVERLOADED",
                    .metadata = {{"what", "the outbox"}, {"lane", std::string(lane)}},
                    .violations = {},
                    .retry_delay = retry_delay});
}

absl::Status CannotGoOn(absl::string_view id, absl::string_view state) {
  return MakeError(absl::StatusCode::kFailedPrecondition,
                   absl::StrCat("replay ", id, " can't be gone on with: it is ", state),
                   {.reason = "REPLAY_STATE",
                    .metadata = {{"replay_id", std::string(id)}, {"state", std::string(state)}},
                    .violations = {},
                    .retry_delay = {}});
}

absl::Status RateLimited(absl::string_view who, absl::Duration retry_delay) {
  const bool never = retry_delay == absl::InfiniteDuration();
  return MakeError(absl::StatusCode::kResourceExhausted,
                   never ? absl::StrCat("so many at once are more than this ", who, " may send")
                         : absl::StrCat("this ", who, " sends more than it may; try again"),
                   {.reason = "RATE_LIMITED",
                    .metadata = {{"limit", std::string(who)}},
                    .violations = {},
                    .retry_delay = never ? std::nullopt : std::optional<absl::Duration>(retry_delay)});
}

absl::Status SenderTripped(absl::string_view sender_id) {
  return MakeError(absl::StatusCode::kPermissionDenied,
                   "this sender has sent an absurd volume and is shut out until an operator lifts it",
                   {.reason = "SENDER_TRIPPED", .metadata = {{"sender_id", std::string(sender_id)}}});
}

absl::Status NotASandbox() {
  return MakeError(absl::StatusCode::kFailedPrecondition, "this app is not a sandbox: its time can't be moved",
                   {.reason = "NOT_A_SANDBOX"});
}

absl::Status ReplayState(absl::string_view id, absl::string_view state, absl::string_view why) {
  return MakeError(
      absl::StatusCode::kFailedPrecondition, absl::StrCat("replay ", id, " is ", state, ": ", why),
      {.reason = "REPLAY_STATE", .metadata = {{"replay_id", std::string(id)}, {"state", std::string(state)}}});
}

absl::Status TooManyStreams(absl::string_view what, absl::Duration retry_delay) {
  return MakeError(absl::StatusCode::kResourceExhausted, absl::StrCat("too many open streams of this ", what),
                   {.reason = "TOO_MANY_STREAMS",
                    .metadata = {{"what", std::string(what)}},
                    .violations = {},
                    .retry_delay = retry_delay});
}

absl::Status BackendUnavailable(absl::string_view backend, absl::string_view why) {
  return MakeError(absl::StatusCode::kUnavailable, absl::StrCat(backend, ": ", why),
                   {.reason = "BACKEND_UNAVAILABLE",
                    .metadata = {{"backend", std::string(backend)}},
                    .violations = {},
                    .retry_delay = absl::Seconds(1)});
}

absl::Status DeadlineExceeded() {
  return MakeError(absl::StatusCode::kDeadlineExceeded, "the deadline passed before the work began; nothing was done",
                   {.reason = "DEADLINE_EXCEEDED"});
}

absl::Status EraseUnfinished() {
  return MakeError(absl::StatusCode::kDeadlineExceeded,
                   "the deadline passed before all was erased; the same call again goes on from there",
                   {.reason = "DEADLINE_EXCEEDED"});
}

absl::Status Draining() {
  return MakeError(absl::StatusCode::kUnavailable, "this server is shutting down; another one takes the call",
                   {.reason = "DRAINING", .metadata = {}, .violations = {}, .retry_delay = absl::Milliseconds(200)});
}

absl::Status Internal(absl::string_view what) {
  return MakeError(absl::StatusCode::kInternal, what, {.reason = "INTERNAL"});
}

}  // namespace error
}  // namespace carillon
