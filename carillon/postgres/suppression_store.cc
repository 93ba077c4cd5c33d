#include "carillon/postgres/suppression_store.h"

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/places.h"

namespace carillon {
namespace {

// The hash is made here, as the delivery worker's claim makes it.
constexpr PgStatement kAdd = {"add_suppression", R"sql(
  INSERT INTO suppressions (app_id, channel, address_hash, type, reason, address)
  VALUES ($1, $2, sha256(convert_to(lower($3), 'UTF8')), $4, $5, lower($3))
  ON CONFLICT (app_id, channel, address_hash, type) DO NOTHING
)sql"};

constexpr PgStatement kRemove = {"remove_suppression", R"sql(
  DELETE FROM suppressions
  WHERE app_id = $1 AND channel = $2 AND address_hash = sha256(convert_to(lower($3), 'UTF8')) AND type = $4
)sql"};

// Of one channel, so that the key leads to the first row.
constexpr PgStatement kList = {"list_suppressions", R"sql(
  SELECT channel, encode(address_hash, 'hex') AS hash, type, reason, address,
         (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
  FROM suppressions
  WHERE app_id = $1 AND channel = $2 AND (address_hash, type) > (decode($3, 'hex'), $4)
  ORDER BY address_hash, type LIMIT $5
)sql"};

constexpr PgStatement kListAddress = {"list_suppressions_of_address", R"sql(
  SELECT channel, encode(address_hash, 'hex') AS hash, type, reason, address,
         (extract(epoch FROM created_at) * 1e6)::bigint AS created_us
  FROM suppressions
  WHERE app_id = $1 AND channel = $2 AND (address_hash, type) > (decode($3, 'hex'), $4)
    AND address_hash = sha256(convert_to(lower($6), 'UTF8'))
  ORDER BY address_hash, type LIMIT $5
)sql"};

// Channel, hash, type.
constexpr PlaceType kPlace[] = {PlaceType::kText, PlaceType::kHex, PlaceType::kText};

constexpr Channel kChannels[] = {Channel::kEmail, Channel::kSms};

pqxx::result ReadChannel(PgSession& session, pqxx::transaction_base& transaction, const SuppressionQuery& query,
                         const std::vector<std::string>& place, int limit) {
  if (query.address.empty()) {
    return session.Execute(transaction, kList, query.app.value(), place[0], place[1], place[2], limit);
  }
  return session.Execute(transaction, kListAddress, query.app.value(), place[0], place[1], place[2], limit,
                         query.address);
}

void Append(AppId app, Channel channel, const pqxx::row& row, SuppressionPage& page) {
  page.suppressions.push_back({.app = app,
                               .channel = channel,
                               .address = OwnedText(row["address"]),
                               .type = OwnedText(row["type"]),
                               .reason = OwnedText(row["reason"]),
                               .create_time = TimeOf(row["created_us"])});
  page.last = EncodePlace({OwnedText(row["channel"]), OwnedText(row["hash"]), OwnedText(row["type"])});
}

}  // namespace

absl::StatusOr<bool> PostgresSuppressionStore::Add(const Suppression& suppression) {
  bool added = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    added = session
                .Execute(transaction, kAdd, suppression.app.value(), std::string(ToString(suppression.channel)),
                         suppression.address, suppression.type, suppression.reason)
                .affected_rows() > 0;
  }));
  return added;
}

absl::StatusOr<bool> PostgresSuppressionStore::Remove(const Suppression& suppression) {
  bool removed = false;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    removed = session
                  .Execute(transaction, kRemove, suppression.app.value(), std::string(ToString(suppression.channel)),
                           suppression.address, suppression.type)
                  .affected_rows() > 0;
  }));
  return removed;
}

absl::StatusOr<SuppressionPage> PostgresSuppressionStore::List(const SuppressionQuery& query) {
  std::vector<std::string> after = {"", "", ""};
  if (!query.after.empty()) {
    ASSIGN_OR_RETURN(after, DecodePlace(query.after, kPlace));
  }
  SuppressionPage page;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    page = {};
    for (const Channel channel : kChannels) {
      const std::string name(ToString(channel));
      const int room = query.limit - static_cast<int>(page.suppressions.size());
      if (query.channel.value_or(channel) != channel || name < after[0] || room == 0) continue;
      const std::vector<std::string> place = name == after[0] ? after : std::vector<std::string>{name, "", ""};
      for (const auto& row : ReadChannel(session, transaction, query, place, room)) {
        Append(query.app, channel, row, page);
      }
    }
  }));
  return page;
}

}  // namespace carillon
