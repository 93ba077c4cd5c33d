// E-mail by SendGrid's v3 mail send.
#pragma once

#include <string>

#include "carillon/v1/provider.pb.h"
#include "workers/channels/http_provider.h"
#include "workers/channels/mime_message.h"

namespace carillon {

// The JSON of a mail whose headers were checked (CheckMailHeaders).
std::string SendGridBody(const MailSender& sender, const ProviderMessage& message);

SendResult ClassifySendGridAnswer(const HttpResult& answer, absl::Time now);

class SendGridProvider final : public HttpProvider {
 public:
  SendGridProvider(Deps deps, const v1::SendGridSettings& settings);
  bool reports_receipts() const override { return true; }

 private:
  Built Build(const ProviderMessage& message, absl::Time now) const override;
  SendResult Classify(const HttpResult& answer, absl::Time now) override { return ClassifySendGridAnswer(answer, now); }

  const MailSender sender_;
  const std::string url_;
  const std::string authorization_;
};

}  // namespace carillon
