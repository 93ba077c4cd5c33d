#include "carillon/postgres/outbox_listener.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace carillon {
namespace {

std::vector<std::string> AllChannels() {
  std::vector<std::string> channels;
  for (const Lane lane : kAllLanes) channels.push_back(WakeChannel(lane));
  return channels;
}

PgListener::Callbacks CallbacksOf(std::function<void(Lane)> on_wake, std::function<void(const absl::Status&)> on_loss) {
  return {.on_told = [on_wake](size_t channel, const std::string&) { on_wake(kAllLanes[channel]); },
          .on_open =
              [on_wake] {
                for (const Lane lane : kAllLanes) on_wake(lane);
              },
          .on_loss = std::move(on_loss)};
}

}  // namespace

std::string WakeChannel(Lane lane) { return absl::StrCat("carillon_outbox_", ToString(lane)); }

PostgresOutboxListener::PostgresOutboxListener(PgOptions options, std::function<void(Lane)> on_wake,
                                               std::function<void(const absl::Status&)> on_loss)
    : listener_(std::move(options), AllChannels(), CallbacksOf(std::move(on_wake), std::move(on_loss))) {}

}  // namespace carillon
