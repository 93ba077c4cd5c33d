#include "client/bench/ask_all.h"

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace carillon::bench {
namespace {

class Asking {
 public:
  Asking(RawSender& sender, const char* method, const std::vector<std::string>& requests)
      : sender_(sender), method_(method), requests_(requests) {}

  std::map<std::string, int64_t> Run(int in_flight) {
    for (int i = 0; i < in_flight; ++i) AskNext();
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &Asking::IsOver));
    return errors_;
  }

 private:
  void AskNext() {
    size_t index = 0;
    {
      absl::MutexLock lock(&mutex_);
      if (next_ == requests_.size()) return;
      index = next_++;
      ++running_;
    }
    sender_.Ask(method_, requests_[index], [this](const absl::Status& status, absl::string_view) { OnAnswer(status); });
  }

  void OnAnswer(const absl::Status& status) {
    AskNext();
    absl::MutexLock lock(&mutex_);
    if (!status.ok()) ++errors_[absl::StatusCodeToString(status.code())];
    --running_;
  }

  bool IsOver() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return running_ == 0 && next_ == requests_.size(); }

  RawSender& sender_;
  const char* const method_;
  const std::vector<std::string>& requests_;
  absl::Mutex mutex_;
  size_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<std::string, int64_t> errors_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::map<std::string, int64_t> AskAll(RawSender& sender, const char* method, const std::vector<std::string>& requests,
                                      int in_flight) {
  return Asking(sender, method, requests).Run(in_flight);
}

}  // namespace carillon::bench
