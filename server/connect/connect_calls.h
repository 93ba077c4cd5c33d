// What the calls under way share.
#pragma once

#include <google/protobuf/descriptor.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/executor.h"
#include "server/connect/message_json.h"

namespace carillon {

// How many calls there are, and whether there may be more. Thread-safe.
class CallCount {
 public:
  // One call, while it lives.
  using Ticket = std::shared_ptr<void>;
  enum class Kind { kUnary, kStream };

  // Null after Close and CloseUnary.
  Ticket Take(Kind kind) {
    absl::MutexLock lock(&mutex_);
    if (closed_) return nullptr;
    ++Of(kind);
    return Ticket(this, [kind](void* count) { static_cast<CallCount*>(count)->GiveBack(kind); });
  }
  // Lets none begin any more and waits for those that are under way. False: some are
  // still there after `limit`.
  bool Close(absl::Duration limit) {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    const auto is_over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return unary_ == 0 && streams_ == 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&is_over), limit);
  }
  // The same, but waits for no streams: they end when they are told to.
  bool CloseUnary(absl::Duration limit) {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    const auto is_over = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return unary_ == 0; };
    return mutex_.AwaitWithTimeout(absl::Condition(&is_over), limit);
  }

 private:
  size_t& Of(Kind kind) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return kind == Kind::kUnary ? unary_ : streams_; }
  void GiveBack(Kind kind) {
    absl::MutexLock lock(&mutex_);
    --Of(kind);
  }

  absl::Mutex mutex_;
  size_t unary_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t streams_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// Outlives the calls.
struct ConnectCalls {
  using Stub = grpc::TemplatedGenericStub<grpc::ByteBuffer, grpc::ByteBuffer>;

  Stub stub;
  const MessageJson& json;
  // Converts what would hold up a thread of the port for long.
  Executor& executor;
  const Clock& clock;
  CallCount count = {};
};

// The address of a method: what gRPC and HTTP call it.
inline std::string PathOf(const google::protobuf::MethodDescriptor& method) {
  return "/" + method.service()->full_name() + "/" + method.name();
}

inline grpc::ByteBuffer ToBuffer(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

inline std::string ToBytes(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok()) return "";
  return std::string(reinterpret_cast<const char*>(slice.begin()), slice.size());
}

}  // namespace carillon
