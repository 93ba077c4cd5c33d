// Which preference holds for a type on a channel: asked by decisions, and by what
// recipients are shown of them.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "carillon/domain/lane.h"
#include "carillon/domain/settings.h"

namespace carillon {

// A type on a channel, as preferences see it.
struct PreferenceSubject {
  absl::string_view type;
  absl::string_view category;  // Empty: none.
  bool required = false;
  Channel channel = Channel::kInApp;
};

struct EffectivePreference {
  std::string level;  // Whose word it is: "recipient, type like, email".
  Choice said = Choice::kOn;
  // What comes of it: what is required can't be off, and the feed gathers by itself.
  Choice holds = Choice::kOn;

  friend bool operator==(const EffectivePreference&, const EffectivePreference&) = default;
};

// A type before a category before all, and of each a word about the channel before one
// about all channels; whatever the recipient says before whatever the app says. Nothing
// if nobody has said anything: then it is on.
std::optional<EffectivePreference> FindPreference(const PreferenceSubject& subject,
                                                  absl::Span<const Preference> of_recipient,
                                                  absl::Span<const Preference> of_app);

}  // namespace carillon
