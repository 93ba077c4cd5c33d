#include "server/api/settings_requests.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "carillon/domain/errors.h"
#include "carillon/domain/preferences.h"
#include "carillon/domain/status_macros.h"
#include "server/api/settings_checks.h"

namespace carillon {
namespace {

// Of what needs the types of an app, or its clock.
absl::Status CheckLoaded(const Catalogue& catalogue) {
  if (catalogue.loaded()) return absl::OkStatus();
  return error::BackendUnavailable("postgresql", "the catalogue has not been read yet");
}

// What decisions would find. Critical types are on whatever is said.
void AddChoice(const NotificationType& type, Channel channel, const RecipientSettings& settings,
               const AppPolicy& policy, v1::PreferenceCentreType* out) {
  v1::EffectiveChoice& choice = *out->add_choices();
  choice.set_channel(static_cast<v1::Channel>(channel));
  choice.set_choice(v1::CHOICE_ON);
  if (type.critical) return;
  const PreferenceSubject subject = {
      .type = type.name, .category = type.policy.category, .required = type.policy.required, .channel = channel};
  const std::optional<EffectivePreference> found = FindPreference(subject, settings.preferences, policy.preferences);
  if (!found.has_value()) return;
  choice.set_choice(ToProto(found->holds));
  // Nobody's word is on what is on against it.
  const bool was_overruled = found->said == Choice::kOff && found->holds != Choice::kOff;
  if (!was_overruled) choice.set_level(found->level);
}

void AddType(const NotificationType& type, const RecipientSettings& settings, const AppPolicy& policy,
             v1::PreferenceCentreCategory* category) {
  v1::PreferenceCentreType& out = *category->add_types();
  out.set_type(type.name);
  out.set_can_be_changed(!type.critical && !type.policy.required);
  for (const Channel channel : type.channels) AddChoice(type, channel, settings, policy, &out);
}

}  // namespace

absl::StatusOr<KnownSettings> SettingsRequests::Read(AppId app, const std::string& user_id) {
  Violations violations;
  violations.CheckId("user_id", user_id, /*required=*/true);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(std::vector<KnownSettings> read, store_->Read({FeedKey{app, RecipientId(user_id)}}));
  return std::move(read.front());
}

absl::Status SettingsRequests::Update(AppId app, const v1::UpdateSettingsRequest& request,
                                      v1::UpdateSettingsResponse* response) {
  RETURN_IF_ERROR(CheckLoaded(catalogue_));
  Violations violations;
  const SettingsChange change = PrepareSettings(request, catalogue_.NowOf(app, clock_), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  const auto apply = [&](RecipientSettings& settings) {
    change.ApplyTo(settings);
    return absl::OkStatus();
  };
  ASSIGN_OR_RETURN(const RecipientSettings settings, store_->Update({app, RecipientId(request.user_id())}, apply));
  ToProto(settings, response->mutable_settings());
  return absl::OkStatus();
}

absl::Status SettingsRequests::Get(AppId app, const v1::GetSettingsRequest& request,
                                   v1::GetSettingsResponse* response) {
  ASSIGN_OR_RETURN(const KnownSettings known, Read(app, request.user_id()));
  ToProto(known.settings, response->mutable_settings());
  return absl::OkStatus();
}

absl::Status SettingsRequests::AddMutes(AppId app, const v1::AddMutesRequest& request, v1::AddMutesResponse*) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  const std::vector<Mute> mutes = CheckMutes("mutes", request.mutes(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  return store_->AddMutes({app, RecipientId(request.user_id())}, mutes);
}

absl::Status SettingsRequests::RemoveMutes(AppId app, const v1::RemoveMutesRequest& request,
                                           v1::RemoveMutesResponse* response) {
  Violations violations;
  violations.CheckId("user_id", request.user_id(), /*required=*/true);
  const std::vector<Mute> mutes = CheckMutes("mutes", request.mutes(), violations);
  RETURN_IF_ERROR(violations.ToStatus());
  ASSIGN_OR_RETURN(const int removed, store_->RemoveMutes({app, RecipientId(request.user_id())}, mutes));
  response->set_removed(removed);
  return absl::OkStatus();
}

absl::Status SettingsRequests::ListMutes(AppId app, const v1::ListMutesRequest& request,
                                         v1::ListMutesResponse* response) {
  RETURN_IF_ERROR(CheckLoaded(catalogue_));
  ASSIGN_OR_RETURN(KnownSettings known, Read(app, request.user_id()));
  std::sort(known.mutes.begin(), known.mutes.end(),
            [](const Mute& a, const Mute& b) { return std::tie(a.kind, a.id) < std::tie(b.kind, b.id); });
  // The app's clock may be ahead of the database's.
  const absl::Time now = catalogue_.NowOf(app, clock_);
  for (const Mute& mute : known.mutes) {
    if (mute.until > now) ToProto(mute, response->add_mutes());
  }
  return absl::OkStatus();
}

absl::Status SettingsRequests::GetCentre(AppId app, const v1::GetPreferenceCentreRequest& request,
                                         v1::GetPreferenceCentreResponse* response) {
  RETURN_IF_ERROR(CheckLoaded(catalogue_));
  ASSIGN_OR_RETURN(const KnownSettings known, Read(app, request.user_id()));
  const std::shared_ptr<const AppPolicy> policy = catalogue_.PolicyOf(app);
  std::map<std::string, v1::PreferenceCentreCategory> categories;
  for (const std::shared_ptr<const NotificationType>& type : catalogue_.TypesOf(app)) {
    AddType(*type, known.settings, *policy, &categories[type->policy.category]);
  }
  for (auto& [name, category] : categories) {
    category.set_category(name);
    *response->add_categories() = std::move(category);
  }
  ToProto(known.settings, response->mutable_settings());
  response->set_time_zone(known.time_zone);
  return absl::OkStatus();
}

}  // namespace carillon
