// Compares what was accepted with what a feed or a stream shows. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace carillon::bench {

// Both ends included.
struct SeqRange {
  int64_t first = 0;
  int64_t last = 0;
};

struct SeenItem {
  std::string notification_id;
  int64_t seq = 0;
};

// What is wrong; all zero if nothing is.
struct Findings {
  int64_t lost = 0;        // Accepted and not there.
  int64_t duplicates = 0;  // There more than once.
  int64_t unexpected = 0;  // There and never accepted.
  int64_t gaps = 0;        // Places where numbers are left out.
  int64_t disorder = 0;    // Numbers that do not rise.
  std::vector<std::string> lost_ids;
  // The first few, in words.
  std::vector<std::string> examples;

  bool clean() const { return lost + duplicates + unexpected + gaps + disorder == 0; }
};

// Adds to `findings` what is wrong with one user's items, given in the order in
// which they were seen. Each accepted id must be there once, and the numbers must
// count from 1 without a gap, but for `skipped`, which the server announced.
// `where` opens the examples: "feed of alice".
void CompareItems(absl::string_view where, absl::Span<const std::string> accepted_ids, absl::Span<const SeenItem> items,
                  absl::Span<const SeqRange> skipped, Findings& findings);

// What of `accepted_ids` a stream had to show, if the feed has the rest within
// what the stream was told to skip.
std::vector<std::string> OutsideOf(absl::Span<const SeqRange> skipped, absl::Span<const std::string> accepted_ids,
                                   absl::Span<const SeenItem> feed_items);

// The counters of a feed of which nothing was read and in which nothing changed.
struct Counters {
  int64_t unread = 0;
  int64_t last_seq = 0;
};
bool CountersMatch(const Counters& counters, int64_t items);

}  // namespace carillon::bench
