#include "client/bench/raw_sender.h"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "carillon/v1/feed_service.pb.h"
#include "client/carillon/status.h"

namespace carillon::bench {
namespace {

constexpr const char* kSend = "/carillon.v1.NotificationService/SendNotification";
constexpr const char* kSubscribe = "/carillon.v1.FeedService/Subscribe";
constexpr const char* kSubscribeTopic = "/carillon.v1.FeedService/SubscribeTopic";
constexpr const char* kBatchSend = "/carillon.v1.NotificationService/BatchSendNotifications";

std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Nothing between us and the wire but deadlines.
  arguments.SetInt(GRPC_ARG_MINIMAL_STACK, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_DEADLINE_CHECKS, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

std::string RequestFor(const RawSender::Feed& feed) {
  if (feed.topic_id.empty()) {
    v1::SubscribeRequest request;
    request.set_user_id(feed.user_id);
    request.set_after_seq(feed.after_seq);
    return request.SerializeAsString();
  }
  v1::SubscribeTopicRequest request;
  request.set_topic_id(feed.topic_id);
  request.set_after_seq(feed.after_seq);
  return request.SerializeAsString();
}

}  // namespace

class RawSender::Operation {
 public:
  virtual ~Operation() = default;
  // False: it is over and to be deleted.
  virtual bool Proceed(bool ok) = 0;

 protected:
  // A view of `slice`, which holds the whole of it then.
  static absl::string_view Whole(const grpc::ByteBuffer& buffer, grpc::Slice& slice) {
    if (!buffer.Valid()) return "";
    if (!buffer.TrySingleSlice(&slice).ok()) (void)buffer.DumpToSingleSlice(&slice);
    return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
  }
};

class RawSender::Call final : public Operation {
 public:
  explicit Call(Done done) : done_(std::move(done)) {}

  void Start(RawSender& sender, const char* method, const std::string& request) {
    sender.Authenticate(context_);
    context_.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMicroseconds(sender.options_.deadline));
    grpc::Slice slice(request);
    reader_ = sender.NextStub().PrepareUnaryCall(&context_, method, grpc::ByteBuffer(&slice, 1), &sender.queue_);
    reader_->StartCall();
    reader_->Finish(&answer_, &status_, static_cast<Operation*>(this));
  }

  bool Proceed(bool) override {
    grpc::Slice slice;
    done_(FromGrpcStatus(status_), status_.ok() ? Whole(answer_, slice) : "");
    return false;
  }

 private:
  grpc::ClientContext context_;
  grpc::ByteBuffer answer_;
  grpc::Status status_;
  Done done_;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader_;
};

// One step after the other: begin, say who is asked for, read and read, end.
class RawSender::Stream final : public Operation {
 public:
  Stream(RawSender& sender, std::shared_ptr<grpc::ClientContext> context, StreamCallbacks callbacks)
      : sender_(sender), context_(std::move(context)), callbacks_(std::move(callbacks)) {}

  void Start(const Feed& feed) {
    grpc::Slice slice(RequestFor(feed));
    request_ = grpc::ByteBuffer(&slice, 1);
    const char* method = feed.topic_id.empty() ? kSubscribe : kSubscribeTopic;
    stream_ = sender_.NextStub().PrepareCall(context_.get(), method, &sender_.queue_);
    stream_->StartCall(static_cast<Operation*>(this));
  }

  bool Proceed(bool ok) override {
    auto* const tag = static_cast<Operation*>(this);
    switch (step_) {
      case Step::kBegin:
        step_ = Step::kAsk;
        if (!ok) return Proceed(false);
        stream_->WriteLast(request_, grpc::WriteOptions(), tag);
        return true;
      case Step::kAsk:
      case Step::kRead:
        if (ok && step_ == Step::kRead) TellEvent();
        step_ = ok ? Step::kRead : Step::kEnd;
        ok ? stream_->Read(&event_, tag) : stream_->Finish(&status_, tag);
        return true;
      case Step::kEnd:
        TellEnd();
        return false;
    }
    return false;
  }

 private:
  enum class Step { kBegin, kAsk, kRead, kEnd };

  void TellEvent() {
    grpc::Slice slice;
    callbacks_.on_event(Whole(event_, slice));
  }

  // Whoever waits for the end waits for the callback too.
  void TellEnd() {
    bool stopped = false;
    {
      absl::MutexLock lock(&sender_.mutex_);
      stopped = sender_.stopped_;
      sender_.stream_contexts_.erase(context_);
    }
    if (!stopped) callbacks_.on_end(FromGrpcStatus(status_));
    absl::MutexLock lock(&sender_.mutex_);
    --sender_.running_streams_;
  }

  RawSender& sender_;
  const std::shared_ptr<grpc::ClientContext> context_;
  const StreamCallbacks callbacks_;
  Step step_ = Step::kBegin;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer event_;
  grpc::Status status_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

RawSender::RawSender(const ClientOptions& options, int connections) : options_(options), thread_([this] { Run(); }) {
  for (int i = 0; i < connections; ++i) {
    stubs_.push_back(std::make_unique<grpc::GenericStub>(ChannelTo(options.address)));
  }
}

RawSender::~RawSender() {
  EndStreams();
  queue_.Shutdown();
  thread_.join();
}

void RawSender::Send(const std::string& request, Done done) { Ask(kSend, request, std::move(done)); }

void RawSender::SendBatch(const std::string& batch, Done done) { Ask(kBatchSend, batch, std::move(done)); }

void RawSender::Subscribe(const Feed& feed, StreamCallbacks callbacks) {
  auto context = std::make_shared<grpc::ClientContext>();
  Authenticate(*context);
  {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    stream_contexts_.insert(context);
    ++running_streams_;
  }
  (new Stream(*this, std::move(context), std::move(callbacks)))->Start(feed);
}

void RawSender::Ask(const char* method, const std::string& request, Done done) {
  (new Call(std::move(done)))->Start(*this, method, request);
}

grpc::GenericStub& RawSender::NextStub() { return *stubs_[next_stub_++ % stubs_.size()]; }

void RawSender::CancelStreams() {
  absl::MutexLock lock(&mutex_);
  for (const auto& context : stream_contexts_) context->TryCancel();
}

void RawSender::Authenticate(grpc::ClientContext& context) const {
  context.AddMetadata("x-app-key", options_.app_key);
  context.AddMetadata("x-app-secret", options_.app_secret);
}

// A stream goes on by itself, which the queue does not allow once it is shut down.
void RawSender::EndStreams() {
  absl::MutexLock lock(&mutex_);
  stopped_ = true;
  for (const auto& context : stream_contexts_) context->TryCancel();
  mutex_.Await(absl::Condition(
      +[](int* running) { return *running == 0; }, &running_streams_));
}

void RawSender::Run() {
  void* tag = nullptr;
  bool ok = false;
  while (queue_.Next(&tag, &ok)) {
    auto* const operation = static_cast<Operation*>(tag);
    if (!operation->Proceed(ok)) delete operation;
  }
}

}  // namespace carillon::bench
