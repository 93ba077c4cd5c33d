// The catalogue of errors. Call sites say what happened; code, message and the
// machine-readable details are set together here, so none can be forgotten.
// The reasons are those of carillon.v1.ErrorReason.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace carillon {

struct FieldViolation {
  std::string field;        // requests[3].user_id
  std::string description;  // What is allowed.
};

// What rides with a status, for programs. Empty reason: none is attached.
struct ErrorDetails {
  std::string reason;
  std::map<std::string, std::string> metadata;
  std::vector<FieldViolation> violations;
  std::optional<absl::Duration> retry_delay;
};

absl::Status MakeError(absl::StatusCode code, absl::string_view message, const ErrorDetails& details);
ErrorDetails DetailsOf(const absl::Status& status);

namespace error {

// At least one violation; the message lists them all.
absl::Status InvalidFields(std::vector<FieldViolation> violations);
absl::Status InvalidField(absl::string_view field, absl::string_view description);
absl::Status InvalidCredentials();
// UNAUTHENTICATED: both an app's credentials and a user token came.
absl::Status TwoCredentials();
// UNAUTHENTICATED: one answer for all that may be wrong with a user token, but its age.
absl::Status InvalidToken();
absl::Status TokenExpired();
// PERMISSION_DENIED: a user token does not reach it.
absl::Status NotYours();
absl::Status MissingScope(absl::string_view scope);
absl::Status UnknownType(absl::string_view field, absl::string_view type);
absl::Status NotFound(absl::string_view what, absl::string_view id);
absl::Status AlreadyExists(absl::string_view what, absl::string_view name);
absl::Status IdempotencyKeyReused(absl::string_view key);
// FAILED_PRECONDITION.
absl::Status EventHasEnded(absl::string_view id, absl::string_view state);
// FAILED_PRECONDITION; `why` in words.
absl::Status CannotCancel(absl::string_view id, absl::string_view state, absl::string_view why);
absl::Status Overloaded(absl::string_view what, absl::Duration retry_delay);
// The same of a lane that is refused at the door, so much waits already.
absl::Status LaneOverloaded(absl::string_view lane, absl::Duration retry_delay);
// FAILED_PRECONDITION: it is under way, or has come to its end.
absl::Status CannotGoOn(absl::string_view id, absl::string_view state);
// The app or one of its senders (`who`) sends too much. RESOURCE_EXHAUSTED; infinite: a
// call of so many is more than it may ever send at once, and no repeat helps.
absl::Status RateLimited(absl::string_view who, absl::Duration retry_delay);
// PERMISSION_DENIED until somebody lifts it.
absl::Status SenderTripped(absl::string_view sender_id);
// FAILED_PRECONDITION.
absl::Status NotASandbox();
// FAILED_PRECONDITION; `state` is that of the replay, in lower case, `why` in words.
absl::Status ReplayState(absl::string_view id, absl::string_view state, absl::string_view why);
absl::Status TooManyStreams(absl::string_view what, absl::Duration retry_delay);
// A backend (PostgreSQL, RabbitMQ, Redis) could not serve. The callee has done
// nothing, or what it did is undone or safe to repeat.
absl::Status BackendUnavailable(absl::string_view backend, absl::string_view why);
absl::Status DeadlineExceeded();
// DEADLINE_EXCEEDED as well, but some of it is done.
absl::Status EraseUnfinished();
absl::Status Draining();
// A fault of ours. The text is for the log, never for callers.
absl::Status Internal(absl::string_view what);

}  // namespace error

// True for what passes by itself: a worker that sees it waits and counts no attempt.
bool IsInfrastructureFailure(const absl::Status& status);

}  // namespace carillon
