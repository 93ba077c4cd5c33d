// Caps that go on while the store that all processes share is away.
#pragma once

#include <functional>
#include <vector>

#include "carillon/ports/cap_store.h"
#include "carillon/ports/clock.h"
#include "carillon/runtime/local_caps.h"

namespace carillon {

// What the shared store lets in is remembered here, too, so that a process that loses it
// does not begin at nothing; what is let in without it, it does not know of afterwards.
// Thread-safe.
class CapWindows final : public CapStore {
 public:
  struct Options {
    // Of recipients, channels and types with a cap that were sent something last.
    size_t max_local_windows = 100'000;
    std::function<void(size_t)> on_local;  // So many requests were answered without the store. May be empty.
  };

  // Both must outlive it.
  CapWindows(SharedCapStore& shared, const Clock& clock, Options options);

  std::vector<CapUse> Use(absl::Span<const Request> requests, Mode mode) override;

 private:
  SharedCapStore& shared_;
  const Clock& clock_;
  const Options options_;
  LocalCaps local_;
};

}  // namespace carillon
