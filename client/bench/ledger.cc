#include "client/bench/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace carillon::bench {
namespace {

absl::Status WriteAll(int file, absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return absl::ErrnoToStatus(errno, "writing the log of accepted ids");
    text.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Ledger>> Ledger::Open(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return absl::ErrnoToStatus(errno, absl::StrCat("opening ", path));
  return std::unique_ptr<Ledger>(new Ledger(file));
}

Ledger::~Ledger() { close(file_); }

absl::Status Ledger::Record(absl::Span<const AcceptedSend> sends) {
  std::string lines;
  for (const AcceptedSend& send : sends) {
    absl::StrAppend(&lines, send.notification_id, " ", send.user_id, " ", send.type, " ", send.idempotency_key, "\n");
  }
  absl::MutexLock lock(&mutex_);
  if (absl::Status status = WriteAll(file_, lines); !status.ok()) return status;
  sends_.insert(sends_.end(), sends.begin(), sends.end());
  return absl::OkStatus();
}

void Ledger::Close() {
  absl::MutexLock lock(&mutex_);
  closed_ = true;
}

bool Ledger::WaitForSize(int64_t size) {
  absl::MutexLock lock(&mutex_);
  const auto settled = [this, size]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return closed_ || static_cast<int64_t>(sends_.size()) >= size;
  };
  mutex_.Await(absl::Condition(&settled));
  return static_cast<int64_t>(sends_.size()) >= size;
}

bool Ledger::is_closed() const {
  absl::MutexLock lock(&mutex_);
  return closed_;
}

int64_t Ledger::size() const {
  absl::MutexLock lock(&mutex_);
  return static_cast<int64_t>(sends_.size());
}

std::vector<AcceptedSend> Ledger::sends() const {
  absl::MutexLock lock(&mutex_);
  return sends_;
}

}  // namespace carillon::bench
