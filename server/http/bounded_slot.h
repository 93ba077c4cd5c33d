// One of a bounded number of things at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

namespace carillon {

// Taken while it lives. Not thread-safe; the counter is.
class BoundedSlot {
 public:
  // None if there are `limit` of them. The counter outlives it.
  static std::optional<BoundedSlot> Take(std::atomic<size_t>& taken, size_t limit) {
    if (taken.fetch_add(1) < limit) return BoundedSlot(taken);
    taken.fetch_sub(1);
    return std::nullopt;
  }
  ~BoundedSlot() {
    if (taken_ != nullptr) taken_->fetch_sub(1);
  }
  BoundedSlot(BoundedSlot&& other) noexcept : taken_(std::exchange(other.taken_, nullptr)) {}
  BoundedSlot& operator=(BoundedSlot&& other) noexcept {
    std::swap(taken_, other.taken_);
    return *this;
  }

 private:
  explicit BoundedSlot(std::atomic<size_t>& taken) : taken_(&taken) {}

  std::atomic<size_t>* taken_;
};

}  // namespace carillon
