#include "carillon/runtime/cap_windows.h"

#include <optional>
#include <utility>

namespace carillon {

CapWindows::CapWindows(SharedCapStore& shared, const Clock& clock, Options options)
    : shared_(shared), clock_(clock), options_(std::move(options)), local_(options_.max_local_windows) {}

std::vector<CapUse> CapWindows::Use(absl::Span<const Request> requests, Mode mode) {
  const std::vector<std::optional<CapUse>> answers = shared_.Use(requests, mode);
  const absl::Time now = clock_.Now();
  std::vector<CapUse> uses;
  size_t unanswered = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (answers[i].has_value()) {
      if (mode == Mode::kTake && answers[i]->has_room) local_.Record(requests[i], now);
      uses.push_back(*answers[i]);
    } else {
      ++unanswered;
      uses.push_back(local_.Use(requests[i], mode, now));
    }
  }
  if (unanswered > 0 && options_.on_local) options_.on_local(unanswered);
  return uses;
}

}  // namespace carillon
