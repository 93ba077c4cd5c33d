// Makes of a delivery what its provider is given: the words in the recipient's
// language, links that lead back to us, and what the protocols want to know.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "carillon/channels/directory.h"
#include "carillon/channels/link_tokens.h"
#include "carillon/ports/delivery_store.h"
#include "carillon/runtime/catalogue.h"
#include "workers/channels/provider.h"

namespace carillon {

// Thread-safe.
class MessageBuilder {
 public:
  struct Deps {
    Catalogue& catalogue;
    const ChannelDirectory& directory;
    const LinkTokens& links;
  };

  explicit MessageBuilder(const Deps& deps) : deps_(deps) {}

  // The type of a delivery. NOT_FOUND if it is not in the catalogue (any more).
  absl::StatusOr<std::shared_ptr<const NotificationType>> TypeOf(const Delivery& delivery);

  // How far the clock of the delivery's app is ahead of ours.
  absl::Duration ClockOffsetOf(const Delivery& delivery) const;

  // The times of the message are by our clock. INVALID_ARGUMENT if what the template renders to can't be sent. Without
  // a receipt_url.
  absl::StatusOr<ProviderMessage> Build(const Delivery& delivery, const NotificationType& type,
                                        const ClaimResult& claim) const;

  // Where a provider of these settings may report; empty: it does not, or nowhere.
  std::string ReceiptUrl(const Delivery& delivery, const v1::Provider& settings) const;

 private:
  const Deps deps_;
};

}  // namespace carillon
