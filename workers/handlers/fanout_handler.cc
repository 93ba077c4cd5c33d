#include "workers/handlers/fanout_handler.h"

#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/channels/event_messages.h"
#include "carillon/channels/in_app_template.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/feed_event.h"

namespace carillon {
namespace {

constexpr std::string FeedItem::*kTexts[] = {
    &FeedItem::title,     &FeedItem::body,        &FeedItem::actor_name, &FeedItem::actor_picture_url,
    &FeedItem::image_url, &FeedItem::action_link, &FeedItem::badge};

// The rule that keeps it from a feed, in words that are the same for many; empty: it was
// not meant for feeds.
std::string KeptFromFeedBy(const Decision& decision) {
  for (const ChannelDecision& channel : decision.channels) {
    if (channel.channel == Channel::kInApp) return SharedReasonOf(decision, channel);
  }
  return "";
}

// Rendered once, with the event's id, which nobody else's text holds, in place of
// each recipient's.
PageItems RenderItems(const Event& event, const InAppTemplate& in_app) {
  PageItems items;
  const std::string placeholder = event.id.ToString();
  items.item = RenderFeedItem(AsNotification(event, placeholder), in_app);
  for (const auto text : kTexts) {
    if (absl::StrContains(items.item.*text, placeholder)) items.placeholder = placeholder;
  }
  return items;
}

FeedItem ItemFor(const PageItems& items, const WrittenItem& written) {
  FeedItem item = items.item;
  item.id = written.id;
  item.seq = written.seq;
  if (items.placeholder.empty()) return item;
  for (const auto text : kTexts) item.*text = absl::StrReplaceAll(item.*text, {{items.placeholder, written.recipient}});
  return item;
}

// A list of users is short and may be anybody: it is always told one by one. So is
// what leaves for external channels, where everybody has a delivery of their own.
bool MayBeShared(const Event& event, const NotificationType& type) {
  return event.audience.kind != AudienceKind::kUsers && !GoesOutside(type.channels);
}

}  // namespace

std::vector<EventRange> CutIntoRanges(absl::Span<const std::string> cuts, int max_ranges) {
  const size_t count = std::clamp<size_t>(cuts.size(), 1, max_ranges);
  std::vector<EventRange> ranges;
  std::string after;
  for (size_t i = 1; i < count; ++i) {
    const std::string& last = cuts[i * cuts.size() / count - 1];
    ranges.push_back({.shard = static_cast<int>(i - 1), .after = after, .last_id = last});
    after = last;
  }
  ranges.push_back({.shard = static_cast<int>(count - 1), .after = after, .last_id = std::nullopt});
  return ranges;
}

FanoutHandler::FanoutHandler(const Deps& deps)
    : deps_(deps),
      pages_(deps.metrics.Counter("carillon_fanout_pages_total", "Pages of events' audiences that were told", {})),
      repeated_(deps.metrics.Counter("carillon_fanout_idle_pages_total",
                                     "Page messages with nothing to do: told before, paused or ended", {})),
      items_(deps.metrics.Counter("carillon_fanout_items_total", "Feed items written for events", {})),
      shared_(deps.metrics.Counter("carillon_shared_events_total", "Events stored once for their audience", {})),
      suppressed_(deps.metrics.Counter("carillon_suppressed_events_total", "Events within another's window", {})),
      wake_failures_(deps.metrics.Counter("carillon_wake_failures_total",
                                          "Wake-ups that Redis did not take; the sweep finds the items",
                                          {{"lane", "fanout"}})),
      end_to_end_(deps.metrics, deps.catalogue, Lane::kFanout) {}

absl::StatusOr<std::vector<FailedItem>> FanoutHandler::Handle(const Batch& batch) {
  std::vector<FailedItem> failures;
  std::set<size_t> strangers(batch.sources.begin(), batch.sources.end());
  strangers.insert(batch.reaction_sources.begin(), batch.reaction_sources.end());
  for (const size_t source : strangers) {
    failures.push_back(
        {&batch.messages[source], nullptr, absl::InvalidArgumentError("the lane fanout takes events' pages only")});
  }
  for (size_t i = 0; i < batch.pages.size(); ++i) {
    const absl::Status status = HandlePage(batch.pages[i]);
    if (status.ok()) continue;
    if (IsInfrastructureFailure(status)) return status;
    failures.push_back({&batch.messages[batch.page_sources[i]], nullptr, status});
  }
  return failures;
}

absl::Status FanoutHandler::HandlePage(const FanoutPage& page) {
  const absl::StatusOr<OpenPage> open = deps_.events->Open(page);
  // Forgotten long after it ended.
  if (absl::IsNotFound(open.status())) return absl::OkStatus();
  RETURN_IF_ERROR(open.status());
  const Event& event = open->record.event;
  const EventState state = open->record.state;
  if (!open->range.has_value() || (state != EventState::kAccepted && state != EventState::kExpanding)) {
    repeated_.Increment();
    // Who wrote the last page may have died before it ended the event.
    return state == EventState::kExpanding ? deps_.events->FinishIfDone(event.id) : absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<const NotificationType> type, deps_.catalogue.Get(event.app, event.type));
  PageItems items = RenderItems(event, type->in_app);
  if (state == EventState::kExpanding) return WriteNext(event, *open->range, *type, std::move(items));
  ASSIGN_OR_RETURN(const std::optional<EventRange> first, Plan(*open, items, *type));
  return first.has_value() ? WriteNext(event, *first, *type, std::move(items)) : absl::OkStatus();
}

// Every step may be repeated: a worker that dies in between leaves the event
// accepted, and its message comes again.
absl::StatusOr<std::optional<EventRange>> FanoutHandler::Plan(const OpenPage& open, const PageItems& items,
                                                              const NotificationType& type) {
  const Event& event = open.record.event;
  ASSIGN_OR_RETURN(const bool goes_on, TakeWindow(event, type));
  if (!goes_on) return std::nullopt;
  if (event.audience.kind == AudienceKind::kTopic) RETURN_IF_ERROR(ShowInTopicFeed(event, items));
  const int64_t threshold =
      MayBeShared(event, type) ? open.shared_audience_threshold : std::numeric_limits<int64_t>::max();
  ASSIGN_OR_RETURN(const EventStore::Measure audience,
                   deps_.events->MeasureAudience(event, limits::kMinShardMembers, threshold));
  if (audience.size > threshold) {
    RETURN_IF_ERROR(deps_.events->StoreShared(event, audience.size, items));
    shared_.Increment();
    // After the commit, and only a hint, as all wake-ups.
    if (!deps_.live.PublishSharedEvent(event.app).ok()) wake_failures_.Increment();
    log::Info("event.shared", {{"event_id", event.id.ToString()}, {"audience", audience.size}});
    return std::nullopt;
  }
  const std::vector<EventRange> ranges = CutIntoRanges(audience.cuts, limits::kMaxShards);
  RETURN_IF_ERROR(deps_.events->BeginExpanding(event, audience.size, ranges));
  if (ranges.size() > 1) deps_.waker.Wake(Lane::kFanout);
  log::Debug("event.expanding",
             {{"event_id", event.id.ToString()}, {"audience", audience.size}, {"ranges", ranges.size()}});
  return ranges.front();
}

absl::StatusOr<bool> FanoutHandler::TakeWindow(const Event& event, const NotificationType& type) {
  const std::string key = DedupeKeyOf(event, type);
  if (key.empty()) return true;
  ASSIGN_OR_RETURN(const bool taken, deps_.events->TakeWindow(event, key, type.dedupe_window));
  if (taken) return true;
  suppressed_.Increment();
  RETURN_IF_ERROR(deps_.events->Suppress(event.id, WithinWindow(key, type)));
  return false;
}

absl::Status FanoutHandler::ShowInTopicFeed(const Event& event, const PageItems& items) {
  WrittenItem shown{.id = event.id, .recipient = "", .seq = 0};
  const FeedItem item = ItemFor(items, shown);
  ASSIGN_OR_RETURN(shown.seq, deps_.events->AddToTopicFeed(event, item));
  if (shown.seq == 0) return absl::OkStatus();
  shown.recipient = TopicFeedKey(event.app, event.audience.id).recipient.value();
  PageItems public_items;
  public_items.item = item;
  WakeStreams(event, public_items, {shown});
  return absl::OkStatus();
}

absl::Status FanoutHandler::Decide(const Event& event, const NotificationType& type, std::vector<std::string> members,
                                   PageItems& items, EventStore::PageWrite& write) {
  const Notification told = AsDelivered(event, type, {.id = event.id, .recipient = "", .seq = 0});
  std::vector<DecisionSubject> subjects;
  std::vector<FeedKey> keys;
  for (const std::string& member : members) {
    keys.push_back({event.app, RecipientId(member)});
    subjects.push_back({.item = &told, .key = keys.back(), .type = &type, .channels = type.channels});
  }
  ASSIGN_OR_RETURN(std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kTake));
  const bool goes_outside = GoesOutside(type.channels);
  const absl::Time now = deps_.clock.Now();
  for (size_t i = 0; i < members.size(); ++i) {
    if (IsShown(decisions[i])) {
      items.ids.push_back(NewUuid7(now));
      items.recipients.push_back(members[i]);
      continue;
    }
    const std::string reason = KeptFromFeedBy(decisions[i]);
    if (!reason.empty()) ++write.suppressed[reason];
    if (goes_outside) write.unshown.push_back({.id = NewUuid7(now), .recipient = members[i], .seq = 0});
  }
  if (!goes_outside || members.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(std::vector<Contacts> contacts, deps_.deliveries->ReadContacts(keys));
  struct Known {
    Contacts contacts;
    Decision decision;
  };
  absl::flat_hash_map<std::string, Known> known;
  for (size_t i = 0; i < members.size(); ++i) {
    known.emplace(std::move(members[i]), Known{std::move(contacts[i]), std::move(decisions[i])});
  }
  write.begin_deliveries = [this, &event, &type, known = std::move(known)](absl::Span<const WrittenItem> written) {
    std::vector<std::vector<NewDelivery>> deliveries;
    for (const WrittenItem& item : written) {
      const Known& of = known.at(item.recipient);
      deliveries.push_back(PlanDeliveries(AsDelivered(event, type, item), of.contacts, of.decision, deps_.clock.Now()));
    }
    return deliveries;
  };
  return absl::OkStatus();
}

absl::Status FanoutHandler::WriteNext(const Event& event, const EventRange& range, const NotificationType& type,
                                      PageItems items) {
  ASSIGN_OR_RETURN(std::vector<std::string> members, deps_.events->Members(event, range, deps_.page));
  EventStore::PageWrite write{
      .page = {.app = event.app, .event_id = event.id, .type = event.type, .shard = range.shard, .cursor = range.after},
      .new_cursor = members.empty() ? range.after : members.back(),
      .read = static_cast<int64_t>(members.size()),
      .is_last = members.size() < static_cast<size_t>(deps_.page),
      .unshown = {},
      .suppressed = {},
      .exchange = type.exchange,
      .routing_key = type.routing_key,
      .begin_deliveries = nullptr};
  RETURN_IF_ERROR(Decide(event, type, std::move(members), items, write));
  ASSIGN_OR_RETURN(const std::vector<WrittenItem> written, deps_.events->WritePage(event, write, items));
  if (write.begin_deliveries != nullptr) deps_.waker.Wake(event.lane);
  if (!write.is_last) deps_.waker.Wake(Lane::kFanout);
  pages_.Increment();
  items_.Increment(static_cast<double>(written.size()));
  const absl::Time now = deps_.clock.Now();
  for (size_t i = 0; i < written.size(); ++i) end_to_end_.Observe(event.app, event.create_time, now);
  WakeStreams(event, items, written);
  return write.is_last ? deps_.events->FinishIfDone(event.id) : absl::OkStatus();
}

void FanoutHandler::WakeStreams(const Event& event, const PageItems& items, absl::Span<const WrittenItem> written) {
  if (written.empty()) return;
  std::vector<FeedKey> keys;
  keys.reserve(written.size());
  for (const WrittenItem& one : written) keys.push_back({event.app, RecipientId(one.recipient)});
  const auto payload_of = [&](size_t i) { return EncodeLiveUpdate({ItemFor(items, written[i])}); };
  if (!deps_.live.Publish(keys, payload_of).ok()) wake_failures_.Increment(static_cast<double>(keys.size()));
}

}  // namespace carillon
