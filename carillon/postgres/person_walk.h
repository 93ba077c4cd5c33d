// Walks through tables that no index of a person leads into: in the order of a key,
// a window of rows at a time.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "carillon/postgres/places.h"

namespace carillon {

// Rows that one statement looks at.
inline constexpr int kWalkWindow = 50'000;

struct KeyColumn {
  const char* expression;
  PlaceType type;
};

// Rows of a table that concern the person $2 in the app $1.
struct Walk {
  const char* table;
  // The rows to walk through: an index leads to them in the order of the keys.
  const char* scope;
  // Which of them; null: all.
  const char* match;
  // The order; unique within the scope.
  std::vector<KeyColumn> keys;
  // The rows are other people's and only name the person.
  bool is_of_others = false;

  std::vector<PlaceType> place_types() const;
  // "k0, k1", the keys' names in what is below.
  std::string key_names() const;
};

// The beginning of a statement, to follow WITH: `found`, at most `limit` rows that
// match after the place $3 (text[]) in the order of n, with the keys and `column`,
// which is never NULL, as shown; and `last`, one row with the keys: how far this has looked, or no row at
// the end of the table. `limit` is a number or a parameter. Where all rows match,
// no more than the limit are looked at.
std::string WalkSql(const Walk& walk, absl::string_view limit, absl::string_view column);

}  // namespace carillon
