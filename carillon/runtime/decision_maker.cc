#include "carillon/runtime/decision_maker.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "carillon/domain/delivery.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

using Settings = SettingsCache::Entry;

// A decision with what it was made from.
struct Case {
  const DecisionSubject* subject = nullptr;
  std::shared_ptr<const AppPolicy> app;
  Settings settings;  // Null: nobody asks for them.
  Decision decision;
};

const SettingsOfRecipient& NothingSaid() {
  static const auto* const none = new SettingsOfRecipient(KnownSettings());
  return *none;
}

DecisionInput InputOf(const Case& one) {
  const Notification& item = *one.subject->item;
  const SettingsOfRecipient& settings = one.settings == nullptr ? NothingSaid() : *one.settings;
  return {.type = item.type,
          .critical = one.subject->type->critical,
          .is_digest = item.type == kDigestType,
          .policy = one.subject->type->policy,
          .channels = one.subject->channels,
          .expire_time = item.expire_time,
          .kept_until = one.subject->in_digest ? absl::InfiniteFuture()
                                               : item.create_time + absl::Hours(24) * item.retention_days,
          .app_preferences = one.app->preferences,
          .settings = settings.settings(),
          .zone = settings.zone(),
          .actor_muted_until = settings.ActorMutedUntil(item.actor_id),
          .object_muted_until = settings.ObjectMutedUntil(item.object_id),
          .now = one.decision.time};
}

// Not what is known of the app's clock, where the item knows more of it.
absl::Duration ClockOffset(const Case& one, absl::Time our_now) {
  const absl::Duration known = one.app->clock_offset;
  const absl::Duration ahead = one.decision.time - our_now;
  return ahead - known < kClockSkew ? known : ahead;
}

// The time of a sandbox may have been moved just now. If that can't be known, what is known
// is nearly right.
void FollowMovedClocks(Catalogue& catalogue, absl::Span<const DecisionSubject> subjects) {
  const bool any = absl::c_any_of(
      subjects, [&](const DecisionSubject& subject) { return catalogue.PolicyOf(subject.key.app)->sandbox; });
  if (any) catalogue.Refresh().IgnoreError();
}

// Once for each recipient: a digest's members are all for the same.
absl::Status ReadSettings(SettingsCache& cache, std::vector<Case>& cases) {
  std::vector<FeedKey> keys;
  absl::flat_hash_map<FeedKey, size_t> places;
  std::vector<std::pair<Case*, size_t>> asking;
  for (Case& one : cases) {
    if (one.subject->type->critical) continue;
    const auto [place, is_new] = places.try_emplace(one.subject->key, keys.size());
    if (is_new) keys.push_back(one.subject->key);
    asking.emplace_back(&one, place->second);
  }
  if (keys.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<Settings> entries, cache.Read(keys));
  for (const auto& [one, place] : asking) one->settings = entries[place];
  return absl::OkStatus();
}

std::vector<Cap> CapsOf(const DeliveryPolicy& policy, Channel channel) {
  std::vector<Cap> caps;
  absl::c_copy_if(policy.caps, std::back_inserter(caps), [&](const Cap& cap) { return cap.channel == channel; });
  return caps;
}

// Of what would be sent: what is stopped before uses nothing up.
void AskCaps(CapStore& store, CapStore::Mode mode, std::vector<Case>& cases) {
  std::vector<CapStore::Request> requests;
  std::vector<std::pair<Case*, ChannelDecision*>> asking;
  for (Case& one : cases) {
    if (one.subject->type->critical || one.subject->type->policy.caps.empty()) continue;
    const Notification& item = *one.subject->item;
    for (ChannelDecision& channel : one.decision.channels) {
      if (channel.outcome != Outcome::kSend || channel.channel == Channel::kInApp) continue;
      std::vector<Cap> caps = CapsOf(one.subject->type->policy, channel.channel);
      if (caps.empty()) continue;
      requests.push_back({.key = one.subject->key,
                          .channel = channel.channel,
                          .type = item.type,
                          .member = item.id,
                          .caps = std::move(caps),
                          .clock_offset = one.decision.clock_offset});
      asking.emplace_back(&one, &channel);
    }
  }
  if (requests.empty()) return;
  const std::vector<CapUse> uses = store.Use(requests, mode);
  for (size_t i = 0; i < asking.size(); ++i) ApplyCap(InputOf(*asking[i].first), uses[i], *asking[i].second);
}

void SetNextDigest(Case& one) {
  const bool any = absl::c_any_of(one.decision.channels,
                                  [](const ChannelDecision& channel) { return channel.outcome == Outcome::kDigest; });
  if (!any) return;
  const SettingsOfRecipient& settings = one.settings == nullptr ? NothingSaid() : *one.settings;
  one.decision.next_digest = NextDigest(settings.settings().digest_time, one.decision.time, settings.zone());
}

}  // namespace

absl::StatusOr<std::vector<Decision>> DecisionMaker::Decide(absl::Span<const DecisionSubject> subjects,
                                                            CapStore::Mode mode) {
  const absl::Time now = deps_.clock.Now();
  FollowMovedClocks(deps_.catalogue, subjects);
  std::vector<Case> cases(subjects.size());
  for (size_t i = 0; i < subjects.size(); ++i) {
    const Notification& item = *subjects[i].item;
    cases[i].subject = &subjects[i];
    cases[i].app = deps_.catalogue.PolicyOf(subjects[i].key.app);
    cases[i].decision.time = deps_.catalogue.NowOf(item, subjects[i].not_before, now);
    cases[i].decision.clock_offset = ClockOffset(cases[i], now);
  }
  RETURN_IF_ERROR(ReadSettings(deps_.settings, cases));
  for (Case& one : cases) {
    if (one.settings != nullptr) one.decision.zone = one.settings->zone();
    one.decision.channels = carillon::Decide(InputOf(one));
  }
  AskCaps(deps_.caps, mode, cases);
  std::vector<Decision> decisions;
  decisions.reserve(cases.size());
  for (Case& one : cases) {
    SetNextDigest(one);
    decisions.push_back(std::move(one.decision));
  }
  return decisions;
}

}  // namespace carillon
