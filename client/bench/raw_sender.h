// Sends what is serialised already and reads live streams as they are, over one
// connection, with one thread for everything that comes.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
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

  // On a connection of its own, so that its thread and those of other clients
  // don't wake each other. Plain text.
  explicit RawSender(const ClientOptions& options);
  // As EndStreams; waits for the answers that are to come.
  ~RawSender();

  void Send(const std::string& request, Done done);
  void SendBatch(const std::string& batch, Done done);
  // Follows a user's feed from its beginning.
  void Subscribe(const std::string& user_id, StreamCallbacks callbacks);
  // Ends all of them; no callback of theirs runs after it. Idempotent.
  void EndStreams();

 private:
  // What waits in the queue.
  class Operation;
  class Call;
  class Stream;

  void Begin(const char* method, const std::string& request, Done done);
  void Authenticate(grpc::ClientContext& context) const;
  void Run();

  const ClientOptions options_;
  grpc::GenericStub stub_;
  grpc::CompletionQueue queue_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  int running_streams_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::shared_ptr<grpc::ClientContext>> stream_contexts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace carillon::bench
