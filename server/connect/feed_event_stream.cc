#include "server/connect/feed_event_stream.h"

#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/runtime/logging.h"
#include "carillon/v1/feed_service.pb.h"
#include "server/api/status.h"
#include "server/connect/connect_error.h"

namespace carillon {
namespace {

// A write's worth; the last event may go past it.
constexpr size_t kBatchBytes = 16 * 1024;
constexpr size_t kMinRetryMilliseconds = 1000;
constexpr size_t kRetrySpreadMilliseconds = 2000;

absl::string_view NameOf(const v1::SubscribeResponse& event) {
  switch (event.event_case()) {
    case v1::SubscribeResponse::kItem:
      return "item";
    case v1::SubscribeResponse::kReadMarker:
      return "read_marker";
    case v1::SubscribeResponse::kRemoved:
      return "removed";
    case v1::SubscribeResponse::kResumeRequired:
      return "resume_required";
    default:
      return "heartbeat";
  }
}

}  // namespace

std::string FeedEventFrame(const std::string& message, const MessageJson& json) {
  v1::SubscribeResponse event;
  const absl::StatusOr<std::string> data = json.ToJson(*v1::SubscribeResponse::descriptor(), message);
  if (!event.ParseFromString(message) || !data.ok()) {
    log::Error("feed_event.unreadable", {{"error", data.status()}});
    return "";
  }
  const std::string id = event.has_resume_required() ? "" : absl::StrCat("id: ", event.seq(), "\n");
  return absl::StrCat(id, "event: ", NameOf(event), "\ndata: ", *data, "\n\n");
}

std::string EndFrame(const absl::Status& status, const MessageJson& json) {
  return absl::StrCat("event: end\ndata: ", ConnectErrorJson(ToGrpcStatus(status), json), "\n\n");
}

std::string RetryFrame(absl::string_view user) {
  return absl::StrCat("retry: ", kMinRetryMilliseconds + absl::HashOf(user) % kRetrySpreadMilliseconds, "\n\n");
}

absl::Status FeedEventStream::Open(FeedKey key, int64_t after_seq, StreamPermit permit) {
  ASSIGN_OR_RETURN(stream_, hub_.Open(std::move(key), after_seq, shared_from_this(), std::move(permit)));
  return absl::OkStatus();
}

void FeedEventStream::OnOpen(std::shared_ptr<HttpBodySink> sink) {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kBusy;
    sink_ = std::move(sink);
  }
  // At once: it tells the client that from here on nothing escapes it.
  Send({.frames = RetryFrame(stream_->key().recipient.value())});
}

void FeedEventStream::OnWritten() {
  {
    absl::MutexLock lock(&mutex_);
    if (state_ != State::kBusy) return;
    state_ = State::kIdle;
  }
  Pump();
}

void FeedEventStream::Pump() {
  if (!BecomeBusy()) return;
  do {
    Batch batch = TakeBatch();
    if (!batch.frames.empty() || batch.is_last) return Send(std::move(batch));
  } while (!BecomeIdle());
}

bool FeedEventStream::BecomeBusy() {
  absl::MutexLock lock(&mutex_);
  look_again_ = state_ != State::kIdle;
  if (look_again_) return false;
  state_ = State::kBusy;
  return true;
}

bool FeedEventStream::BecomeIdle() {
  absl::MutexLock lock(&mutex_);
  if (std::exchange(look_again_, false)) return false;
  if (state_ == State::kBusy) state_ = State::kIdle;
  return true;
}

FeedEventStream::Batch FeedEventStream::TakeBatch() {
  Batch batch;
  while (batch.frames.size() < kBatchBytes) {
    const std::optional<StreamStep> step = hub_.Take(stream_);
    if (!step.has_value()) break;
    if (step->message == nullptr) {
      batch.is_last = true;
      if (!step->status.ok()) batch.frames += EndFrame(step->status, json_);
      break;
    }
    batch.frames += FeedEventFrame(*step->message, json_);
  }
  return batch;
}

void FeedEventStream::Send(Batch batch) {
  std::shared_ptr<HttpBodySink> sink;
  {
    absl::MutexLock lock(&mutex_);
    sink = sink_;
  }
  if (sink == nullptr) return;
  batch.is_last ? sink->Finish(std::move(batch.frames)) : sink->Write(std::move(batch.frames));
}

void FeedEventStream::OnAbandoned() {
  std::shared_ptr<HttpBodySink> sink;
  {
    absl::MutexLock lock(&mutex_);
    sink = sink_;
  }
  if (sink != nullptr) sink->Abort();
}

void FeedEventStream::OnEnd() {
  {
    absl::MutexLock lock(&mutex_);
    state_ = State::kEnded;
    sink_.reset();
  }
  hub_.Close(stream_);
}

}  // namespace carillon
