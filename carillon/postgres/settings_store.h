#pragma once

#include <memory>

#include "carillon/ports/settings_store.h"
#include "carillon/postgres/session.h"

namespace carillon {

// The channel on which every change of a recipient's settings, mutes and zone is told:
// "app:recipient", or "app" if it is about all of an app.
inline constexpr const char* kSettingsChannel = "carillon_settings";

// Tells it, when the transaction commits.
void TellSettings(PgSession& session, pqxx::work& transaction, const FeedKey& key);

class PostgresSettingsStore final : public SettingsStore {
 public:
  explicit PostgresSettingsStore(std::shared_ptr<PgPool> pool) : pool_(std::move(pool)) {}

  absl::StatusOr<std::vector<KnownSettings>> Read(absl::Span<const FeedKey> keys) override;
  absl::StatusOr<RecipientSettings> Update(const FeedKey& key, Change change) override;
  absl::Status AddMutes(const FeedKey& key, absl::Span<const Mute> mutes) override;
  absl::StatusOr<int> RemoveMutes(const FeedKey& key, absl::Span<const Mute> mutes) override;
  absl::StatusOr<std::vector<Preference>> ReadAppPreferences(AppId app) override;
  absl::Status SetAppPreferences(AppId app, absl::Span<const Preference> preferences) override;

 private:
  const std::shared_ptr<PgPool> pool_;
};

}  // namespace carillon
