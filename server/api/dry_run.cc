#include "server/api/dry_run.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/channels/event_messages.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/gathering.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "server/api/event_request.h"

namespace carillon {
namespace {

absl::string_view ToWord(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSend:
      return "send";
    case Outcome::kHold:
      return "hold";
    case Outcome::kDigest:
      return "digest";
    case Outcome::kInAppOnly:
      return "in_app_only";
    case Outcome::kSuppress:
      return "suppress";
    case Outcome::kExpire:
      return "expire";
  }
  return "";
}

// What is told of with others is decided on again, outside the feed, when their window ends.
std::string SentHow(const NotificationType& type, const Notification& item) {
  if (!IsGathered(type, item)) return "";
  return absl::StrCat("with others about its object: in the feed at once, elsewhere when their window of ",
                      absl::FormatDuration(type.policy.aggregation->window), " ends");
}

absl::Status TypeIsGone(absl::string_view field) {
  return error::InvalidField(field, "is not in the catalogue any more");
}

}  // namespace

// How many fare alike.
class DryRunner::Tally {
 public:
  void Add(Channel channel, Outcome outcome, std::string reason, int64_t count = 1) {
    counts_[{channel, outcome, std::move(reason)}] += count;
  }

  // As the workers do: who can't be reached is passed over, whatever was decided.
  void Add(const Decision& decision, const Contacts& contacts, const std::string& sent_how) {
    for (const ChannelDecision& one : decision.channels) {
      if (!IsReachable(one.channel, contacts)) {
        Add(one.channel, Outcome::kSuppress, std::string(WhyUnreachable(one.channel)));
      } else {
        Add(one.channel, one.outcome, one.outcome == Outcome::kSend ? sent_how : SharedReasonOf(decision, one));
      }
    }
  }

  void Fill(v1::DryRunResponse* response) const {
    for (const auto& [key, count] : counts_) {
      const auto& [channel, outcome, reason] = key;
      v1::DryRunCount& out = *response->add_counts();
      out.set_channel(static_cast<v1::Channel>(channel));
      out.set_outcome(std::string(ToWord(outcome)));
      out.set_reason(reason);
      out.set_count(count);
    }
  }

 private:
  std::map<std::tuple<Channel, Outcome, std::string>, int64_t> counts_;
};

// An audience that is not stored, or a sample of it, page by page.
class DryRunner::AudienceReader {
 public:
  AudienceReader(EventStore& store, const Event& event) : store_(store), event_(event) {}

  // How many there are.
  absl::StatusOr<int64_t> Measure() {
    int64_t size = static_cast<int64_t>(event_.audience.users.size());
    if (!IsListed()) {
      ASSIGN_OR_RETURN(
          const EventStore::Measure measure,
          store_.MeasureAudience(event_, limits::kMinShardMembers, std::numeric_limits<int64_t>::max() / 2));
      size = measure.size;
    }
    constexpr int64_t kMost = limits::kMaxDryRunRecipients;
    every_ = std::max<int64_t>(1, (size + kMost - 1) / kMost);
    return size;
  }

  // The next ones; empty at the end.
  absl::StatusOr<std::vector<FeedKey>> Next() {
    std::vector<std::string> members;
    if (IsListed()) {
      const auto begin = std::upper_bound(event_.audience.users.begin(), event_.audience.users.end(), after_);
      const auto left = std::min<int64_t>(event_.audience.users.end() - begin, limits::kFanoutPage);
      members.assign(begin, begin + left);
    } else {
      ASSIGN_OR_RETURN(members, store_.Sample(event_, after_, every_, limits::kFanoutPage));
    }
    std::vector<FeedKey> keys;
    keys.reserve(members.size());
    for (const std::string& member : members) keys.push_back({event_.app, RecipientId(member)});
    if (!members.empty()) after_ = std::move(members.back());
    return keys;
  }

 private:
  bool IsListed() const { return event_.audience.kind == AudienceKind::kUsers; }

  EventStore& store_;
  const Event& event_;
  int64_t every_ = 1;
  std::string after_;
};

absl::Status DryRunner::Run(const v1::DryRunRequest& request, const SendOrigin& origin, const GoesOn& goes_on,
                            v1::DryRunResponse* response) {
  switch (request.what_case()) {
    case v1::DryRunRequest::kSend:
      return RunSend(request.send(), origin, response);
    case v1::DryRunRequest::kEvent:
      return RunEvent(request.event(), origin, goes_on, response);
    case v1::DryRunRequest::WHAT_NOT_SET:
      break;
  }
  return error::InvalidField("send", "either send or event is required");
}

absl::Status DryRunner::RunSend(const v1::SendNotificationRequest& request, const SendOrigin& origin,
                                v1::DryRunResponse* response) {
  Violations violations("send.");
  const NewNotification prepared = PrepareSend(request, origin, deps_.catalogue, violations);
  RETURN_IF_ERROR(violations.ToStatus());
  const Notification& item = prepared.notification;
  const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(item.app, item.type);
  if (type == nullptr) return TypeIsGone("send.type");
  Tally tally;
  RETURN_IF_ERROR(Decide(item, *type, {{item.app, item.recipient}}, SentHow(*type, item), tally));
  response->set_audience_size(1);
  response->set_decided(1);
  tally.Fill(response);
  return absl::OkStatus();
}

absl::Status DryRunner::RunEvent(const v1::PublishEventRequest& request, const SendOrigin& origin,
                                 const GoesOn& goes_on, v1::DryRunResponse* response) {
  Violations violations("event.");
  const Event event = PrepareEvent(request, origin, deps_.catalogue, violations).event;
  RETURN_IF_ERROR(violations.ToStatus());
  const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(event.app, event.type);
  if (type == nullptr) return TypeIsGone("event.type");
  const absl::Cleanup leave = [this] { --events_under_way_; };
  if (++events_under_way_ > limits::kMaxDryRuns) return error::Overloaded("dry runs of events", absl::Seconds(1));

  AudienceReader audience(*deps_.events, event);
  ASSIGN_OR_RETURN(const int64_t size, audience.Measure());
  ASSIGN_OR_RETURN(const std::string window, FindHeldWindow(event, *type));
  Tally tally;
  int64_t decided = size;
  if (!window.empty()) {
    for (const Channel channel : type->channels) {
      tally.Add(channel, Outcome::kSuppress, WithinWindow(window, *type), size);
    }
  } else {
    ASSIGN_OR_RETURN(decided, DecideForAudience(event, *type, goes_on, audience, tally));
  }
  // It may have grown since it was counted.
  response->set_audience_size(std::max(size, decided));
  response->set_decided(decided);
  tally.Fill(response);
  return absl::OkStatus();
}

absl::StatusOr<std::string> DryRunner::FindHeldWindow(const Event& event, const NotificationType& type) {
  std::string key = DedupeKeyOf(event, type);
  if (key.empty()) return key;
  ASSIGN_OR_RETURN(const bool held, deps_.events->IsWindowHeld(event, key));
  return held ? key : "";
}

absl::StatusOr<int64_t> DryRunner::DecideForAudience(const Event& event, const NotificationType& type,
                                                     const GoesOn& goes_on, AudienceReader& audience, Tally& tally) {
  const Notification told = AsDelivered(event, type, {.id = event.id, .recipient = "", .seq = 0});
  int64_t decided = 0;
  while (decided < limits::kMaxDryRunRecipients) {
    RETURN_IF_ERROR(goes_on());
    ASSIGN_OR_RETURN(const std::vector<FeedKey> keys, audience.Next());
    if (keys.empty()) break;
    RETURN_IF_ERROR(Decide(told, type, keys, /*sent_how=*/"", tally));
    decided += static_cast<int64_t>(keys.size());
  }
  return decided;
}

absl::Status DryRunner::Decide(const Notification& item, const NotificationType& type, const std::vector<FeedKey>& keys,
                               const std::string& sent_how, Tally& tally) {
  std::vector<DecisionSubject> subjects;
  subjects.reserve(keys.size());
  for (const FeedKey& key : keys) {
    subjects.push_back({.item = &item, .key = key, .type = &type, .channels = item.channels});
  }
  ASSIGN_OR_RETURN(const std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kPeek));
  std::vector<Contacts> contacts(keys.size());
  if (GoesOutside(item.channels)) {
    ASSIGN_OR_RETURN(contacts, deps_.deliveries->ReadContacts(keys));
  }
  for (size_t i = 0; i < keys.size(); ++i) tally.Add(decisions[i], contacts[i], sent_how);
  return absl::OkStatus();
}

}  // namespace carillon
