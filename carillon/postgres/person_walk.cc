#include "carillon/postgres/person_walk.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace carillon {
namespace {

const char* TypeName(PlaceType type) {
  return type == PlaceType::kNumber ? "bigint" : type == PlaceType::kUuid ? "uuid" : "text";
}

}  // namespace

std::vector<PlaceType> Walk::place_types() const {
  std::vector<PlaceType> types;
  for (const KeyColumn& key : keys) types.push_back(key.type);
  return types;
}

std::string Walk::key_names() const {
  std::vector<std::string> names;
  for (size_t i = 0; i < keys.size(); ++i) names.push_back(absl::StrCat("k", i));
  return absl::StrJoin(names, ", ");
}

std::string WalkSql(const Walk& walk, absl::string_view limit, absl::string_view column) {
  std::vector<std::string> keys, named, after;
  for (size_t i = 0; i < walk.keys.size(); ++i) {
    const KeyColumn& key = walk.keys[i];
    keys.push_back(key.expression);
    named.push_back(absl::StrCat(key.expression, " AS k", i));
    after.push_back(absl::StrCat("($3::text[])[", i + 1, "]::", TypeName(key.type)));
  }
  const std::string order = absl::StrJoin(keys, ", ");
  return absl::StrCat(
      "walked AS MATERIALIZED (SELECT row_number() OVER () AS n, w.* FROM (SELECT ", absl::StrJoin(named, ", "),
      ", CASE WHEN ", walk.match == nullptr ? "true" : walk.match, " THEN ", column, " END AS shown FROM ", walk.table,
      " t WHERE ", walk.scope, " AND (", order, ") > (", absl::StrJoin(after, ", "), ") ORDER BY ", order, " LIMIT ",
      walk.match == nullptr ? std::string(limit) : absl::StrCat(kWalkWindow),
      ") AS w), found AS MATERIALIZED (SELECT * FROM walked WHERE shown IS NOT NULL ORDER BY n LIMIT ", limit,
      "), last AS (SELECT ", walk.key_names(), " FROM walked WHERE (SELECT count(*) FROM found) < ", limit,
      " OR n <= (SELECT max(n) FROM found) ORDER BY n DESC LIMIT 1)");
}

}  // namespace carillon
