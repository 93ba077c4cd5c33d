#include "client/bench/error_counts.h"

#include "absl/strings/str_cat.h"

namespace carillon::bench {

bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

std::string Brief(const absl::Status& status) {
  if (status.ok()) return "OK";
  return absl::StrCat(absl::StatusCodeToString(status.code()), ": ", status.message());
}

void ErrorCounts::CountRetried(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  ++by_code_[absl::StatusCodeToString(status.code())];
  ++retried_;
}

void ErrorCounts::CountFinal(const absl::Status& status) {
  absl::MutexLock lock(&mutex_);
  ++by_code_[absl::StatusCodeToString(status.code())];
}

std::map<std::string, int64_t> ErrorCounts::by_code() const {
  absl::MutexLock lock(&mutex_);
  return by_code_;
}

int64_t ErrorCounts::retried() const {
  absl::MutexLock lock(&mutex_);
  return retried_;
}

}  // namespace carillon::bench
