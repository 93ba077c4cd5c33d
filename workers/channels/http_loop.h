// The thread that makes HTTP calls.
#pragma once

#include <functional>
#include <memory>
#include <thread>

#include "absl/container/flat_hash_map.h"
#include "workers/channels/call_queue.h"
#include "workers/channels/curl_handles.h"
#include "workers/channels/transport.h"

namespace carillon {

// One multi handle, and with it one set of connections. Send and Stop are
// thread-safe.
class HttpLoop {
 public:
  explicit HttpLoop(size_t max_calls);
  ~HttpLoop();

  void Send(HttpRequest request, std::function<void(HttpResult)> done);
  void Stop();

 private:
  struct Call;

  void Run();
  void Begin(std::unique_ptr<Call> call);
  void FinishAnswered();
  void Finish(std::unique_ptr<Call> call, CURLcode code);

  CallQueue<Call> queue_;
  const CurlMulti multi_;
  // The thread's own.
  absl::flat_hash_map<CURL*, std::unique_ptr<Call>> calls_;
  std::thread thread_;
};

}  // namespace carillon
