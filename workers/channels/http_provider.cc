#include "workers/channels/http_provider.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/trace_context.h"
#include "workers/channels/curl_handles.h"
#include "workers/channels/send_results.h"

namespace carillon {
namespace {

// Why there is no token.
SendResult ResultWithoutToken(const absl::Status& status) {
  const bool misconfigured = absl::IsInvalidArgument(status) || absl::IsPermissionDenied(status);
  return MakeResult(misconfigured ? AttemptOutcome::kBadSender : AttemptOutcome::kRetryable, "no_token",
                    status.message());
}

}  // namespace

struct HttpProvider::Call {
  HttpRequest request;
  std::string address;
  absl::Duration timeout;
  std::function<void(SendResult)> done;
  Stopwatch watch;
  SharedToken token;
  bool may_repeat = false;
  bool repeated = false;  // After one that may have arrived.
  bool retried = false;
};

void HttpProvider::Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) {
  auto call = std::make_shared<Call>();
  call->address = message.address;
  call->timeout = timeout;
  call->done = std::move(done);
  call->may_repeat = may_repeat() && !message.at_most_once;
  Built built = Build(message, deps_.clock->Now());
  if (SendResult* refusal = std::get_if<SendResult>(&built); refusal != nullptr) {
    Finish(*call, std::move(*refusal));
    return;
  }
  call->request = WithOptions(std::get<HttpRequest>(std::move(built)));
  std::string trace = NextTraceparent(message.traceparent);
  if (!trace.empty()) call->request.headers.emplace_back("traceparent", std::move(trace));
  std::optional<HttpRequest> lookup;
  if (message.may_have_been_sent) lookup = BuildLookup(message);
  if (lookup.has_value()) {
    LookUp(std::move(call), WithOptions(*std::move(lookup)), message);
  } else {
    Begin(std::move(call));
  }
}

HttpRequest HttpProvider::WithOptions(HttpRequest request) const {
  request.options.ca_pem = deps_.ca_pem;
  request.options.forbid_private_addresses = deps_.forbid_private_addresses;
  return request;
}

// A provider that can't be asked now is not sent to either: it may have it. What it
// refuses for good it would refuse for ever; then the message goes.
void HttpProvider::LookUp(std::shared_ptr<Call> call, HttpRequest lookup, const ProviderMessage& message) {
  lookup.options.timeout = call->timeout;
  deps_.transport->Send(std::move(lookup), [this, call, message](HttpResult answer) {
    if (answer.end != CallEnd::kAnswered) {
      return Finish(*call, ResultOfUnanswered(CallEnd::kNotSent, answer.forbidden_address, answer.error));
    }
    if (answer.status == 429 || answer.status == 408 || answer.status / 100 == 5) {
      SendResult later = MakeResult(AttemptOutcome::kRetryable, absl::StrCat(answer.status),
                                    "it did not say whether it had the message");
      later.retry_after = RetryAfter(answer, deps_.clock->Now());
      return Finish(*call, std::move(later));
    }
    std::optional<SendResult> found;
    if (answer.status == 200) found = FindSent(answer, message);
    if (found.has_value()) return Finish(*call, *std::move(found));
    Begin(call);
  });
}

void HttpProvider::Begin(std::shared_ptr<Call> call) {
  if (tokens_ == nullptr) {
    SendRequest(std::move(call), nullptr);
  } else {
    SendWithToken(std::move(call));
  }
}

void HttpProvider::SendWithToken(std::shared_ptr<Call> call) {
  tokens_->Get([this, call](absl::StatusOr<SharedToken> token) {
    if (token.ok()) {
      SendRequest(call, &*token);
    } else {
      Finish(*call, ResultWithoutToken(token.status()));
    }
  });
}

void HttpProvider::SendRequest(std::shared_ptr<Call> call, const SharedToken* token) {
  HttpRequest request = call->request;
  if (token != nullptr) {
    call->token = *token;
    request.headers.emplace_back("authorization", absl::StrCat(token_scheme(), " ", token->token));
  }
  request.options.timeout = call->timeout - call->watch.elapsed();
  deps_.transport->Send(std::move(request), [this, call](HttpResult answer) { TakeAnswer(call, answer); });
}

void HttpProvider::TakeAnswer(std::shared_ptr<Call> call, const HttpResult& answer) {
  if (answer.end != CallEnd::kAnswered) {
    const bool in_time = call->watch.elapsed() < call->timeout / 2;
    if (answer.end == CallEnd::kUnconfirmed && call->may_repeat && in_time && !std::exchange(call->repeated, true)) {
      Begin(std::move(call));
      return;
    }
    // What a repeat did not do, the call before it may have done.
    const CallEnd end = call->repeated ? CallEnd::kUnconfirmed : answer.end;
    Finish(*call, ResultOfUnanswered(end, answer.forbidden_address, answer.error));
    return;
  }
  if (tokens_ != nullptr && RefusesToken(answer)) {
    tokens_->Refuse(call->token);
    if (!std::exchange(call->retried, true)) {
      SendWithToken(std::move(call));
      return;
    }
  }
  Finish(*call, Classify(answer, deps_.clock->Now()));
}

void HttpProvider::Finish(Call& call, SendResult result) {
  result.error = WithoutAddress(result.error, call.address);
  result.latency = call.watch.elapsed();
  call.done(std::move(result));
}

}  // namespace carillon
