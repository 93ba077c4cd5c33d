// Sends what is serialised already and reads live streams as they are, with one
// thread for everything that comes.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "client/carillon/options.h"

namespace carillon::bench {

// No retries: an error is an answer. Thread-safe.
class RawSender {
 public:
  // Runs on the thread of the answers; must not block. May send.
  using Done = absl::AnyInvocable<void(const absl::Status& status, absl::string_view answer)>;
  // An event of a stream, serialised, and the end of it; as Done. No end
  // is told after EndStreams.
  struct StreamCallbacks {
    std::function<void(absl::string_view event)> on_event;
    std::function<void(const absl::Status& status)> on_end;
  };

  // A feed to follow: a user's, or a topic's public one; exactly one of both.
  struct Feed {
    std::string user_id;
    std::string topic_id;
    int64_t after_seq = 0;
  };

  // On connections of its own, so that its thread and those of other clients
  // don't wake each other; calls and streams take them in turn. Plain text.
  explicit RawSender(const ClientOptions& options, int connections = 1);
  // As EndStreams; waits for the answers that are to come.
  ~RawSender();

  void Send(const std::string& request, Done done);
  void SendBatch(const std::string& batch, Done done);
  // Any method, by its path: "/carillon.v1.FeedService/ListFeed".
  void Ask(const char* method, const std::string& request, Done done);
  void Subscribe(const Feed& feed, StreamCallbacks callbacks);
  // Follows a user's feed from its beginning.
  void Subscribe(const std::string& user_id, StreamCallbacks callbacks) { Subscribe({user_id, "", 0}, callbacks); }
  // Breaks the streams that are open now. Their ends are told.
  void CancelStreams();
  // Ends all of them; no callback of theirs runs after it. Idempotent.
  void EndStreams();

 private:
  // What waits in the queue.
  class Operation;
  class Call;
  class Stream;

  grpc::GenericStub& NextStub();
  void Authenticate(grpc::ClientContext& context) const;
  void Run();

  const ClientOptions options_;
  std::vector<std::unique_ptr<grpc::GenericStub>> stubs_;
  std::atomic<size_t> next_stub_ = 0;
  grpc::CompletionQueue queue_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int running_streams_ ABSL_GUARDED_BY(mutex_) = 0;
  // Of the streams that run.
  absl::flat_hash_set<std::shared_ptr<grpc::ClientContext>> stream_contexts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace carillon::bench
