// What the tests of the providers' adapters share.
#pragma once

#include <string>
#include <utility>

#include "workers/channels/provider.h"
#include "workers/channels/transport.h"

namespace carillon::testing {

// To nobody yet.
inline ProviderMessage MakeMessage() {
  ProviderMessage message;
  message.delivery_id = *Uuid::Parse("0190163d-8694-739b-aea5-966c26f8ad90");
  message.notification_id = *Uuid::Parse("0190163d-8694-739b-aea5-966c26f8ad91");
  message.app = AppId(7);
  message.type = "payment.receipt";
  message.recipient_id = "ann";
  message.actor_id = "bob";
  message.object_id = "order-9";
  message.data_json = R"({"amount":"12.50"})";
  message.content.set_subject("Your receipt");
  message.content.set_text("Thank you.");
  message.content.set_title("Receipt");
  message.content.set_body("You paid 12.50");
  message.content.set_action_link("https://shop.example/orders/9");
  message.create_time = absl::FromUnixMillis(1'700'000'000'123);
  return message;
}

inline HttpResult Answer(int status, std::string body = "", HttpHeaders headers = {}) {
  HttpResult result;
  result.end = CallEnd::kAnswered;
  result.status = status;
  result.body = std::move(body);
  result.headers = std::move(headers);
  return result;
}

}  // namespace carillon::testing
