#include "server/api/explain.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "server/api/delivery_view.h"
#include "server/api/explain_steps.h"
#include "server/api/send_request.h"
#include "server/api/timestamps.h"

namespace carillon {
namespace {

absl::TimeZone ZoneOf(const std::string& name) {
  absl::TimeZone zone = absl::UTCTimeZone();
  return !name.empty() && absl::LoadTimeZone(name, &zone) ? zone : absl::UTCTimeZone();
}

// The item of a group that a notification became a part of.
std::optional<Uuid> GroupOf(const NotificationRecord& record) {
  if (record.state != State::kDelivered) return std::nullopt;
  const std::vector<std::string> words = absl::StrSplit(record.detail, ' ');
  return Uuid::Parse(words.back());
}

// What a call made of the message: the last that failed, what became of the delivery.
absl::string_view OutcomeOf(const DeliveryAttempt& attempt, const DeliveryRecord& record) {
  if (attempt.outcome == AttemptOutcome::kAccepted) return "sent";
  const bool ended = &attempt == &record.attempts.back() && IsTerminal(record.state);
  return ended ? ToString(record.state) : "retried";
}

std::string Words(const DeliveryAttempt& attempt) {
  std::string text = absl::StrCat(attempt.provider, ": ", ToString(attempt.outcome));
  for (const std::string* said : {&attempt.code, &attempt.error}) {
    if (!said->empty()) absl::StrAppend(&text, ", ", *said);
  }
  if (!attempt.provider_message_id.empty()) absl::StrAppend(&text, ", as ", attempt.provider_message_id);
  return absl::StrCat(text, ", ", absl::ToInt64Milliseconds(attempt.latency), " ms");
}

void AddDeadLetter(const DeadLetterFacts& letter, ExplainedSteps* steps) {
  std::string text = absl::StrCat(letter.queue, ": ", letter.reason);
  if (!letter.error.empty()) absl::StrAppend(&text, ": ", letter.error);
  const bool moot = letter.state == "moot";
  if (moot) absl::StrAppend(&text, "; it had ended otherwise by then");
  AddStep(letter.dead_time, "dead_letter", moot ? "passed" : letter.state, text, steps);
}

// One delivery.
class DeliveryStory {
 public:
  DeliveryStory(const StoredStory& story, const DeliveryRecord& record, const DeliveryFacts& facts, absl::TimeZone zone,
                v1::ExplainedChannel* out)
      : story_(story), record_(record), facts_(facts), zone_(zone), out_(out), steps_(out->mutable_steps()) {}

  void Tell() {
    out_->set_channel(static_cast<v1::Channel>(record_.channel));
    out_->set_device_id(record_.device_id);
    out_->set_outcome(OutcomeWord());
    if (IsUnreachable()) AddStep(record_.create_time, "contact", "suppressed", record_.detail, steps_);
    AddDecisions(facts_.trail, story_.critical, record_.create_time, zone_, steps_);
    if (facts_.digest.has_value()) AddDigest(*facts_.digest);
    if (facts_.wait_cause == "hold") AddWait();
    for (const DeliveryAttempt& attempt : record_.attempts) {
      AddStep(attempt.time, "provider", OutcomeOf(attempt, record_), Words(attempt), steps_);
    }
    if (facts_.wait_cause != "hold") AddWait();
    AddEnd();
    const std::string id = record_.id.ToString();
    for (const DeadLetterFacts& letter : story_.facts.dead_letters) {
      if (letter.message_id == id) AddDeadLetter(letter, steps_);
    }
  }

 private:
  bool IsUnreachable() const {
    return record_.state == DeliveryState::kSuppressed && record_.detail == WhyUnreachable(record_.channel);
  }
  bool IsCancelled() const { return absl::StartsWith(record_.detail, "cancelled"); }

  std::string OutcomeWord() const {
    const Outcome last = LastOutcome(facts_.trail);
    if (record_.state == DeliveryState::kSuppressed && !IsUnreachable()) {
      if (last == Outcome::kInAppOnly) return "in_app_only";
      if (IsCancelled()) return "cancelled";
    }
    if (record_.state == DeliveryState::kHeld && facts_.digest.has_value()) return "digest";
    return std::string(ToString(record_.state));
  }

  void AddDigest(const DigestFacts& digest) {
    const std::string text = digest.due_time.has_value() ? absl::StrCat("it is sent with the digest of ",
                                                                        LocalTimeText(*digest.due_time, zone_))
                                                         : "its digest is being sent";
    v1::ExplainedStep& step = AddStep(std::nullopt, "digest", "digest", text, steps_);
    step.set_group_id(digest.id.ToString());
    if (digest.due_time.has_value()) *step.mutable_until() = ToTimestamp(*digest.due_time);
  }

  void AddWait() {
    if (!record_.hold_until.has_value() || facts_.wait_cause.empty()) return;
    const bool by_rule = facts_.wait_cause == "hold";
    const bool for_receipt = facts_.wait_cause == "receipt" || facts_.wait_cause == "resend";
    const std::string text =
        absl::StrCat(by_rule ? "it is decided on again at " : record_.detail, by_rule ? "" : ", until ",
                     LocalTimeText(*record_.hold_until, zone_), by_rule ? "" : " at the latest");
    v1::ExplainedStep& step = AddStep(std::nullopt,
                                      by_rule       ? "hold"
                                      : for_receipt ? "receipt"
                                                    : "provider",
                                      "held", text, steps_);
    *step.mutable_until() = ToTimestamp(*record_.hold_until);
  }

  // Of those whose end no other step says.
  void AddEnd() {
    const Outcome last = LastOutcome(facts_.trail);
    switch (record_.state) {
      case DeliveryState::kDelivered:
        AddStep(std::nullopt, "receipt", "delivered", "a receipt says that it arrived", steps_);
        return;
      case DeliveryState::kUndelivered:
        AddStep(std::nullopt, "receipt", "undelivered", record_.detail, steps_);
        return;
      case DeliveryState::kExpired:
        if (last != Outcome::kExpire) AddStep(record_.finish_time, "expiry", "expired", record_.detail, steps_);
        return;
      case DeliveryState::kSuppressed:
        return AddSuppression(last);
      case DeliveryState::kDead:
        if (record_.attempts.empty()) AddStep(record_.finish_time, "provider", "dead", record_.detail, steps_);
        return;
      case DeliveryState::kSent:
        return AddDigestItWasIn();
      case DeliveryState::kPending:
      case DeliveryState::kHeld:
        return;
    }
  }

  // A digest that was sent has no entries any more: what it became is in the words.
  void AddDigestItWasIn() {
    absl::string_view notification = record_.detail;
    if (facts_.digest.has_value() || !absl::ConsumePrefix(&notification, "in digest ")) return;
    AddStep(record_.finish_time, "digest", "sent", absl::StrCat("it was sent with notification ", notification), steps_)
        .set_group_id(std::string(notification));
  }

  void AddSuppression(Outcome last) {
    if (IsUnreachable() || last == Outcome::kSuppress || last == Outcome::kInAppOnly) return;
    if (IsCancelled()) {
      AddStep(record_.finish_time, "cancellation", "cancelled", record_.detail, steps_);
    } else if (record_.attempts.empty()) {
      AddStep(record_.finish_time, "contact", "suppressed", record_.detail, steps_);
    }
  }

  const StoredStory& story_;
  const DeliveryRecord& record_;
  const DeliveryFacts& facts_;
  const absl::TimeZone zone_;
  v1::ExplainedChannel* const out_;
  ExplainedSteps* const steps_;
};

class Story {
 public:
  Story(const StoredStory& story, v1::ExplainNotificationResponse* response)
      : story_(story), record_(story.record), zone_(ZoneOf(story.facts.time_zone)), response_(response) {}

  void Tell() {
    response_->set_time_zone(story_.facts.time_zone);
    TellBeginning();
    if (HasFeedPart()) TellFeed();
    std::vector<Channel> told = {Channel::kInApp};
    for (const Channel channel : record_.notification.channels) {
      if (absl::c_linear_search(told, channel)) continue;
      told.push_back(channel);
      if (!TellDeliveries([&](Channel of) { return of == channel; })) TellWithoutDelivery(channel);
    }
    // Events' records name the feed alone.
    TellDeliveries([&](Channel of) { return !absl::c_linear_search(told, of); });
  }

 private:
  void TellBeginning() {
    ExplainedSteps* const steps = response_->mutable_steps();
    AddStep(record_.notification.create_time, "door", "passed", DoorText(), steps);
    if (record_.notification.send_time.has_value()) TellSchedule(*record_.notification.send_time, steps);
    for (const HistoryEntry& failed : record_.history) {
      AddStep(failed.time, "attempt", "retried", absl::StrCat("attempt ", failed.attempt, " failed: ", failed.detail),
              steps);
    }
    if (record_.state == State::kCancelled) {
      AddStep(record_.finish_time, "cancellation", "cancelled", record_.detail, steps);
    }
    for (const DeadLetterFacts& letter : story_.facts.dead_letters) {
      if (!IsOfDelivery(letter)) AddDeadLetter(letter, steps);
    }
  }

  void TellSchedule(absl::Time send_time, ExplainedSteps* steps) {
    const bool released = record_.release_time.has_value();
    AddStep(record_.release_time, "schedule", released ? "passed" : "held",
            absl::StrCat(released ? "its send_time had come: " : "it waits for its send_time: ",
                         LocalTimeText(send_time, zone_)),
            steps);
    if (!released) *steps->rbegin()->mutable_until() = ToTimestamp(send_time);
  }

  std::string DoorText() const {
    if (!story_.facts.came_by_door)
      return "told by an event or by reactions: what is kept is the item and its deliveries";
    std::string text = "accepted";
    if (record_.idempotency_key.empty()) {
      absl::StrAppend(&text, " without an idempotency key");
    } else {
      absl::StrAppend(&text, ", the first with the key \"", record_.idempotency_key,
                      "\": repeats within 24 h are answered with it");
    }
    const std::optional<absl::Time>& end = record_.notification.expire_time;
    return absl::StrCat(text,
                        end.has_value() ? absl::StrCat("; its ttl ends ", LocalTimeText(*end, zone_)) : "; no ttl");
  }

  bool IsOfDelivery(const DeadLetterFacts& letter) const {
    return absl::c_any_of(story_.deliveries,
                          [&](const DeliveryRecord& delivery) { return delivery.id.ToString() == letter.message_id; });
  }

  // It was meant for the feed, or came there in place of another channel.
  bool HasFeedPart() const {
    const std::vector<Channel>& channels = record_.notification.channels;
    return channels.empty() || absl::c_linear_search(channels, Channel::kInApp) || story_.facts.seq > 0 ||
           !story_.facts.trail.empty();
  }

  // When the feed and the deliveries were written: together.
  std::optional<absl::Time> DecideTime() const {
    if (!story_.deliveries.empty()) return story_.deliveries.front().create_time;
    return record_.finish_time;
  }

  void TellFeed() {
    const Outcome last = LastOutcome(story_.facts.trail);
    const bool stopped = last == Outcome::kSuppress || last == Outcome::kExpire;
    const bool never_decided = story_.facts.seq == 0 && story_.deliveries.empty() && record_.state != State::kDelivered;
    if (!stopped && (never_decided || GroupOf(record_).has_value())) return TellWithoutDelivery(Channel::kInApp);
    v1::ExplainedChannel& out = AddChannel(Channel::kInApp);
    AddDecisions(story_.facts.trail, story_.critical, DecideTime(), zone_, out.mutable_steps());
    out.set_outcome(last == Outcome::kSuppress ? "suppressed" : last == Outcome::kExpire ? "expired" : "delivered");
    if (story_.facts.seq > 0) return TellItem(&out);
    if (!stopped) AddStep(std::nullopt, "feed", "sent", "its item has left the feed", out.mutable_steps());
  }

  void TellItem(v1::ExplainedChannel* out) {
    out->set_outcome("delivered");
    std::string text = absl::StrCat("item ", story_.facts.seq, " of the feed");
    if (story_.facts.actor_count > 0) absl::StrAppend(&text, ", which tells of ", story_.facts.actor_count, " actors");
    v1::ExplainedStep& step = AddStep(DecideTime(), "feed", "sent", text, out->mutable_steps());
    if (story_.facts.actor_count > 0) step.set_group_id(record_.notification.id.ToString());
  }

  template <typename Filter>
  bool TellDeliveries(const Filter& is_asked_for) {
    bool any = false;
    for (const DeliveryRecord& delivery : story_.deliveries) {
      if (!is_asked_for(delivery.channel)) continue;
      static const DeliveryFacts* const none = new DeliveryFacts();
      const auto facts = story_.facts.deliveries.find(delivery.id);
      const DeliveryFacts& known = facts == story_.facts.deliveries.end() ? *none : facts->second;
      DeliveryStory(story_, delivery, known, zone_, response_->add_channels()).Tell();
      any = true;
    }
    return any;
  }

  // On a channel on which nothing began.
  void TellWithoutDelivery(Channel channel) {
    v1::ExplainedChannel& out = AddChannel(channel);
    const std::vector<TrailEntry>& trail = story_.facts.trail;
    if (channel == Channel::kInApp && !trail.empty()) {
      AddDecisions(trail, story_.critical, std::nullopt, zone_, out.mutable_steps());
    }
    const auto tell = [&](absl::string_view outcome, absl::string_view gate, absl::string_view detail) {
      out.set_outcome(std::string(outcome));
      return &AddStep(record_.finish_time, gate, outcome, detail, out.mutable_steps());
    };
    const std::string state(ToString(record_.state));
    if (const std::optional<Uuid> group = GroupOf(record_)) {
      tell("aggregated", "aggregation", record_.detail)->set_group_id(group->ToString());
    } else if (!IsTerminal(record_.state)) {
      tell("undecided", "decision", absl::StrCat("it is not decided yet: it is ", state));
    } else if (record_.state == State::kCancelled) {
      tell(state, "cancellation", "it was cancelled before it was decided");
    } else if (record_.state == State::kDead) {
      tell(state, "dead_letter", record_.detail);
    } else {
      tell(state, record_.state == State::kExpired ? "expiry" : "decision", record_.detail);
    }
  }

  v1::ExplainedChannel& AddChannel(Channel channel) {
    v1::ExplainedChannel& out = *response_->add_channels();
    out.set_channel(static_cast<v1::Channel>(channel));
    return out;
  }

  const StoredStory& story_;
  const NotificationRecord& record_;
  const absl::TimeZone zone_;
  v1::ExplainNotificationResponse* const response_;
};

}  // namespace

absl::Status Explainer::Explain(AppId app, const v1::ExplainNotificationRequest& request,
                                v1::ExplainNotificationResponse* response) const {
  const std::optional<Uuid> id = Uuid::Parse(request.notification_id());
  if (!id.has_value()) return error::InvalidField("notification_id", "must be a UUID");
  ASSIGN_OR_RETURN(const NotificationRecord record, deps_.store->Get(app, *id));
  ASSIGN_OR_RETURN(const std::vector<DeliveryRecord> deliveries, deps_.deliveries->List(app, *id));
  ASSIGN_OR_RETURN(const NotificationFacts facts, deps_.facts->Read({app, record.notification.recipient}, *id));
  v1::Notification* const shown = response->mutable_notification();
  ToProto(record, shown);
  AddTimeline(record, shown);
  for (const DeliveryRecord& delivery : deliveries) ToProto(delivery, shown->add_deliveries());
  const std::shared_ptr<const NotificationType> type = deps_.catalogue.Find(app, record.notification.type);
  FillExplanation(
      {.record = record, .deliveries = deliveries, .facts = facts, .critical = type != nullptr && type->critical},
      response);
  return absl::OkStatus();
}

void FillExplanation(const StoredStory& story, v1::ExplainNotificationResponse* response) {
  Story(story, response).Tell();
}

}  // namespace carillon
