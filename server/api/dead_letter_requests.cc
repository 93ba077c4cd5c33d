#include "server/api/dead_letter_requests.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/topology.h"
#include "server/api/dead_letter_view.h"
#include "server/api/page_token.h"

namespace carillon {
namespace {

constexpr const char* kAnyApp = "*";
constexpr int64_t kMaxAgeSeconds = 10LL * 366 * 24 * 60 * 60;
constexpr int kDefaultRate = 100;
constexpr int kDefaultStopAfter = 20;
constexpr int kDefaultMaxReplays = 5;
// So that a page stays within the 4 MiB that a client takes.
constexpr int kMaxPayloads = 50;
constexpr size_t kMaxListedPayloadBytes = 48 * 1024;
constexpr size_t kMaxShownPayloadBytes = 1024 * 1024;

void CheckWho(const std::string& operator_name, const std::string& reason, bool required, Violations& violations) {
  violations.CheckText("operator", operator_name, /*required=*/false, limits::kMaxOperatorBytes);
  violations.CheckText("reason", reason, required, limits::kMaxReasonBytes);
}

void CheckRange(absl::string_view field, int64_t value, int64_t least, int64_t most, Violations& violations) {
  if (value < least || value > most) violations.Add(field, absl::StrCat("must be ", least, " to ", most));
}

int OrDefault(int value, int otherwise) { return value == 0 ? otherwise : value; }

// An age; absent if none is given.
template <typename Message>
std::optional<absl::Duration> CheckAge(absl::string_view field, bool has, const Message& age, Violations& violations) {
  if (!has) return std::nullopt;
  const bool is_fine =
      age.seconds() >= 0 && age.seconds() <= kMaxAgeSeconds && age.nanos() >= 0 && age.nanos() < 1'000'000'000;
  if (!is_fine) {
    violations.Add(field, "must be 0 to 10 years");
    return std::nullopt;
  }
  return absl::Seconds(age.seconds()) + absl::Nanoseconds(age.nanos());
}

void CheckIds(const v1::DeadLetterFilter& filter, DeadLetterFilter& out, Violations& violations) {
  if (filter.dead_letter_ids_size() > static_cast<int>(limits::kMaxDeadLetterIds)) {
    return violations.Add("filter.dead_letter_ids", absl::StrCat("must be at most ", limits::kMaxDeadLetterIds));
  }
  for (int i = 0; i < filter.dead_letter_ids_size(); ++i) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(filter.dead_letter_ids(i), &id) || id <= 0) {
      violations.Add(absl::StrCat("filter.dead_letter_ids[", i, "]"), "must be the id of a dead letter");
    }
    out.ids.push_back(id);
  }
}

// What no letter can meet is a slip of the hand, and not an answer of 0. A queue that nobody
// knows, or a type, may have been known when its letters died.
void CheckContradictions(const v1::DeadLetterFilter& filter, const DeadLetterFilter& out, Violations& violations) {
  if (out.newer_than == absl::ZeroDuration()) violations.Add("filter.newer_than", "must be more than 0 s");
  if (out.older_than.has_value() && out.newer_than.has_value() && *out.older_than >= *out.newer_than) {
    violations.Add("filter.older_than", "must be less than filter.newer_than");
  }
  const std::optional<Lane> lane = ParseLane(filter.lane());
  const std::optional<Lane> of_queue = LaneOfQueue(filter.queue());
  const bool is_known = of_queue.has_value() || filter.queue() == kUnroutedQueue;
  if (lane.has_value() && is_known && of_queue != lane) {
    violations.Add("filter.lane",
                   absl::StrCat("must be that of filter.queue: ", of_queue.has_value() ? ToString(*of_queue) : "none"));
  }
}

void CheckFilterTexts(const v1::DeadLetterFilter& filter, Violations& violations) {
  violations.CheckText("filter.app_key", filter.app_key(), /*required=*/false, limits::kMaxAppNameBytes);
  violations.CheckId("filter.queue", filter.queue(), /*required=*/false);
  violations.CheckText("filter.type", filter.type(), /*required=*/false, limits::kMaxTypeNameBytes);
  violations.CheckText("filter.error", filter.error(), /*required=*/false, limits::kMaxReasonBytes);
  violations.CheckText("filter.error_kind", filter.error_kind(), /*required=*/false, limits::kMaxReasonBytes);
  violations.CheckId("filter.provider", filter.provider(), /*required=*/false);
  if (filter.without_provider() && !filter.provider().empty()) {
    violations.Add("filter.without_provider", "must not be set together with filter.provider");
  }
  if (!filter.lane().empty() && !ParseLane(filter.lane()).has_value()) {
    violations.Add("filter.lane", "must be payment, otp, social, marketing or fanout");
  }
}

// What must be the same on the next page.
std::string FingerprintOf(AppId app, const v1::ListDeadLettersRequest& request) {
  v1::ListDeadLettersRequest same = request;
  same.clear_page_size();
  same.clear_page_token();
  return absl::StrCat("dead_letters/", app.value(), "/", same.SerializeAsString());
}

}  // namespace

absl::StatusOr<DeadLetterFilter> DeadLetterRequests::Filter(AppId app, const v1::DeadLetterFilter& filter,
                                                            Violations& violations) {
  CheckFilterTexts(filter, violations);
  DeadLetterFilter out;
  CheckIds(filter, out, violations);
  const absl::Time now = deps_.clock.Now();
  out.older_than = CheckAge("filter.older_than", filter.has_older_than(), filter.older_than(), violations);
  out.newer_than = CheckAge("filter.newer_than", filter.has_newer_than(), filter.newer_than(), violations);
  CheckContradictions(filter, out, violations);
  if (out.older_than.has_value()) out.died_before = now - *out.older_than;
  if (out.newer_than.has_value()) out.died_after = now - *out.newer_than;
  RETURN_IF_ERROR(violations.ToStatus());
  out.app_key = filter.app_key();
  out.queue = filter.queue();
  out.lane = filter.lane();
  out.type = filter.type();
  out.error = filter.error();
  out.error_kind = filter.error_kind();
  out.provider = filter.provider();
  out.without_provider = filter.without_provider();
  if (filter.app_key() == kAnyApp) return out;
  out.or_of_no_app = filter.app_key().empty();
  out.app = app;
  if (!filter.app_key().empty()) {
    ASSIGN_OR_RETURN(const AppCredentials other, deps_.apps->Find(filter.app_key()));
    out.app = other.app.id;
  }
  return out;
}

absl::StatusOr<DeadLetterStore::ListQuery> DeadLetterRequests::PrepareList(AppId app,
                                                                           const v1::ListDeadLettersRequest& request) {
  Violations violations;
  violations.CheckId("queue", request.queue(), /*required=*/false);
  if (!request.queue().empty() && !request.filter().queue().empty() && request.queue() != request.filter().queue()) {
    violations.Add("queue", "must be the same as filter.queue, or only one of them given");
  }
  CheckWho(request.operator_(), request.reason(), /*required=*/request.unmasked(), violations);
  DeadLetterStore::ListQuery query{.filter = {}, .older_than = {}};
  query.with_payload = request.with_payload() || request.unmasked();
  const int most = query.with_payload ? kMaxPayloads : limits::kMaxPageSize;
  ASSIGN_OR_RETURN(query.limit, EffectivePageSize(request.page_size(), limits::kDefaultPageSize, most));
  v1::DeadLetterFilter filter = request.filter();
  if (filter.queue().empty()) filter.set_queue(request.queue());
  ASSIGN_OR_RETURN(query.filter, Filter(app, filter, violations));
  return query;
}

// A page's token says where it begins and, of what is recorded, which record it belongs to.
absl::Status DeadLetterRequests::List(AppId app, const v1::ListDeadLettersRequest& request,
                                      v1::ListDeadLettersResponse* response) {
  ASSIGN_OR_RETURN(DeadLetterStore::ListQuery query, PrepareList(app, request));
  const std::string fingerprint = FingerprintOf(app, request);
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), fingerprint));
  const std::vector<std::string> parts = absl::StrSplit(position, '/');
  std::optional<Uuid> noted = parts.size() == 2 ? Uuid::Parse(parts[1]) : std::nullopt;
  int64_t older_than = 0;
  if (absl::SimpleAtoi(parts[0], &older_than)) query.older_than = older_than;
  ASSIGN_OR_RETURN(const std::vector<DeadLetter> letters, deps_.letters->List(query));
  if (request.unmasked()) {
    const ReplayOrder order{.app = app,
                            .kind = ReplayKind::kExport,
                            .operator_name = request.operator_(),
                            .reason = request.reason(),
                            .filter = query.filter};
    ASSIGN_OR_RETURN(noted, deps_.replays->NoteShown(order, noted, static_cast<int>(letters.size())));
  }
  for (const DeadLetter& letter : letters) {
    v1::DeadLetter* out = response->add_dead_letters();
    ToProto(letter, out);
    if (!query.with_payload) continue;
    out->set_payload_json(PayloadJson(letter.payload, !request.unmasked(), kMaxListedPayloadBytes));
  }
  if (letters.size() == static_cast<size_t>(query.limit)) {
    const std::string record = noted.has_value() ? absl::StrCat("/", noted->ToString()) : "";
    response->set_next_page_token(EncodePageToken(absl::StrCat(letters.back().id, record), fingerprint));
  }
  return absl::OkStatus();
}

absl::Status DeadLetterRequests::Summarize(AppId app, const v1::SummarizeDeadLettersRequest& request,
                                           v1::SummarizeDeadLettersResponse* response) {
  Violations violations;
  ASSIGN_OR_RETURN(const DeadLetterFilter filter, Filter(app, request.filter(), violations));
  ASSIGN_OR_RETURN(const DeadLetterStore::Summary summary,
                   deps_.letters->Summarize(filter, limits::kMaxDeadLetterGroups));
  for (const DeadLetterGroup& group : summary.groups) ToProto(group, response->add_groups());
  response->set_total(summary.total);
  return absl::OkStatus();
}

absl::Status DeadLetterRequests::Get(AppId app, const v1::GetDeadLetterRequest& request,
                                     v1::GetDeadLetterResponse* response) {
  Violations violations;
  int64_t id = 0;
  if (!absl::SimpleAtoi(request.dead_letter_id(), &id) || id <= 0) {
    violations.Add("dead_letter_id", "must be the id of a dead letter");
  }
  CheckWho(request.operator_(), request.reason(), /*required=*/request.unmasked(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const DeadLetter letter, deps_.letters->Get(id));
  if (request.unmasked()) {
    ReplayOrder order{.app = app,
                      .kind = ReplayKind::kExport,
                      .operator_name = request.operator_(),
                      .reason = request.reason(),
                      .filter = {}};
    order.filter.ids = {id};
    RETURN_IF_ERROR(deps_.replays->NoteShown(order, std::nullopt, 1).status());
  }
  ToProto(letter, response->mutable_dead_letter());
  response->mutable_dead_letter()->set_payload_json(
      PayloadJson(letter.payload, !request.unmasked(), kMaxShownPayloadBytes));
  return absl::OkStatus();
}

absl::Status DeadLetterRequests::Purge(AppId app, const v1::PurgeDeadLettersRequest& request, absl::Time deadline,
                                       v1::PurgeDeadLettersResponse* response) {
  Violations violations;
  CheckWho(request.operator_(), request.reason(), /*required=*/!request.dry_run(), violations);
  if (request.limit() < 0) violations.Add("limit", "must be at least 0");
  ReplayOrder order{.app = app,
                    .kind = ReplayKind::kPurge,
                    .operator_name = request.operator_(),
                    .reason = request.reason(),
                    .filter = {},
                    .limit = request.limit()};
  ASSIGN_OR_RETURN(order.filter, Filter(app, request.filter(), violations));
  ASSIGN_OR_RETURN(ReplayRun run, request.dry_run() ? deps_.replays->Rehearse(order) : deps_.replays->Begin(order));
  if (request.dry_run()) {
    response->set_purged(run.replay.counts.matched);
    return absl::OkStatus();
  }
  const int64_t& purged = run.replay.counts.replayed;
  while (purged < run.replay.counts.matched && deps_.clock.Now() < deadline) {
    const int64_t left = run.replay.counts.matched - purged;
    ASSIGN_OR_RETURN(const int deleted,
                     deps_.replays->PurgeStep(run, static_cast<int>(std::min<int64_t>(left, limits::kMaxReplayStep))));
    if (deleted == 0) break;
  }
  response->set_purged(purged);
  const bool is_late = purged < run.replay.counts.matched && deps_.clock.Now() >= deadline;
  RETURN_IF_ERROR(deps_.replays->Finish(run, is_late ? ReplayState::kInterrupted : ReplayState::kDone,
                                        is_late ? "its deadline had come" : ""));
  if (!is_late) return absl::OkStatus();
  return MakeError(absl::StatusCode::kDeadlineExceeded,
                   absl::StrCat(purged, " are deleted so far; call again for the others"),
                   {.reason = "DEADLINE_EXCEEDED"});
}

absl::Status DeadLetterRequests::ListReplays(const v1::ListReplaysRequest& request, v1::ListReplaysResponse* response) {
  constexpr absl::string_view kFingerprint = "replays";
  ASSIGN_OR_RETURN(const int limit,
                   EffectivePageSize(request.page_size(), limits::kDefaultPageSize, limits::kMaxPageSize));
  ASSIGN_OR_RETURN(const std::string position, DecodePageToken(request.page_token(), kFingerprint));
  ASSIGN_OR_RETURN(const std::vector<Replay> replays, deps_.replays->List(Uuid::Parse(position), limit));
  for (const Replay& replay : replays) ToProto(replay, response->add_replays());
  if (replays.size() == static_cast<size_t>(limit)) {
    response->set_next_page_token(EncodePageToken(replays.back().id.ToString(), kFingerprint));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReplayPlan> DeadLetterRequests::PlanReplay(AppId app, const v1::ReplayDeadLettersRequest& request) {
  Violations violations;
  CheckRange("rate", OrDefault(request.rate(), kDefaultRate), 1, limits::kMaxReplayRate, violations);
  CheckRange("stop_after_failures", request.stop_after_failures(), 0, limits::kMaxReplayFailures, violations);
  CheckRange("max_replays", request.max_replays(), 0, limits::kMaxReplays, violations);
  if (request.limit() < 0) violations.Add("limit", "must be at least 0");
  const bool resumes = !request.replay_id().empty();
  const std::optional<Uuid> resumed = Uuid::Parse(request.replay_id());
  if (resumes && !resumed.has_value()) violations.Add("replay_id", "must be the id of a replay, a UUID");
  if (resumes && (request.has_filter() || request.dry_run())) {
    violations.Add("replay_id", "goes with neither filter nor dry_run: it is done as it was asked for");
  }
  CheckWho(request.operator_(), request.reason(), /*required=*/!resumes && !request.dry_run(), violations);
  ReplayPlan plan{.order = {.app = app,
                            .kind = ReplayKind::kReplay,
                            .operator_name = request.operator_(),
                            .reason = request.reason(),
                            .filter = {},
                            .limit = request.limit(),
                            .max_replays = OrDefault(request.max_replays(), kDefaultMaxReplays)},
                  .is_rehearsal = request.dry_run(),
                  .resumed = resumed,
                  .rate = OrDefault(request.rate(), kDefaultRate),
                  .stop_after_failures = OrDefault(request.stop_after_failures(), kDefaultStopAfter)};
  ASSIGN_OR_RETURN(plan.order.filter, Filter(app, request.filter(), violations));
  return plan;
}

}  // namespace carillon
