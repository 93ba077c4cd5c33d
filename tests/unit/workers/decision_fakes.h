// What decisions are made from, in memory.
#pragma once

#include <map>
#include <vector>

#include "carillon/ports/cap_store.h"
#include "carillon/ports/settings_store.h"
#include "carillon/runtime/decision_maker.h"
#include "carillon/runtime/local_caps.h"

namespace carillon::testing {

// Whoever is not in it has said nothing.
class SettingsInMemory final : public SettingsStore {
 public:
  std::map<std::string, KnownSettings> of;  // By recipient.
  absl::Status away;

  absl::StatusOr<std::vector<KnownSettings>> Read(absl::Span<const FeedKey> keys) override {
    if (!away.ok()) return away;
    std::vector<KnownSettings> all;
    for (const FeedKey& key : keys) all.push_back(of[key.recipient.value()]);
    return all;
  }
  absl::StatusOr<RecipientSettings> Update(const FeedKey&, Change) override { return NotHere(); }
  absl::Status AddMutes(const FeedKey&, absl::Span<const Mute>) override { return NotHere(); }
  absl::StatusOr<int> RemoveMutes(const FeedKey&, absl::Span<const Mute>) override { return NotHere(); }
  absl::StatusOr<std::vector<Preference>> ReadAppPreferences(AppId) override { return NotHere(); }
  absl::Status SetAppPreferences(AppId, absl::Span<const Preference>) override { return NotHere(); }

 private:
  static absl::Status NotHere() { return absl::UnimplementedError("not in these tests"); }
};

class CapsInMemory final : public CapStore {
 public:
  explicit CapsInMemory(const Clock& clock) : clock_(clock) {}
  std::vector<CapUse> Use(absl::Span<const Request> requests, Mode mode) override {
    std::vector<CapUse> uses;
    for (const Request& request : requests) uses.push_back(windows_.Use(request, mode, clock_.Now()));
    return uses;
  }

 private:
  const Clock& clock_;
  LocalCaps windows_{1000};
};

// A decision maker with all that it needs.
struct DecisionsInMemory {
  DecisionsInMemory(Catalogue& catalogue, const Clock& clock)
      : caps(clock), maker({.catalogue = catalogue, .settings = cache, .caps = caps, .clock = clock}) {}

  SettingsInMemory settings;
  CapsInMemory caps;
  SettingsCache cache{settings, 1000};
  DecisionMaker maker;
};

}  // namespace carillon::testing
