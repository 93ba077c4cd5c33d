#include "workers/relay/dead_letter_recorder.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "carillon/domain/status_macros.h"
#include "carillon/domain/trace_context.h"
#include "carillon/runtime/logging.h"
#include "carillon/wire/envelope.h"

namespace carillon {
namespace {

constexpr int kPrefetch = 50;
// Letters in a transaction, and messages that are taken for it.
constexpr size_t kBatch = 200;
constexpr absl::Duration kReceiveWait = absl::Milliseconds(500);

// Headers of messages that others made may hold anything.
std::string SafeText(absl::string_view text) {
  std::string safe(text.substr(0, limits::kMaxErrorBytes));
  std::replace_if(
      safe.begin(), safe.end(), [](unsigned char c) { return !absl::ascii_isprint(c); }, '?');
  return safe;
}

std::vector<std::string> RecordedQueues() {
  std::vector<std::string> queues;
  for (const QueueSpec& queue : CarillonTopology().queues) {
    if (queue.role == QueueRole::kDeadLetter || queue.role == QueueRole::kUnrouted) queues.push_back(queue.name);
  }
  return queues;
}

// All but what is in the body.
DeadLetter FromHeaders(const InboundMessage& message) {
  DeadLetter letter;
  letter.queue = std::string(absl::StripSuffix(message.queue, ".dlq"));
  if (const std::optional<Lane> lane = LaneOfQueue(letter.queue); lane.has_value()) {
    letter.lane = std::string(ToString(*lane));
  }
  int64_t app = 0;
  if (absl::SimpleAtoi(message.app, &app) && app > 0) letter.app = AppId(app);
  // Of an app's message that nobody can read this is all that tells its notification. What others
  // made is of no app, and has a UUID only because a replay gave it one.
  if (letter.app.has_value()) letter.notification_id = Uuid::Parse(message.message_id);
  letter.message_id = SafeText(message.message_id);
  letter.type = SafeText(message.type);
  letter.exchange = SafeText(message.exchange);
  letter.routing_key = SafeText(message.routing_key);
  letter.reason = message.reason.empty() ? "unknown" : SafeText(message.reason);
  letter.error = SafeText(message.error);
  letter.traceparent = SafeText(message.traceparent);
  letter.retry_count = message.retry_count;
  letter.replay_count = message.replay_count;
  letter.redelivered = message.redelivered;
  return letter;
}

std::vector<Uuid> GroupsOf(const std::vector<Reaction>& reactions) {
  std::set<Uuid> groups;
  for (const Reaction& reaction : reactions) {
    if (reaction.group.has_value()) groups.insert(*reaction.group);
  }
  return {groups.begin(), groups.end()};
}

void NameDelivery(const Delivery& delivery, DeadLetter& letter) {
  letter.app = delivery.item.app;
  letter.notification_id = delivery.item.id;
  letter.delivery_id = delivery.id;
  letter.retention_days = delivery.item.retention_days;
  if (letter.traceparent.empty()) letter.traceparent = SafeText(delivery.item.traceparent);
}

// Without what its body says.
DeadLetter Opaque(DeadLetter letter) {
  letter.is_opaque = true;
  letter.notification_id.reset();
  letter.delivery_id.reset();
  letter.retention_days = 0;
  letter.reaction_groups.clear();
  return letter;
}

}  // namespace

std::vector<DeadLetter> ToDeadLetters(const InboundMessage& message) {
  const absl::StatusOr<EnvelopeContents> contents = DecodeContents(message.body);
  const bool has_items = contents.ok() && !contents->items.empty();
  std::vector<DeadLetter> letters(has_items ? contents->items.size() : 1, FromHeaders(message));
  if (letters.size() == 1) letters.front().payload = message.body;
  if (contents.ok()) letters.front().reaction_groups = GroupsOf(contents->reactions);
  if (contents.ok() && contents->deliveries.size() == 1) NameDelivery(contents->deliveries.front(), letters.front());
  if (!has_items) return letters;
  for (size_t i = 0; i < letters.size(); ++i) {
    const Notification& item = contents->items[i];
    letters[i].app = item.app;
    letters[i].notification_id = item.id;
    letters[i].retention_days = item.retention_days;
    letters[i].type = SafeText(item.type);
    if (letters.size() == 1) continue;
    letters[i].message_id = item.id.ToString();
    letters[i].payload = EncodeEnvelope(item);
    if (!item.traceparent.empty()) letters[i].traceparent = SafeText(item.traceparent);
  }
  return letters;
}

DeadLetterRecorder::DeadLetterRecorder(Deps deps)
    : deps_(std::move(deps)),
      backoff_(absl::Milliseconds(200), absl::Seconds(5)),
      recorded_(deps_.metrics.Counter("carillon_dead_letters_recorded_total",
                                      "Notifications taken from the dead-letter queues and recorded")),
      failing_(deps_.metrics.Gauge("carillon_dead_letter_recorder_failing",
                                   "1 from a failed record until one succeeds, or nothing waits for any")) {}

void DeadLetterRecorder::Run() {
  while (!deps_.stop.is_set()) {
    const absl::Status status = Consume();
    if (status.ok()) break;
    if (backoff_.failures() == 0) log::Warn("dead_letters.waiting", {{"error", status}});
    deps_.broker->Close();
    deps_.stop.WaitFor(backoff_.Next());
  }
  deps_.broker->Close();
}

absl::Status DeadLetterRecorder::Consume() {
  RETURN_IF_ERROR(deps_.broker->Open(RecordedQueues(), {.prefetch = kPrefetch, .channels = 1}));
  while (!deps_.stop.is_set()) {
    ASSIGN_OR_RETURN(const std::vector<InboundMessage> messages, deps_.broker->Receive(int{kBatch}, kReceiveWait));
    if (messages.empty()) {
      failing_.Set(0);
      continue;
    }
    const absl::Status status = Record(messages);
    failing_.Set(status.ok() ? 0 : 1);
    RETURN_IF_ERROR(status);
    RETURN_IF_ERROR(deps_.broker->Ack(messages));
    backoff_.Reset();
  }
  return absl::OkStatus();
}

absl::Status DeadLetterRecorder::Record(const std::vector<InboundMessage>& messages) {
  std::vector<DeadLetter> letters;
  for (const InboundMessage& message : messages) {
    for (DeadLetter& letter : ToDeadLetters(message)) letters.push_back(std::move(letter));
  }
  for (absl::Span<const DeadLetter> rest(letters); !rest.empty(); rest.remove_prefix(std::min(rest.size(), kBatch))) {
    RETURN_IF_ERROR(Keep(rest.subspan(0, kBatch)));
  }
  for (const DeadLetter& letter : letters) {
    log::Warn("dead_letter.recorded", {{"queue", letter.queue},
                                       {"message_id", letter.message_id},
                                       {"reason", letter.reason},
                                       {"trace_id", TraceIdOf(letter.traceparent)},
                                       {"error", letter.error}});
  }
  recorded_.Increment(static_cast<double>(letters.size()));
  return absl::OkStatus();
}

// One that the store refuses would come back forever, and with it all the others.
absl::Status DeadLetterRecorder::Keep(absl::Span<const DeadLetter> letters) {
  const absl::Status kept = deps_.store->Record(letters);
  if (kept.ok() || IsInfrastructureFailure(kept)) return kept;
  for (const DeadLetter& letter : letters) {
    const absl::Status single = deps_.store->Record({letter});
    if (single.ok()) continue;
    if (IsInfrastructureFailure(single)) return single;
    log::Error("dead_letter.opaque", {{"queue", letter.queue}, {"message_id", letter.message_id}, {"error", single}});
    RETURN_IF_ERROR(deps_.store->Record({Opaque(letter)}));
  }
  return absl::OkStatus();
}

}  // namespace carillon
