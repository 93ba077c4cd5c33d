#include "carillon/postgres/membership_store.h"

#include <set>

#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/feed_touch.h"

namespace carillon {
namespace {

// A head that is there is neither locked nor waited for. In the order in which
// every other writer makes heads.
constexpr PgStatement kMakeHeads = {"make_heads", R"sql(
  INSERT INTO feed_heads (app_id, recipient_id, event_position)
  SELECT $1::bigint, recipient_id, coalesce((SELECT position FROM event_positions WHERE app_id = $1), 0)
  FROM unnest($2::text[]) AS asked (recipient_id)
  ORDER BY recipient_id
  ON CONFLICT (app_id, recipient_id) DO NOTHING
)sql"};

// After the heads: a position that is newer than theirs only means that events
// between the two are not for the member.
constexpr PgStatement kAddMemberships = {"add_memberships", R"sql(
  INSERT INTO memberships (app_id, since_position, kind, group_id, member_id)
  SELECT $1::bigint, coalesce((SELECT position FROM event_positions WHERE app_id = $1), 0), $2, group_id, member_id
  FROM unnest($3::text[], $4::text[]) AS asked (group_id, member_id)
  ORDER BY group_id COLLATE "C", member_id COLLATE "C"
  ON CONFLICT (app_id, kind, group_id, member_id) DO NOTHING
)sql"};

// Locked in the order of the key first: two that remove the same never wait for
// each other in a circle. LATERAL: each is found by the whole key, whatever the
// planner takes the size of the table for.
constexpr PgStatement kRemoveMemberships = {"remove_memberships", R"sql(
  WITH doomed AS MATERIALIZED (
    SELECT m.row_id
    FROM (SELECT * FROM unnest($3::text[], $4::text[]) AS asked (group_id, member_id)
          ORDER BY group_id COLLATE "C", member_id COLLATE "C") AS asked,
    LATERAL (SELECT ctid AS row_id FROM memberships
             WHERE app_id = $1 AND kind = $2 AND group_id = asked.group_id AND member_id = asked.member_id
             FOR UPDATE) AS m
  )
  DELETE FROM memberships WHERE ctid = ANY (ARRAY(SELECT row_id FROM doomed))
)sql"};

constexpr PgStatement kListMembers = {"list_members", R"sql(
  SELECT member_id FROM memberships
  WHERE app_id = $1 AND kind = $2 AND group_id = $3 AND member_id > $4
  ORDER BY member_id LIMIT $5
)sql"};

// Each membership and each member once.
struct Columns {
  explicit Columns(absl::Span<const Membership> memberships) {
    std::set<std::pair<absl::string_view, absl::string_view>> pairs;
    for (const Membership& membership : memberships) pairs.insert({membership.group_id, membership.member_id});
    for (const auto& [group, member] : pairs) {
      groups.Add(group);
      members.Add(member);
      distinct_members.insert(std::string(member));
    }
  }

  PgArray groups, members;
  std::set<std::string> distinct_members;
};

}  // namespace

absl::StatusOr<int> PostgresMembershipStore::Add(AppId app, GroupKind kind, absl::Span<const Membership> memberships) {
  const Columns columns(memberships);
  PgArray recipients;
  for (const std::string& member : columns.distinct_members) recipients.Add(member);
  int added = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    session.Execute(transaction, kMakeHeads, app.value(), recipients.str());
    added = static_cast<int>(session
                                 .Execute(transaction, kAddMemberships, app.value(), std::string(ToString(kind)),
                                          columns.groups.str(), columns.members.str())
                                 .affected_rows());
    return absl::OkStatus();
  }));
  return added;
}

absl::StatusOr<int> PostgresMembershipStore::Remove(AppId app, GroupKind kind,
                                                    absl::Span<const Membership> memberships) {
  const Columns columns(memberships);
  std::vector<FeedKey> feeds;
  for (const std::string& member : columns.distinct_members) feeds.push_back({app, RecipientId(member)});
  int removed = 0;
  RETURN_IF_ERROR(pool_->RunTransaction([&](PgSession& session, pqxx::work& transaction) {
    TouchFeeds(session, transaction, feeds);
    removed = static_cast<int>(session
                                   .Execute(transaction, kRemoveMemberships, app.value(), std::string(ToString(kind)),
                                            columns.groups.str(), columns.members.str())
                                   .affected_rows());
    return absl::OkStatus();
  }));
  return removed;
}

absl::StatusOr<std::vector<std::string>> PostgresMembershipStore::List(const Group& group, const std::string& after,
                                                                       int limit) {
  std::vector<std::string> members;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    members.clear();
    const pqxx::result rows = session.Execute(transaction, kListMembers, group.app.value(),
                                              std::string(ToString(group.kind)), group.id, after, limit);
    for (const auto& row : rows) members.push_back(OwnedText(row[0]));
  }));
  return members;
}

}  // namespace carillon
