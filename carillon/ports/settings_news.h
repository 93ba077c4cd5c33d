// What is told of changes in recipients' settings, mutes and zones.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "carillon/domain/notification.h"

namespace carillon {

// Called one after another, on a thread of whoever tells.
struct SettingsNews {
  std::function<void(const FeedKey&)> on_change;
  // Of an app's recipients, any of them.
  std::function<void()> on_change_of_many;
  // Every change is told from now on; those before may have been missed.
  std::function<void()> on_open;
  // Once whenever it begins to fail: nothing is told until on_open.
  std::function<void(const absl::Status&)> on_loss;
};

}  // namespace carillon
