// The stages of erasing a person. Each is a function that takes one step of it, in
// a transaction of the caller's; all throw as libpqxx does and are safe to repeat.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "carillon/domain/notification.h"
#include "carillon/postgres/places.h"
#include "carillon/postgres/session.h"

namespace carillon {

// Rows of other people and of the person that one step may change.
inline constexpr int kEraseRows = 500;

using Place = std::vector<std::string>;

struct StageStep {
  int64_t rows = 0;
  // Where the stage goes on; none: it is done.
  std::optional<Place> next;
};

struct EraseStage {
  std::vector<PlaceType> place_types;  // Of those that walk; else empty.
  StageStep (*step)(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place);
};

// Contacts and devices; their suppressions lose the address. Leaves a tombstone.
StageStep EraseContacts(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place);
// What they have said, what is sent to them again and again, and who has muted them.
std::vector<EraseStage> SettingStages();
// What gathers for them.
std::vector<EraseStage> DigestStages();
// What an index leads to: of the recipient, and of those who follow them.
std::vector<EraseStage> OwnRowStages();
// The feed's head, and what has come into the feed meanwhile.
StageStep EraseHead(PgSession& session, pqxx::work& transaction, const FeedKey& key, const Place& place);

// Their part in what others have: events, notifications, feed items.
std::vector<EraseStage> TraceStages();
// Takes their reactions back: counters and items that tell of them change with it.
EraseStage ReactionStage();
// Messages that are kept for later: dead letters, deliveries to others, and what is sent
// again and again.
std::vector<EraseStage> PayloadStages();

}  // namespace carillon
