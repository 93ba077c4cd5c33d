// Load that goes as fast as what was sent arrives: a bounded number of messages is
// on its way.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "client/bench/raw_sender.h"

namespace carillon::bench {

// Thread-safe.
class WindowedLoad {
 public:
  struct Options {
    // Messages on their way, and messages that a call makes.
    int64_t window = 0;
    int64_t per_call = 0;
  };
  // Begins a call; on the load's own thread.
  using Submit = std::function<void(RawSender::Done done)>;
  // How many messages have arrived since some moment before the load began.
  using Arrived = std::function<int64_t()>;

  // Begins at once.
  WindowedLoad(const Options& options, Submit submit, Arrived arrived);
  ~WindowedLoad() { Stop(); }

  // Begins no more calls and waits for the last answer. Idempotent.
  void Stop();

  // Messages of the calls that were accepted.
  int64_t accepted() const;
  // Calls, by the name of the code.
  std::map<std::string, int64_t> errors() const;

 private:
  void Run();
  bool MayBegin() const;
  void OnDone(const absl::Status& status);

  const Options options_;
  const Submit submit_;
  const Arrived arrived_;
  const int64_t arrived_before_;
  std::atomic<bool> stopped_ = false;
  mutable absl::Mutex mutex_;
  int64_t begun_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t failed_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t> errors_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace carillon::bench
