// Webhooks as Standard Webhooks 1.0.0 describes them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "workers/channels/http_provider.h"

namespace carillon {

// The key in "whsec_<base64>". INVALID_ARGUMENT unless it has 24 to 64 bytes.
absl::StatusOr<std::string> DecodeWebhookSecret(absl::string_view secret);

// The header webhook-signature: "v1,<base64>" per key, parted by spaces.
std::string SignWebhook(absl::Span<const std::string> keys, absl::string_view id, int64_t timestamp,
                        absl::string_view body);

// At most 20 000 bytes: a body that is too long is shortened. Empty if it is longer
// all the same.
std::string WebhookBody(const ProviderMessage& message);

SendResult ClassifyWebhookAnswer(const HttpResult& answer, absl::Time now);

class WebhookProvider final : public HttpProvider {
 public:
  WebhookProvider(Deps deps, std::string url, std::vector<std::string> keys)
      : HttpProvider(std::move(deps)), url_(std::move(url)), keys_(std::move(keys)) {}
  bool reports_receipts() const override { return false; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  SendResult Classify(const HttpResult& answer, absl::Time now) override { return ClassifyWebhookAnswer(answer, now); }

  const std::string url_;
  const std::vector<std::string> keys_;
};

}  // namespace carillon
