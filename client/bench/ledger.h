// The proof of what was accepted, kept outside of the system under test.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace carillon::bench {

struct AcceptedSend {
  std::string notification_id;
  std::string user_id;
  std::string type;
  std::string idempotency_key;
  // By MonotonicNow: the first attempt began, and the answer came.
  absl::Duration begun;
  absl::Duration answered;
};

// Every accepted send, in memory and as a line "notification user type key" of a
// log. Thread-safe. Owns the log file.
class Ledger {
 public:
  // Replaces a file of that name.
  static absl::StatusOr<std::unique_ptr<Ledger>> Open(const std::string& path);
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  // The kernel has the lines before the sends count as accepted, so they outlive
  // a crash of this process. After an error none of these count.
  absl::Status Record(absl::Span<const AcceptedSend> sends);
  // The load is over.
  void Close();

  // Blocks until so many are accepted (true), or Close (false).
  bool WaitForSize(int64_t size);
  bool is_closed() const;
  int64_t size() const;
  std::vector<AcceptedSend> sends() const;

 private:
  explicit Ledger(int file) : file_(file) {}

  const int file_;
  mutable absl::Mutex mutex_;
  std::vector<AcceptedSend> sends_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace carillon::bench
