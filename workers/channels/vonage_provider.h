// SMS by Vonage's SMS API.
#pragma once

#include <string>

#include "carillon/v1/provider.pb.h"
#include "workers/channels/http_provider.h"

namespace carillon {

// The form of a message.
std::string VonageBody(const v1::VonageSettings& settings, const ProviderMessage& message, absl::Time now);

SendResult ClassifyVonageAnswer(const HttpResult& answer, absl::Time now);

class VonageProvider final : public HttpProvider {
 public:
  VonageProvider(Deps deps, const v1::VonageSettings& settings);
  bool reports_receipts() const override { return true; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  SendResult Classify(const HttpResult& answer, absl::Time now) override { return ClassifyVonageAnswer(answer, now); }

  const v1::VonageSettings settings_;
  const std::string url_;
};

}  // namespace carillon
