// Signed links that lead back to us from a message: the pixel, tracked links,
// unsubscribing, and where providers report. A token says which delivery it is of;
// nothing is stored for it.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "carillon/domain/ids.h"
#include "carillon/domain/lane.h"
#include "carillon/runtime/master_key.h"

namespace carillon {

enum class LinkKind { kOpen, kClick, kUnsubscribe, kReceipt };

// What a link is of.
struct LinkTarget {
  AppId app;
  NotificationId notification;
  Uuid delivery;
  Channel channel = Channel::kEmail;
  int retention_days = 0;

  friend bool operator==(const LinkTarget&, const LinkTarget&) = default;
};

// Makes and checks them. Immutable; thread-safe. A token is URL-safe base64 of what
// it says and 16 bytes of its signature, and good for its own kind only. They don't
// expire. What they point to does, but for unsubscribing they say all that it takes.
class LinkTokens {
 public:
  // `public_url` is where our HTTP port is reached from outside; empty: no links are made.
  LinkTokens(MasterKey key, std::string public_url);

  // Empty, or http(s)://host and perhaps a path, without query or fragment.
  static bool IsPublicUrl(absl::string_view url);

  bool enabled() const { return !public_url_.empty(); }

  // Empty if no links are made.
  std::string PixelUrl(const LinkTarget& target) const;
  // Leads to `url`, which is part of what is signed: it can't be made to lead
  // elsewhere. `url` itself if no links are made, or if it is not http or https or
  // longer than 2000 bytes.
  std::string ClickUrl(const LinkTarget& target, absl::string_view url) const;
  // From this type, for this address: the link holds the hash of it. Empty if no links
  // are made.
  std::string UnsubscribeUrl(const LinkTarget& target, absl::string_view type, absl::string_view address) const;
  // For providers of this kind (twilio, ...). Empty if no links are made.
  std::string ReceiptUrl(absl::string_view provider_kind, const LinkTarget& target) const;
  // What ReceiptUrl ends in; made in any case.
  std::string ReceiptToken(const LinkTarget& target) const;

  struct Verified {
    LinkTarget target;
    std::string url;           // Of kClick.
    std::string type;          // Of kUnsubscribe, as the next one.
    std::string address_hash;  // 32 bytes: the SHA-256 of the address in lower case.
  };
  // nullopt unless we made the token, for this kind.
  std::optional<Verified> Verify(LinkKind kind, absl::string_view token) const;

 private:
  // `more` is signed with the target; what it is depends on the kind.
  std::string Token(LinkKind kind, const LinkTarget& target, absl::string_view more) const;
  std::string Url(absl::string_view path, absl::string_view token) const;

  const MasterKey key_;
  const std::string public_url_;
};

}  // namespace carillon
