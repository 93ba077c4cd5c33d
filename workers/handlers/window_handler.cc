#include "workers/handlers/window_handler.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "carillon/channels/delivery_plan.h"
#include "carillon/domain/status_macros.h"
#include "workers/handlers/feed_addition.h"

namespace carillon {
namespace {

// Nobody's in particular: whoever mutes one of its actors has kept that one out of it. A cap
// counts the window, whatever its item is called.
Notification AskedOf(const DueWindow& window) {
  Notification asked;
  asked.id = window.id;
  asked.app = window.app;
  asked.type = window.type;
  asked.recipient = window.recipient;
  asked.object_id = window.object_id;
  asked.create_time = window.due_time;
  return asked;
}

std::vector<Channel> ExternalChannels(const NotificationType& type) {
  std::vector<Channel> channels = type.channels;
  std::erase(channels, Channel::kInApp);
  return channels;
}

// What is sent: the words of the newest reaction, and what there is to say of the group.
Notification MessageOf(const DueWindow& window, const NotificationType& type, const GatheredWindow& gathered,
                       absl::Time now) {
  Notification message;
  message.id = gathered.id;
  message.app = window.app;
  message.lane = type.lane;
  message.type = window.type;
  message.recipient = window.recipient;
  message.actor_id = gathered.newest.actor_id;
  message.object_id = window.object_id;
  message.data_json = gathered.newest.data_json;
  message.channels = type.channels;
  message.retention_days = gathered.retention_days;
  message.create_time = now;
  if (type.ttl.has_value()) message.expire_time = now + *type.ttl;
  return message;
}

}  // namespace

WindowHandler::WindowHandler(const Deps& deps)
    : deps_(deps),
      ended_(deps.metrics.Counter("carillon_windows_ended_total", "Windows whose end was told of outside the feed",
                                  {{"lane", std::string(ToString(deps.lane))}})) {}

absl::Status WindowHandler::Handle(absl::Span<const DueWindow> windows) {
  ASSIGN_OR_RETURN(std::vector<Work> works, Read(windows));
  if (works.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(Decide(works));
  const std::vector<FeedAddition> shown = ShowInFeed(works);
  std::vector<WindowEnd> ends;
  for (const Work& work : works) ends.push_back(work.end);
  ASSIGN_OR_RETURN(const int ended, deps_.reactions->EndWindows(ends, [&](size_t i, const GatheredWindow& gathered) {
    const Work& work = works[i];
    const Notification message = MessageOf(*work.window, *work.type, gathered, work.decision.time);
    return PlanDeliveries(message, work.contacts, work.decision, deps_.clock.Now());
  }));
  ended_.Increment(ended);
  if (ended > 0) deps_.waker.Wake(deps_.lane);
  Announce(deps_.live, shown);
  return absl::OkStatus();
}

// Only those that there is something to tell of.
absl::StatusOr<std::vector<WindowHandler::Work>> WindowHandler::Read(absl::Span<const DueWindow> windows) {
  std::vector<std::shared_ptr<const NotificationType>> types;
  for (const DueWindow& window : windows) {
    ASSIGN_OR_RETURN(types.emplace_back(), deps_.catalogue.Get(window.app, window.type));
  }
  ASSIGN_OR_RETURN(std::vector<std::optional<GatheredWindow>> gathered, deps_.reactions->ReadWindows(windows));
  std::vector<Work> works;
  for (size_t i = 0; i < windows.size(); ++i) {
    if (!gathered[i].has_value()) continue;
    const NotificationType& type = *types[i];
    Work& work = works.emplace_back();
    work.window = &windows[i];
    work.type = types[i];
    work.gathered = *std::move(gathered[i]);
    work.asked = AskedOf(windows[i]);
    work.end = {.window = &windows[i],
                .id = work.gathered.stands ? work.gathered.id : windows[i].id,
                .retention_days = work.gathered.stands ? work.gathered.retention_days : type.retention_days,
                .lane = deps_.lane,
                .exchange = type.exchange,
                .routing_key = type.routing_key};
  }
  return works;
}

absl::Status WindowHandler::Decide(std::vector<Work>& works) {
  std::vector<DecisionSubject> subjects;
  std::vector<FeedKey> keys;
  for (const Work& work : works) {
    keys.push_back({work.window->app, work.window->recipient});
    subjects.push_back({.item = &work.asked,
                        .key = keys.back(),
                        .type = work.type.get(),
                        .channels = ExternalChannels(*work.type),
                        .not_before = work.window->due_time});
  }
  ASSIGN_OR_RETURN(std::vector<Decision> decisions, deps_.decisions.Decide(subjects, CapStore::Mode::kTake));
  ASSIGN_OR_RETURN(std::vector<Contacts> contacts, deps_.deliveries->ReadContacts(keys));
  for (size_t i = 0; i < works.size(); ++i) {
    works[i].decision = std::move(decisions[i]);
    works[i].contacts = std::move(contacts[i]);
  }
  return absl::OkStatus();
}

std::vector<FeedAddition> WindowHandler::ShowInFeed(std::vector<Work>& works) {
  std::vector<FeedAddition> shown;
  // So that those who point into it stay right.
  shown.reserve(works.size());
  for (Work& work : works) {
    if (work.gathered.stands || absl::c_linear_search(work.type->channels, Channel::kInApp)) continue;
    if (!IsShown(work.decision)) continue;
    GatheredWindow gathered = work.gathered;
    gathered.id = work.end.id;
    gathered.retention_days = work.end.retention_days;
    const Notification message = MessageOf(*work.window, *work.type, gathered, work.decision.time);
    work.end.shown = &shown.emplace_back(AdditionOf(message, *work.type));
  }
  return shown;
}

}  // namespace carillon
