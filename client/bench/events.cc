#include "client/bench/events.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/domain/status_macros.h"
#include "client/bench/error_counts.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

// Of a change of the catalogue, as ApplyTypes promises, and a little.
constexpr absl::Duration kCatalogueTime = absl::Seconds(6);
constexpr absl::Duration kLookInterval = absl::Milliseconds(20);
constexpr int kTypesPage = 1'000;

v1::Type EventType() {
  v1::Type type;
  type.set_name(kEventType);
  type.set_weight(v1::WEIGHT_SOCIAL);
  type.set_routing_key("social.bench");
  type.add_channels(v1::CHANNEL_IN_APP);
  v1::InAppTemplate& in_app = *type.mutable_in_app();
  in_app.set_title("{{data.actor_name}} is live");
  in_app.set_body("{{data.title}}");
  in_app.set_actor_name("{{data.actor_name}}");
  in_app.set_action_link("/live/{{object_id}}");
  in_app.set_badge("live");
  return type;
}

absl::StatusOr<bool> HasEventType(Client& client) {
  v1::ListTypesRequest request;
  request.set_page_size(kTypesPage);
  do {
    ASSIGN_OR_RETURN(const v1::ListTypesResponse page, client.ListTypes(request));
    for (const v1::Type& type : page.types()) {
      if (type.name() == kEventType) return true;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return false;
}

bool IsEnd(v1::EventState state) {
  return state == v1::EVENT_STATE_DONE || state == v1::EVENT_STATE_CANCELLED || state == v1::EVENT_STATE_SUPPRESSED;
}

}  // namespace

absl::Status ApplyEventType(Client& client) {
  ASSIGN_OR_RETURN(const bool known, HasEventType(client));
  if (known) return absl::OkStatus();
  v1::ApplyTypesRequest request;
  *request.add_types() = EventType();
  if (const auto applied = client.ApplyTypes(request); !applied.ok()) return applied.status();
  absl::SleepFor(kCatalogueTime);
  return absl::OkStatus();
}

v1::PublishEventRequest EventAbout(const std::string& object_id) {
  v1::PublishEventRequest request;
  request.set_type(kEventType);
  request.set_actor_id(absl::StrCat("actor-of-", object_id));
  request.set_object_id(object_id);
  request.set_idempotency_key(object_id);
  auto& data = *request.mutable_data()->mutable_fields();
  data["actor_name"].set_string_value("Ada Lovelace");
  data["title"].set_string_value("Bells, live");
  return request;
}

absl::Status SharedThreshold::Set(int64_t threshold) {
  if (!before_.has_value()) {
    ASSIGN_OR_RETURN(before_, Update(std::nullopt));
  }
  return Update(threshold).status();
}

absl::Status SharedThreshold::Restore() {
  if (!before_.has_value()) return absl::OkStatus();
  const absl::Status status = Update(before_).status();
  if (status.ok()) before_.reset();
  return status;
}

absl::StatusOr<int64_t> SharedThreshold::Update(std::optional<int64_t> threshold) {
  v1::UpdateAppRequest request;
  request.set_app_key(app_key_);
  if (threshold.has_value()) request.mutable_shared_audience_threshold()->set_value(*threshold);
  ASSIGN_OR_RETURN(const v1::UpdateAppResponse response, client_.UpdateApp(request));
  return response.app().shared_audience_threshold();
}

absl::StatusOr<EventTrack> Publish(Client& client, const v1::PublishEventRequest& request) {
  ASSIGN_OR_RETURN(v1::PublishEventResponse response, client.PublishEvent(request));
  EventTrack track{.event_id = response.event().event_id(),
                   .object_id = request.object_id(),
                   .published = MonotonicNow(),
                   .last = std::move(*response.mutable_event())};
  return track;
}

absl::Status Look(Client& client, EventTrack& track) {
  v1::GetEventRequest request;
  request.set_event_id(track.event_id);
  absl::StatusOr<v1::GetEventResponse> response = client.GetEvent(request);
  if (!response.ok()) return IsTransient(response.status()) ? absl::OkStatus() : response.status();
  track.last = std::move(*response->mutable_event());
  track.samples.push_back({MonotonicNow(), track.last.expanded()});
  if (IsEnd(track.last.state()) && !track.has_ended()) track.ended = track.samples.back().moment;
  return absl::OkStatus();
}

absl::Status WaitForEnd(Client& client, EventTrack& track, absl::Duration timeout) {
  const absl::Duration deadline = MonotonicNow() + timeout;
  while (true) {
    RETURN_IF_ERROR(Look(client, track));
    if (track.has_ended()) return absl::OkStatus();
    if (MonotonicNow() > deadline) {
      return absl::DeadlineExceededError(absl::StrCat("the event ", track.event_id, " stands at ",
                                                      track.last.expanded(), " of ", track.last.audience_size()));
    }
    absl::SleepFor(kLookInterval);
  }
}

double LeastShareAtFirstEnd(absl::Span<const EventTrack> tracks) {
  absl::Duration first = absl::InfiniteDuration();
  for (const EventTrack& track : tracks) {
    if (track.has_ended()) first = std::min(first, track.ended);
  }
  double least = 1;
  for (const EventTrack& track : tracks) {
    int64_t expanded = 0;
    for (const ProgressSample& sample : track.samples) {
      if (sample.moment <= first) expanded = std::max(expanded, sample.expanded);
    }
    const auto size = static_cast<double>(std::max<int64_t>(track.last.audience_size(), 1));
    if (track.ended != first) least = std::min(least, static_cast<double>(expanded) / size);
  }
  return least;
}

absl::Duration LongestPause(const EventTrack& track) {
  absl::Duration moved = track.published;
  absl::Duration longest;
  int64_t expanded = 0;
  for (const ProgressSample& sample : track.samples) {
    if (track.has_ended() && sample.moment > track.ended) break;
    longest = std::max(longest, sample.moment - moved);
    if (sample.expanded == expanded && sample.moment != track.ended) continue;
    moved = sample.moment;
    expanded = sample.expanded;
  }
  return longest;
}

}  // namespace carillon::bench
