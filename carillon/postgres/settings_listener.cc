#include "carillon/postgres/settings_listener.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "carillon/postgres/settings_store.h"

namespace carillon {
namespace {

// Who has changed; an id may hold colons itself. Nothing: more than one, or who knows.
std::optional<FeedKey> WhoChanged(absl::string_view payload) {
  const size_t colon = payload.find(':');
  int64_t app = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(payload.substr(0, colon), &app)) return std::nullopt;
  return FeedKey{AppId(app), RecipientId(std::string(payload.substr(colon + 1)))};
}

PgListener::Callbacks CallbacksOf(SettingsNews news) {
  return {.on_told =
              [on_change = std::move(news.on_change), on_change_of_many = std::move(news.on_change_of_many)](
                  size_t, const std::string& payload) {
                const std::optional<FeedKey> who = WhoChanged(payload);
                who.has_value() ? on_change(*who) : on_change_of_many();
              },
          .on_open = std::move(news.on_open),
          .on_loss = std::move(news.on_loss)};
}

}  // namespace

PostgresSettingsListener::PostgresSettingsListener(PgOptions options, SettingsNews news)
    : listener_(std::move(options), {kSettingsChannel}, CallbacksOf(std::move(news))) {}

}  // namespace carillon
