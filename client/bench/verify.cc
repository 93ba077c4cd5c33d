#include "client/bench/verify.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace carillon::bench {
namespace {

constexpr size_t kMaxExamples = 20;

void AddExample(Findings& findings, absl::string_view where, absl::string_view what) {
  if (findings.examples.size() < kMaxExamples) findings.examples.push_back(absl::StrCat(where, ": ", what));
}

bool IsSkipped(int64_t seq, absl::Span<const SeqRange> skipped) {
  return std::any_of(skipped.begin(), skipped.end(),
                     [seq](const SeqRange& range) { return range.first <= seq && seq <= range.last; });
}

// The first number from `seq` on that was not announced as skipped.
int64_t FirstExpected(int64_t seq, absl::Span<const SeqRange> skipped) {
  while (IsSkipped(seq, skipped)) ++seq;
  return seq;
}

void CompareIds(absl::string_view where, absl::Span<const std::string> accepted_ids, absl::Span<const SeenItem> items,
                Findings& findings) {
  const absl::flat_hash_set<absl::string_view> accepted(accepted_ids.begin(), accepted_ids.end());
  absl::flat_hash_set<absl::string_view> seen;
  for (const SeenItem& item : items) {
    if (!seen.insert(item.notification_id).second) {
      ++findings.duplicates;
      AddExample(findings, where, absl::StrCat(item.notification_id, " again, as ", item.seq));
    } else if (!accepted.contains(item.notification_id)) {
      ++findings.unexpected;
      AddExample(findings, where, absl::StrCat(item.notification_id, " was never accepted, as ", item.seq));
    }
  }
  // Taken out, so that two sends that were answered with one id need two items.
  for (const std::string& id : accepted_ids) {
    if (seen.erase(id) > 0) continue;
    ++findings.lost;
    findings.lost_ids.push_back(id);
    AddExample(findings, where, absl::StrCat(id, " is missing"));
  }
}

void CompareNumbers(absl::string_view where, absl::Span<const SeenItem> items, absl::Span<const SeqRange> skipped,
                    Findings& findings) {
  int64_t expected = FirstExpected(1, skipped);
  for (const SeenItem& item : items) {
    if (item.seq < expected) {
      ++findings.disorder;
      AddExample(findings, where, absl::StrCat("number ", item.seq, " where ", expected, " is next"));
      continue;
    }
    if (item.seq > expected) {
      ++findings.gaps;
      AddExample(findings, where, absl::StrCat("numbers ", expected, " to ", item.seq - 1, " are left out"));
    }
    expected = FirstExpected(item.seq + 1, skipped);
  }
}

}  // namespace

void CompareItems(absl::string_view where, absl::Span<const std::string> accepted_ids, absl::Span<const SeenItem> items,
                  absl::Span<const SeqRange> skipped, Findings& findings) {
  CompareIds(where, accepted_ids, items, findings);
  CompareNumbers(where, items, skipped, findings);
}

std::vector<std::string> OutsideOf(absl::Span<const SeqRange> skipped, absl::Span<const std::string> accepted_ids,
                                   absl::Span<const SeenItem> feed_items) {
  absl::flat_hash_set<absl::string_view> inside;
  for (const SeenItem& item : feed_items) {
    if (IsSkipped(item.seq, skipped)) inside.insert(item.notification_id);
  }
  std::vector<std::string> outside;
  for (const std::string& id : accepted_ids) {
    if (!inside.contains(id)) outside.push_back(id);
  }
  return outside;
}

bool CountersMatch(const Counters& counters, int64_t items) {
  return counters.unread == items && counters.last_seq == items;
}

}  // namespace carillon::bench
