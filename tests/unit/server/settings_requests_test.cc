#include "server/api/settings_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/api/app_preferences.h"
#include "tests/kit/simulated_clock.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Scope = Preference::Scope;

const AppId kApp(7);

// Some shipped types, some of the app, and one that is another app's.
class SomeTypes final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override { return ++version_; }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return types; }
  absl::StatusOr<std::vector<AppPolicy>> LoadAppPolicies() override { return std::vector<AppPolicy>{policy}; }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }

  static NotificationType Type(AppId app, const std::string& name, std::vector<Channel> channels,
                               DeliveryPolicy of = {}, bool critical = false) {
    return {.app = app, .name = name, .channels = std::move(channels), .critical = critical, .policy = std::move(of)};
  }

  std::vector<NotificationType> types = {
      Type(kShippedApp, "like", {Channel::kInApp}),
      Type(kShippedApp, "otp.login", {Channel::kSms}, {}, /*critical=*/true),
      Type(kApp, "bill", {Channel::kEmail}, {.category = "money", .required = true}),
      Type(kApp, "like", {Channel::kInApp, Channel::kEmail}, {.category = "people"}),
      Type(AppId(8), "secret", {Channel::kEmail}),
  };
  AppPolicy policy = {.app = kApp, .preferences = {}};

 private:
  int64_t version_ = 0;
};

// Holds what one recipient, or one app, has said.
class OneRecipient final : public SettingsStore {
 public:
  absl::StatusOr<std::vector<KnownSettings>> Read(absl::Span<const FeedKey> keys) override {
    return std::vector<KnownSettings>(keys.size(), known);
  }
  absl::StatusOr<RecipientSettings> Update(const FeedKey&, Change change) override {
    const absl::Status status = change(known.settings);
    if (!status.ok()) return status;
    return known.settings;
  }
  absl::Status AddMutes(const FeedKey&, absl::Span<const Mute> mutes) override {
    known.mutes.assign(mutes.begin(), mutes.end());
    return absl::OkStatus();
  }
  absl::StatusOr<int> RemoveMutes(const FeedKey&, absl::Span<const Mute> mutes) override {
    return static_cast<int>(mutes.size());
  }
  absl::StatusOr<std::vector<Preference>> ReadAppPreferences(AppId) override { return of_app; }
  absl::Status SetAppPreferences(AppId, absl::Span<const Preference> preferences) override {
    of_app.assign(preferences.begin(), preferences.end());
    return absl::OkStatus();
  }

  KnownSettings known;
  std::vector<Preference> of_app;
};

class SettingsRequestsTest : public ::testing::Test {
 protected:
  SettingsRequestsTest() { EXPECT_OK(catalogue_.Refresh()); }

  v1::GetPreferenceCentreResponse Centre() {
    v1::GetPreferenceCentreRequest request;
    request.set_user_id("ann");
    v1::GetPreferenceCentreResponse response;
    EXPECT_OK(catalogue_.Refresh());
    EXPECT_OK(requests_.GetCentre(kApp, request, &response));
    return response;
  }

  SimulatedClock clock_;
  const std::shared_ptr<SomeTypes> types_ = std::make_shared<SomeTypes>();
  const std::shared_ptr<OneRecipient> store_ = std::make_shared<OneRecipient>();
  Catalogue catalogue_{types_};
  SettingsRequests requests_{store_, catalogue_, clock_};
};

TEST_F(SettingsRequestsTest, TheCentreShowsTheTypesOfTheAppByCategory) {
  const v1::GetPreferenceCentreResponse centre = Centre();
  ASSERT_THAT(centre.categories(), SizeIs(3));
  EXPECT_EQ(centre.categories(0).category(), "");
  EXPECT_EQ(centre.categories(1).category(), "money");
  EXPECT_EQ(centre.categories(2).category(), "people");
  ASSERT_THAT(centre.categories(0).types(), SizeIs(1)) << "like is the app's own";
  EXPECT_EQ(centre.categories(0).types(0).type(), "otp.login");
  EXPECT_EQ(centre.categories(2).types(0).type(), "like");
  EXPECT_THAT(centre.categories(2).types(0).choices(), SizeIs(2));
}

TEST_F(SettingsRequestsTest, TheCentreSaysWhatMayBeChanged) {
  const v1::GetPreferenceCentreResponse centre = Centre();
  EXPECT_FALSE(centre.categories(0).types(0).can_be_changed()) << "critical";
  EXPECT_FALSE(centre.categories(1).types(0).can_be_changed()) << "required";
  EXPECT_TRUE(centre.categories(2).types(0).can_be_changed());
}

TEST_F(SettingsRequestsTest, TheCentreShowsWhatHoldsAndWhoseWordItIs) {
  types_->policy.preferences = {{Scope::kType, "like", Channel::kInApp, Choice::kOff}};
  store_->known.settings.preferences = {{Scope::kCategory, "people", Channel::kEmail, Choice::kDigest}};
  store_->known.time_zone = "Asia/Kolkata";
  const v1::GetPreferenceCentreResponse centre = Centre();
  const v1::PreferenceCentreType& like = centre.categories(2).types(0);
  EXPECT_EQ(like.choices(0).channel(), v1::CHANNEL_IN_APP);
  EXPECT_EQ(like.choices(0).choice(), v1::CHOICE_OFF);
  EXPECT_EQ(like.choices(0).level(), "app, type like, in_app");
  EXPECT_EQ(like.choices(1).channel(), v1::CHANNEL_EMAIL);
  EXPECT_EQ(like.choices(1).choice(), v1::CHOICE_DIGEST);
  EXPECT_EQ(like.choices(1).level(), "recipient, category people, email");
  EXPECT_THAT(centre.settings().preferences(), SizeIs(1));
  EXPECT_EQ(centre.time_zone(), "Asia/Kolkata");
}

TEST_F(SettingsRequestsTest, TheCentreShowsCriticalAndRequiredTypesAsOn) {
  store_->known.settings.preferences = {{Scope::kAll, "", std::nullopt, Choice::kOff}};
  const v1::GetPreferenceCentreResponse centre = Centre();
  for (const int category : {0, 1}) {
    EXPECT_EQ(centre.categories(category).types(0).choices(0).choice(), v1::CHOICE_ON);
    EXPECT_EQ(centre.categories(category).types(0).choices(0).level(), "") << "it is nobody's word";
  }
  EXPECT_EQ(centre.categories(2).types(0).choices(0).choice(), v1::CHOICE_OFF);
}

TEST_F(SettingsRequestsTest, AnInvalidChangeReachesNoStore) {
  v1::UpdateSettingsRequest request;
  request.set_user_id("ann");
  request.mutable_settings()->add_preferences()->set_choice(v1::CHOICE_OFF);
  request.mutable_settings()->add_quiet_hours()->set_start_minute(-1);
  v1::UpdateSettingsResponse response;
  EXPECT_THAT(requests_.Update(kApp, request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("settings.quiet_hours[0].start_minute:")));
  EXPECT_THAT(store_->known.settings.preferences, IsEmpty());
  request.mutable_settings()->clear_quiet_hours();
  ASSERT_OK(requests_.Update(kApp, request, &response));
  EXPECT_THAT(store_->known.settings.preferences, SizeIs(1));
  EXPECT_THAT(response.settings().preferences(), SizeIs(1));
}

TEST_F(SettingsRequestsTest, DoNotDisturbEndsAtMost366DaysAheadByTheAppsClock) {
  types_->policy.sandbox = true;
  types_->policy.clock_offset = absl::Hours(24);
  ASSERT_OK(catalogue_.Refresh());
  v1::UpdateSettingsRequest request;
  v1::UpdateSettingsResponse response;
  request.set_user_id("ann");
  google::protobuf::Timestamp& until = *request.mutable_settings()->mutable_do_not_disturb_until();
  until.set_seconds(absl::ToUnixSeconds(clock_.Now() + absl::Hours(24 * 367)));
  ASSERT_OK(requests_.Update(kApp, request, &response));
  EXPECT_EQ(response.settings().do_not_disturb_until().seconds(), until.seconds());
  until.set_seconds(until.seconds() + 1);
  EXPECT_THAT(requests_.Update(kApp, request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("settings.do_not_disturb_until:")));
}

TEST_F(SettingsRequestsTest, WaitsForTheCatalogueWhereItAsksIt) {
  const Catalogue unread(types_);
  SettingsRequests requests(store_, unread, clock_);
  const auto waits = StatusIs(absl::StatusCode::kUnavailable, HasSubstr("the catalogue has not been read yet"));
  v1::GetPreferenceCentreRequest centre;
  v1::GetPreferenceCentreResponse shown;
  centre.set_user_id("ann");
  EXPECT_THAT(requests.GetCentre(kApp, centre, &shown), waits);
  v1::ListMutesRequest list;
  v1::ListMutesResponse mutes;
  list.set_user_id("ann");
  EXPECT_THAT(requests.ListMutes(kApp, list, &mutes), waits);
  v1::UpdateSettingsRequest update;
  v1::UpdateSettingsResponse updated;
  update.set_user_id("ann");
  EXPECT_THAT(requests.Update(kApp, update, &updated), waits);
  v1::GetSettingsRequest get;
  v1::GetSettingsResponse settings;
  get.set_user_id("ann");
  EXPECT_OK(requests.Get(kApp, get, &settings)) << "asks nothing of it";
}

TEST_F(SettingsRequestsTest, ListsMutesByKindAndIdAsLongAsTheyHoldByTheAppsClock) {
  types_->policy.sandbox = true;
  types_->policy.clock_offset = absl::Hours(24);
  ASSERT_OK(catalogue_.Refresh());
  const absl::Time now = clock_.Now() + absl::Hours(24);
  store_->known.mutes = {{MuteKind::kObject, "a"},
                         {MuteKind::kActor, "z", now + absl::Seconds(1)},
                         {MuteKind::kActor, "b"},
                         {MuteKind::kActor, "over", now}};
  v1::ListMutesRequest request;
  v1::ListMutesResponse response;
  EXPECT_THAT(requests_.ListMutes(kApp, request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id:")));
  request.set_user_id("ann");
  ASSERT_OK(requests_.ListMutes(kApp, request, &response));
  ASSERT_THAT(response.mutes(), SizeIs(3));
  EXPECT_EQ(response.mutes(0).actor_id(), "b");
  EXPECT_EQ(response.mutes(1).actor_id(), "z");
  EXPECT_EQ(response.mutes(2).object_id(), "a");
}

TEST_F(SettingsRequestsTest, PreferencesOfAppsAreCheckedBeforeTheyAreKept) {
  AppPreferences preferences(store_, catalogue_);
  v1::SetAppPreferencesRequest request;
  v1::SetAppPreferencesResponse response;
  request.add_preferences()->set_choice(v1::CHOICE_OFF);
  request.add_preferences()->set_choice(v1::CHOICE_ON);
  EXPECT_THAT(preferences.Set(kApp, request, &response),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("preferences[1]: must differ")));
  EXPECT_THAT(store_->of_app, IsEmpty());
  request.mutable_preferences(1)->set_category("offers");
  ASSERT_OK(preferences.Set(kApp, request, &response));
  EXPECT_THAT(response.preferences(), SizeIs(2));
  v1::GetAppPreferencesResponse read;
  ASSERT_OK(preferences.Get(kApp, &read));
  ASSERT_THAT(read.preferences(), SizeIs(2));
  EXPECT_EQ(read.preferences(1).category(), "offers");
}

}  // namespace
}  // namespace carillon::testing
