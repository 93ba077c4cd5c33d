// E-mail by SMTP.
#pragma once

#include "carillon/v1/provider.pb.h"
#include "workers/channels/http_provider.h"
#include "workers/channels/mime_message.h"
#include "workers/channels/provider.h"

namespace carillon {

// What a mail server's answer means depends on what it was asked: of the sender, of one
// recipient, of one mail.
SendResult ClassifySmtpAnswer(const MailResult& answer);

// Thread-safe.
class SmtpProvider final : public Provider {
 public:
  SmtpProvider(HttpProvider::Deps deps, const v1::SmtpSettings& settings);

  void Send(const ProviderMessage& message, absl::Duration timeout, std::function<void(SendResult)> done) override;
  bool reports_receipts() const override { return false; }

 private:
  const HttpProvider::Deps deps_;
  const v1::SmtpSettings settings_;
  const MailSender sender_;
};

}  // namespace carillon
