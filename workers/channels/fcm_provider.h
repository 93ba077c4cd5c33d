// Push to Android devices, and whatever else FCM reaches: its HTTP v1 API.
#pragma once

#include <string>

#include "workers/channels/fcm_account.h"
#include "workers/channels/http_provider.h"
#include "workers/channels/recent_refusals.h"

namespace carillon {

// At most 4096 bytes: the body is shortened first, then the image is left out. Empty if
// it is longer all the same.
std::string FcmBody(const ProviderMessage& message, absl::Time now);

SendResult ClassifyFcmAnswer(const HttpResult& answer, absl::Time now);

class FcmProvider final : public HttpProvider {
 public:
  // `endpoint`: empty for Google's. `token_deps` is how tokens are asked for.
  FcmProvider(Deps deps, const Deps& token_deps, AppId app, TokenStore* store, Executor* executor,
              const FcmAccount& account, absl::string_view endpoint);
  bool reports_receipts() const override { return false; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  SendResult Classify(const HttpResult& answer, absl::Time now) override;
  bool RefusesToken(const HttpResult& answer) const override;

  const std::string url_;
  RecentRefusals refusals_;
};

}  // namespace carillon
