// Users with many followers, made in bulk by the database itself, and what became
// of the events that were told to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "carillon/postgres/session.h"
#include "client/bench/options.h"

namespace carillon::bench {

// Somebody whom so many follow, and nobody else follows anybody of theirs. The
// same values name the same people in every run, so that graphs are made once.
struct Star {
  std::string id;          // bench-star-1000000, bench-star-1000000-b, ...
  std::string fan_prefix;  // fan-1000000-, fan-1000000-b-, ...
  int64_t followers = 0;
};
// `number`: of several stars of that size; from 0, below 26.
Star StarOf(int64_t followers, int number = 0);

// The follower of this number, from 1; in the order of ids.
std::string FollowerId(const Star& star, int64_t number);
// So many followers, or all if there are fewer, in even steps from the first. Two
// lists with shares between 0 and 1 that differ have nobody in common, unless
// they take nearly all.
std::vector<std::string> SomeFollowers(const Star& star, int64_t count, double share = 0);

// What the followers of a star have of one event.
struct Told {
  int64_t once = 0;
  int64_t missing = 0;    // Followers without it.
  int64_t twice = 0;      // Followers who have it more than once.
  int64_t strangers = 0;  // Others who have it.

  bool complete() const { return missing + twice + strangers == 0; }
};

// Owner thread only; everything blocks.
class StarGraphs {
 public:
  explicit StarGraphs(const BenchOptions& options);

  // Makes what is missing of it. True if something was.
  absl::StatusOr<bool> Make(const Star& star);
  // Takes the events that are stored once for all and not yet in the followers'
  // feeds for seen, so that none of an earlier run is appended in this one.
  absl::Status SkipShared(const Star& star);

  // Of the event about this object, which no other event of the app has, since `since`.
  absl::StatusOr<Told> CountTold(const Star& star, const std::string& object_id, absl::Time since);
  // Of these feeds, how many heads do not agree with their items: last_seq, unread.
  absl::StatusOr<int64_t> CountWrongHeads(const std::vector<std::string>& recipients);

 private:
  absl::Status Execute(const char* sql);
  absl::StatusOr<int64_t> CountFollowers(const Star& star);
  absl::Status MakeRows(const Star& star);

  const std::string app_key_;
  PgSession session_;
};

}  // namespace carillon::bench
