// SMS by Twilio's Messages resource, or what is compatible with it. It takes no id of
// ours: before a second attempt the messages to that number are listed.
#pragma once

#include <string>

#include "carillon/v1/provider.pb.h"
#include "workers/channels/http_provider.h"

namespace carillon {

// The form of a message.
std::string TwilioBody(const v1::TwilioSettings& settings, const ProviderMessage& message, absl::Time now);

// Of a list of messages to that number: the one that is this message already.
std::optional<SendResult> FindInTwilioList(const HttpResult& answer, const ProviderMessage& message);

SendResult ClassifyTwilioAnswer(const HttpResult& answer, absl::Time now);

class TwilioProvider final : public HttpProvider {
 public:
  TwilioProvider(Deps deps, const v1::TwilioSettings& settings);
  bool reports_receipts() const override { return true; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  std::optional<HttpRequest> BuildLookup(const ProviderMessage& message) const override;
  std::optional<SendResult> FindSent(const HttpResult& answer, const ProviderMessage& message) const override {
    return FindInTwilioList(answer, message);
  }
  SendResult Classify(const HttpResult& answer, absl::Time now) override { return ClassifyTwilioAnswer(answer, now); }

  const v1::TwilioSettings settings_;
  const std::string url_;
  const std::string authorization_;
};

}  // namespace carillon
