// Push to Apple devices: APNs over HTTP/2 with provider tokens.
#pragma once

#include <string>

#include "carillon/ports/token_store.h"
#include "carillon/runtime/executor.h"
#include "carillon/v1/provider.pb.h"
#include "workers/channels/http_provider.h"
#include "workers/channels/recent_refusals.h"

namespace carillon {

// At most 4096 bytes: the body is shortened first, then the image is left out. Empty if
// it is longer all the same.
std::string ApnsPayload(const ProviderMessage& message);

// Of one answer; see ApnsProvider for what many of them mean. `now`: a device whose
// time of death APNs does not tell is dead since then.
SendResult ClassifyApnsAnswer(const HttpResult& answer, absl::Time now);

// A token of the team is good for 50 minutes, shared by all workers and never replaced
// within 20.
//
// Single devices whose tokens are refused (BadDeviceToken) are given up. When most are,
// it is the configuration (sandbox or not, topic) and no device's fault: kBadSender.
class ApnsProvider final : public HttpProvider {
 public:
  ApnsProvider(Deps deps, AppId app, TokenStore* store, Executor* executor, const v1::ApnsSettings& settings);
  bool reports_receipts() const override { return false; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  SendResult Classify(const HttpResult& answer, absl::Time now) override;
  bool RefusesToken(const HttpResult& answer) const override;
  // By its collapse id.
  bool may_repeat() const override { return true; }
  absl::string_view token_scheme() const override { return "bearer"; }

  const std::string url_;  // Of devices, up to the token.
  const std::string topic_;
  RecentRefusals refusals_;
};

}  // namespace carillon
