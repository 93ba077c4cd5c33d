#include "client/bench/recipient_settings.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"

namespace carillon::bench {
namespace {

constexpr int kMutes = 5;

void AddPreference(v1::RecipientSettings& settings, const std::string& type, v1::Channel channel, v1::Choice choice) {
  v1::Preference* const preference = settings.add_preferences();
  if (!type.empty()) preference->set_type(type);
  preference->set_channel(channel);
  preference->set_choice(choice);
}

v1::UpdateSettingsRequest Settings() {
  v1::UpdateSettingsRequest request;
  v1::RecipientSettings& settings = *request.mutable_settings();
  AddPreference(settings, "", v1::CHANNEL_IN_APP, v1::CHOICE_ON);
  AddPreference(settings, "", v1::CHANNEL_SMS, v1::CHOICE_OFF);
  AddPreference(settings, "marketing.digest", v1::CHANNEL_EMAIL, v1::CHOICE_DIGEST);
  AddPreference(settings, "like", v1::CHANNEL_IN_APP, v1::CHOICE_ON);
  v1::QuietHours* const night = settings.add_quiet_hours();
  night->set_start_minute(22 * 60);
  night->set_end_minute(7 * 60);
  settings.mutable_digest_time()->set_every(v1::DigestTime::EVERY_DAY);
  settings.mutable_digest_time()->set_minute(9 * 60);
  return request;
}

}  // namespace

absl::Status GiveSettings(Client& client, const std::vector<std::string>& user_ids) {
  v1::UpdateSettingsRequest settings = Settings();
  v1::AddMutesRequest mutes;
  for (int i = 0; i < kMutes; ++i) mutes.add_mutes()->set_actor_id(absl::StrCat("bore-", i));
  for (const std::string& user : user_ids) {
    settings.set_user_id(user);
    mutes.set_user_id(user);
    RETURN_IF_ERROR(client.UpdateSettings(settings).status());
    RETURN_IF_ERROR(client.AddMutes(mutes).status());
  }
  return absl::OkStatus();
}

}  // namespace carillon::bench
