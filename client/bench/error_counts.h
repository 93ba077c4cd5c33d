// Errors that calls were answered with: which of them pass, and how many there were.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"

namespace carillon::bench {

// The call may succeed later, as it is.
bool IsTransient(const absl::Status& status);

// The code and the message, without the details that ride along.
std::string Brief(const absl::Status& status);

// Of the sends of a run. Thread-safe.
class ErrorCounts {
 public:
  // An attempt that is made again.
  void CountRetried(const absl::Status& status);
  // The attempt was the last.
  void CountFinal(const absl::Status& status);

  // By the name of the code.
  std::map<std::string, int64_t> by_code() const;
  int64_t retried() const;

 private:
  mutable absl::Mutex mutex_;
  std::map<std::string, int64_t> by_code_ ABSL_GUARDED_BY(mutex_);
  int64_t retried_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace carillon::bench
