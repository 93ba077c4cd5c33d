// What the adapters over HTTP have in common.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "carillon/ports/clock.h"
#include "workers/channels/provider.h"
#include "workers/channels/token_source.h"
#include "workers/channels/transport.h"

namespace carillon {

// Builds the request, sends it, classifies the answer; with tokens: adds one, and
// tries once more with another if it is refused. A message that may have been sent
// before is looked for first, where that can be done. Thread-safe.
class HttpProvider : public Provider {
 public:
  struct Deps {
    const Clock* clock = nullptr;
    CurlTransport* transport = nullptr;
    std::string ca_pem;  // See CallOptions.
    bool forbid_private_addresses = true;
  };

  void Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) final;

 protected:
  // A message that can't be sent has its result without a call.
  using Built = std::variant<HttpRequest, SendResult>;

  // `tokens`: null if the provider needs none.
  explicit HttpProvider(Deps deps, std::unique_ptr<TokenSource> tokens = nullptr)
      : deps_(std::move(deps)), tokens_(std::move(tokens)) {}

  // Options, token and traceparent are added later.
  virtual Built Build(const ProviderMessage& message, absl::Time now) const = 0;
  // How the provider is asked whether it has a message that may have been sent before;
  // nullopt: it can't be.
  virtual std::optional<HttpRequest> BuildLookup(const ProviderMessage&) const { return std::nullopt; }
  // What it had, by its answer to that; nullopt: nothing.
  virtual std::optional<SendResult> FindSent(const HttpResult&, const ProviderMessage&) const { return std::nullopt; }
  // Of an answer.
  virtual SendResult Classify(const HttpResult& answer, absl::Time now) = 0;
  // With tokens: the answer says that this one is not good any more.
  virtual bool RefusesToken(const HttpResult&) const { return false; }
  virtual absl::string_view token_scheme() const { return "Bearer"; }
  // A message that comes twice replaces itself: a call whose connection was lost is
  // made once more at once.
  virtual bool may_repeat() const { return false; }

 private:
  struct Call;

  HttpRequest WithOptions(HttpRequest request) const;
  void LookUp(std::shared_ptr<Call> call, HttpRequest lookup, const ProviderMessage& message);
  void Begin(std::shared_ptr<Call> call);
  void SendWithToken(std::shared_ptr<Call> call);
  void SendRequest(std::shared_ptr<Call> call, const SharedToken* token);
  void TakeAnswer(std::shared_ptr<Call> call, const HttpResult& answer);
  static void Finish(Call& call, SendResult result);

  const Deps deps_;
  const std::unique_ptr<TokenSource> tokens_;
};

}  // namespace carillon
