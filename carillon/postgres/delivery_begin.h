// How deliveries begin, whoever decided on them: for notifications, an event's page, the
// end of a window.
#pragma once

#include "carillon/ports/feed_store.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Where a delivery belongs.
struct DeliveryOrigin {
  NotificationId notification_id;
  const FeedKey& key;
  int retention_days = 7;
  absl::string_view type;
  Lane lane = Lane::kSocial;
  absl::string_view exchange;
  absl::string_view routing_key;
  absl::string_view traceparent;
};

// The parameters of OutgoingSql, column by column.
class OutgoingColumns {
 public:
  void Add(const DeliveryOrigin& origin, const NewDelivery& delivery);
  bool any() const { return any_; }

  // The statement's own parameters first.
  template <typename... Own>
  pqxx::result Execute(PgSession& session, pqxx::transaction_base& transaction, const PgStatement& statement,
                       const Own&... own) const {
    return session.Execute(transaction, statement, own..., notifications_.str(), ids_.str(), apps_.str(),
                           recipients_.str(), retentions_.str(), types_.str(), lanes_.str(), channels_.str(),
                           devices_.str(), states_.str(), details_.str(), traceparents_.str(), payloads_.str(),
                           trails_.str(), due_.str(), waits_.str(), exchanges_.str(), routing_keys_.str(),
                           digests_.str());
  }

 private:
  bool any_ = false;
  PgArray notifications_, ids_, apps_, recipients_, retentions_, types_, lanes_, channels_, devices_, states_, details_,
      traceparents_, payloads_, trails_, due_, waits_, exchanges_, routing_keys_, digests_;
};

// A CTE of this name, whose parameters are $N and those after it, in the order of the
// lists that they came in; `filter` follows its FROM clause, in which a row is named d.
std::string OutgoingSql(absl::string_view name, int first_parameter, absl::string_view filter);

// Goes on after a CTE `outgoing`: writes the deliveries, what they wait for, and the outbox rows
// of those that go at once. Ends with a CTE `changed` for kCountAndTell.
std::string BeginOutgoingSql();
// Goes on after a CTE `outgoing` of deliveries that exist: writes what they wait for.
std::string WaitSql();

}  // namespace carillon
