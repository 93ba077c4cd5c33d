// The part of PostgresPersonStore that shows.
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/postgres/arrays.h"
#include "carillon/postgres/person_store.h"
#include "carillon/postgres/person_walk.h"
#include "carillon/postgres/places.h"

namespace carillon {
namespace {

// Statements for one page.
constexpr int kMaxLooks = 40;

constexpr bool kOfOthers = true;
constexpr const char* kOwn = "app_id = $1 AND recipient_id = $2";

const std::vector<Walk>& Sources() {
  constexpr PlaceType kNumber = PlaceType::kNumber, kUuid = PlaceType::kUuid, kText = PlaceType::kText;
  static const auto* const sources = new std::vector<Walk>{
      {"recipients", kOwn, nullptr, {{"recipient_id", kText}}},
      {"devices", kOwn, nullptr, {{"channel", kText}, {"device_id", kText}}},
      {"suppressions",
       "app_id = $1 AND (channel, address_hash) IN ("
       "SELECT 'email', sha256(convert_to(lower(email), 'UTF8')) FROM recipients WHERE app_id = $1 AND recipient_id = "
       "$2"
       " UNION ALL "
       "SELECT 'sms', sha256(convert_to(lower(phone), 'UTF8')) FROM recipients WHERE app_id = $1 AND recipient_id = "
       "$2)",
       nullptr,
       {{"channel", kText}, {"encode(address_hash, 'hex')", PlaceType::kHex}, {"type", kText}}},
      {"feed_heads", kOwn, nullptr, {{"recipient_id", kText}}},
      {"feed_items", kOwn, nullptr, {{"seq", kNumber}}},
      {"feed_removals", kOwn, nullptr, {{"seq", kNumber}}},
      {"notifications", kOwn, nullptr, {{"notification_id", kUuid}, {"retention_days", kNumber}}},
      {"deliveries", kOwn, nullptr, {{"notification_id", kUuid}, {"delivery_id", kUuid}, {"retention_days", kNumber}}},
      {"schedules", kOwn, nullptr, {{"schedule_id", kUuid}}},
      {"interactions", kOwn, nullptr, {{"notification_id", kUuid}, {"channel", kText}, {"kind", kText}}},
      {"reaction_items", kOwn, nullptr, {{"type", kText}, {"object_id", kText}}},
      {"reactions", kOwn, nullptr, {{"object_id", kText}, {"kind", kText}, {"actor_id", kText}}},
      {"memberships", "app_id = $1 AND kind = 'followers' AND group_id = $2", nullptr, {{"member_id", kText}}},
      {"memberships", "app_id = $1", "member_id = $2", {{"kind", kText}, {"group_id", kText}, {"member_id", kText}}},
      {"reactions",
       "app_id = $1",
       "actor_id = $2",
       {{"object_id", kText}, {"kind", kText}, {"actor_id", kText}},
       kOfOthers},
      {"events",
       "true",
       "app_id = $1 AND (actor_id = $2 OR (audience = 'followers' AND audience_id = $2) OR $2 = ANY (users))",
       {{"event_id", kUuid}}},
      {"notifications",
       "true",
       "app_id = $1 AND actor_id = $2 AND recipient_id <> $2",
       {{"notification_id", kUuid}, {"retention_days", kNumber}},
       kOfOthers},
      {"feed_items",
       "true",
       "app_id = $1 AND actor_id = $2 AND recipient_id <> $2",
       {{"notification_id", kUuid}, {"retention_days", kNumber}},
       kOfOthers},
      {"dead_letters",
       "app_id = $1",
       "EXISTS (SELECT FROM notifications n WHERE n.notification_id = t.notification_id AND n.app_id = $1"
       " AND n.recipient_id = $2)",
       {{"dead_letter_id", kNumber}}},
      {"recipient_settings", kOwn, nullptr, {{"recipient_id", kText}}},
      // Who has muted the person is their own affair.
      {"mutes", kOwn, nullptr, {{"kind", kText}, {"muted_id", kText}}},
      {"digests", kOwn, nullptr, {{"digest_id", kUuid}}},
      {"digest_entries",
       "digest_id IN (SELECT digest_id FROM digests WHERE app_id = $1 AND recipient_id = $2)",
       nullptr,
       {{"digest_id", kUuid}, {"delivery_id", kUuid}}},
      {"recurrences", "app_id = $1", "recipient_id = $2", {{"recurrence_id", kUuid}}},
      {"tripped_senders", "app_id = $1 AND sender_id = $2", nullptr, {{"sender_id", kText}}}};
  return *sources;
}

// As an array: who else hears of an event, whose feed a row is in, what they have said
// about being told and whether they have read it is not told.
const char* HiddenColumns(const Walk& source) {
  return source.is_of_others ? "{payload,address_hash,users,recipient_id,was_recipient_id,seq,read_seq,trail}"
                             : "{payload,address_hash,users,request}";
}

// The rows, then one without a row that tells how far was looked; nothing at the
// end.
std::string SqlOf(const Walk& source) {
  const std::string names = source.key_names();
  return absl::StrCat("WITH ",
                      WalkSql(source, "$4", absl::StrCat("to_jsonb(t) - '", HiddenColumns(source), "'::text[]")),
                      ", listed AS (SELECT n, shown, ", names, " FROM found UNION ALL SELECT NULL, NULL, ", names,
                      " FROM last) SELECT shown, ", names, " FROM listed ORDER BY n NULLS LAST");
}

// A source and the statement that reads it.
struct Reader {
  const Walk* source = nullptr;
  std::vector<PlaceType> types;
  std::string name, sql;

  PgStatement statement() const { return {name.c_str(), sql.c_str()}; }
};

const std::vector<Reader>& Readers() {
  static const auto* const readers = [] {
    auto* const made = new std::vector<Reader>();
    for (const Walk& source : Sources()) {
      Reader& reader = made->emplace_back();
      reader.source = &source;
      reader.types = source.place_types();
      reader.name = absl::StrCat("export_", made->size());
      reader.sql = SqlOf(source);
    }
    return made;
  }();
  return *readers;
}

// Where an export is: in which source, after which place.
struct Cursor {
  size_t source = 0;
  std::vector<std::string> place;

  void Enter(size_t next) {
    source = next;
    place = next < Readers().size() ? FirstPlace(Readers()[next].types) : std::vector<std::string>();
  }
  bool at_end() const { return source >= Readers().size(); }
};

std::string ToPosition(const Cursor& cursor) {
  return cursor.at_end() ? "" : absl::StrCat(cursor.source, "/", EncodePlace(cursor.place));
}

absl::StatusOr<Cursor> ToCursor(const std::string& position) {
  Cursor cursor;
  cursor.Enter(0);
  if (position.empty()) return cursor;
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(position, absl::MaxSplits('/', 1));
  if (!absl::SimpleAtoi(parts.first, &cursor.source) || cursor.at_end()) {
    return error::InvalidField("page_token", "must be the next_page_token of an answer before");
  }
  ASSIGN_OR_RETURN(cursor.place, DecodePlace(parts.second, Readers()[cursor.source].types));
  return cursor;
}

// One statement: what is found of one source, or that it is at its end.
void Look(PgSession& session, pqxx::transaction_base& transaction, const FeedKey& key, int limit, Cursor& cursor,
          std::vector<ExportedRow>& rows) {
  const Reader& reader = Readers()[cursor.source];
  PgArray place;
  for (const std::string& part : cursor.place) place.Add(part);
  const size_t before = rows.size(), room = limit - before;
  const pqxx::result found = session.Execute(transaction, reader.statement(), key.app.value(), key.recipient.value(),
                                             place.str(), static_cast<int>(room));
  for (const auto& row : found) {
    if (!row[0].is_null()) rows.push_back({reader.source->table, OwnedText(row[0])});
  }
  const bool read_all = reader.source->match == nullptr && rows.size() - before < room;
  if (found.empty() || read_all) return cursor.Enter(cursor.source + 1);
  for (size_t i = 0; i < cursor.place.size(); ++i) cursor.place[i] = OwnedText(found.back()[static_cast<int>(i) + 1]);
}

}  // namespace

absl::StatusOr<ExportPage> PostgresPersonStore::Export(const FeedKey& key, const std::string& position, int limit) {
  ASSIGN_OR_RETURN(const Cursor begin, ToCursor(position));
  ExportPage page;
  RETURN_IF_ERROR(pool_->Run([&](PgSession& session, pqxx::transaction_base& transaction) {
    page = {};
    Cursor cursor = begin;
    for (int looks = 0; looks < kMaxLooks && !cursor.at_end() && static_cast<int>(page.rows.size()) < limit; ++looks) {
      Look(session, transaction, key, limit, cursor, page.rows);
    }
    page.next = ToPosition(cursor);
  }));
  return page;
}

}  // namespace carillon
