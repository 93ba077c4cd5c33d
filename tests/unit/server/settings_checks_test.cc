#include "server/api/settings_checks.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/limits.h"
#include "tests/kit/status_matchers.h"

namespace carillon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::IsOk;
using ::testing::SizeIs;
using testing::StatusIs;

const absl::Time kNow = absl::FromUnixSeconds(1'700'000'000);

v1::UpdateSettingsRequest Request(const std::string& text) {
  v1::UpdateSettingsRequest request;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &request)) << text;
  request.set_user_id("ann");
  return request;
}

SettingsChange Prepared(const v1::UpdateSettingsRequest& request) {
  Violations violations;
  SettingsChange change = PrepareSettings(request, kNow, violations);
  EXPECT_THAT(violations.ToStatus(), IsOk());
  return change;
}
SettingsChange Prepared(const std::string& text) { return Prepared(Request(text)); }

absl::Status Refusal(const v1::UpdateSettingsRequest& request) {
  Violations violations;
  PrepareSettings(request, kNow, violations);
  return violations.ToStatus();
}

// The fields that are refused.
std::vector<std::string> Refused(const std::string& text) {
  std::vector<std::string> fields;
  for (const FieldViolation& violation : DetailsOf(Refusal(Request(text))).violations) {
    fields.push_back(violation.field);
  }
  return fields;
}

v1::RecipientSettings ThereAndBack(const std::string& text) {
  RecipientSettings settings;
  Prepared(text).ApplyTo(settings);
  v1::RecipientSettings back;
  ToProto(settings, &back);
  return back;
}

TEST(SettingsChange, IsOfWhatIsSetWithoutAMask) {
  const SettingsChange change = Prepared("settings {quiet_hours {start_minute: 1320 end_minute: 420}}");
  EXPECT_EQ(change.preferences, std::nullopt);
  EXPECT_EQ(change.do_not_disturb_until, std::nullopt);
  EXPECT_EQ(change.digest_time, std::nullopt);
  ASSERT_TRUE(change.quiet_hours.has_value());
  EXPECT_THAT(change.quiet_hours->spans(), SizeIs(7)) << "no days: every day";
}

TEST(SettingsChange, IsOfWhatTheMaskNamesAndClearsWhatIsEmpty) {
  const SettingsChange change = Prepared(
      "settings {preferences {choice: CHOICE_OFF} quiet_hours {start_minute: -1}}"
      "update_mask {paths: 'preferences' paths: 'do_not_disturb_until' paths: 'digest_time'}");
  EXPECT_THAT(*change.preferences, SizeIs(1));
  EXPECT_EQ(change.quiet_hours, std::nullopt) << "not looked at";
  RecipientSettings settings{.preferences = {},
                             .do_not_disturb_until = absl::FromUnixSeconds(1),
                             .quiet_hours = *QuietHours::Make({{.start_minute = 1, .end_minute = 2}}),
                             .digest_time = {.every = DigestTime::Every::kHour}};
  change.ApplyTo(settings);
  EXPECT_EQ(settings.do_not_disturb_until, std::nullopt);
  EXPECT_EQ(settings.digest_time, DigestTime());
  EXPECT_FALSE(settings.quiet_hours.empty());
}

TEST(SettingsChange, RefusesUnknownAndTooManyPaths) {
  EXPECT_THAT(Refusal(Request("update_mask {paths: 'digest_time.every'}")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("update_mask: may not name digest_time.every, only preferences,")));
  v1::UpdateSettingsRequest request = Request("");
  for (int i = 0; i <= limits::kMaxMaskPaths; ++i) request.mutable_update_mask()->add_paths("preferences");
  EXPECT_THAT(Refusal(request), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must name at most 20")));
}

TEST(SettingsChange, NeedsAUser) {
  EXPECT_THAT(Refusal(v1::UpdateSettingsRequest()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("user_id:")));
}

TEST(SettingsChange, TellsAllThatIsWrongAtOnce) {
  EXPECT_THAT(Refused("settings {preferences {choice: CHOICE_UNSPECIFIED} do_not_disturb_until {seconds: -1}"
                      "  quiet_hours {start_minute: 1440} digest_time {}}"),
              ElementsAre("settings.preferences[0].choice", "settings.do_not_disturb_until",
                          "settings.quiet_hours[0].start_minute", "settings.digest_time.every"));
}

TEST(PreferencesOfRequests, AreOfAllACategoryOrAType) {
  const SettingsChange change = Prepared(
      "settings {preferences {choice: CHOICE_OFF}"
      "  preferences {category: 'offers' channel: CHANNEL_SMS choice: CHOICE_DIGEST}"
      "  preferences {type: 'like' choice: CHOICE_ON}}");
  using Scope = Preference::Scope;
  EXPECT_THAT(*change.preferences, ElementsAre(Preference{Scope::kAll, "", std::nullopt, Choice::kOff},
                                               Preference{Scope::kCategory, "offers", Channel::kSms, Choice::kDigest},
                                               Preference{Scope::kType, "like", std::nullopt, Choice::kOn}));
}

TEST(PreferencesOfRequests, HaveNamesChannelsAndChoices) {
  EXPECT_THAT(Refused("settings {preferences {category: '' choice: CHOICE_ON}"
                      "  preferences {type: 'Like' choice: CHOICE_ON}"
                      "  preferences {channel: 99 choice: 99}}"),
              ElementsAre("settings.preferences[0].category", "settings.preferences[1].type",
                          "settings.preferences[2].channel", "settings.preferences[2].choice"));
}

TEST(PreferencesOfRequests, AreOfEachScopeAndChannelOne) {
  EXPECT_THAT(Refused("settings {preferences {type: 'a' choice: CHOICE_ON}"
                      "  preferences {type: 'a' channel: CHANNEL_SMS choice: CHOICE_ON}"
                      "  preferences {category: 'a' choice: CHOICE_ON}"
                      "  preferences {type: 'a' choice: CHOICE_OFF}}"),
              ElementsAre("settings.preferences[3]"));
}

TEST(PreferencesOfRequests, AreTwoHundredAtMost) {
  v1::UpdateSettingsRequest request = Request("");
  for (int i = 0; i < limits::kMaxPreferences; ++i) {
    v1::Preference& preference = *request.mutable_settings()->add_preferences();
    preference.set_type(absl::StrCat("t", i));
    preference.set_choice(v1::CHOICE_OFF);
  }
  EXPECT_THAT(Refusal(request), IsOk());
  request.mutable_settings()->add_preferences();
  EXPECT_THAT(Refusal(request),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("settings.preferences: must be at most 200")));
}

TEST(QuietHoursOfRequests, NameTheSpanAndTheField) {
  EXPECT_THAT(Refused("settings {quiet_hours {end_minute: 1} quiet_hours {start_minute: -1}"
                      "  quiet_hours {start_minute: 1 end_minute: 1441}"
                      "  quiet_hours {days: WEEKDAY_MONDAY days: WEEKDAY_UNSPECIFIED days: WEEKDAY_MONDAY}}"),
              ElementsAre("settings.quiet_hours[1].start_minute", "settings.quiet_hours[2].end_minute",
                          "settings.quiet_hours[3].days[1]", "settings.quiet_hours[3].days[2]"));
}

TEST(QuietHoursOfRequests, LeaveAMinuteOfTheWeekOpen) {
  EXPECT_THAT(Refusal(Request("settings {quiet_hours {start_minute: 0 end_minute: 1440}}")),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("settings.quiet_hours: must leave at least one minute of the week open")));
  EXPECT_THAT(Refused("settings {quiet_hours {start_minute: 0 end_minute: 1439}}"), IsEmpty());
}

TEST(QuietHoursOfRequests, AreTwentyEightSpansOfADayAtMost) {
  const std::string four =
      "quiet_hours {start_minute: 1 end_minute: 2} quiet_hours {start_minute: 3 end_minute: 4}"
      "quiet_hours {start_minute: 5 end_minute: 6} quiet_hours {start_minute: 7 end_minute: 8}";
  EXPECT_THAT(Refused("settings {" + four + "}"), IsEmpty());
  EXPECT_THAT(Refused("settings {" + four + "quiet_hours {days: WEEKDAY_SUNDAY start_minute: 9 end_minute: 10}}"),
              ElementsAre("settings.quiet_hours"));
  v1::UpdateSettingsRequest request = Request("");
  for (int i = 0; i < 1000; ++i) request.mutable_settings()->add_quiet_hours()->set_start_minute(-1);
  EXPECT_THAT(DetailsOf(Refusal(request)).violations, SizeIs(1)) << "refused as a whole";
}

TEST(QuietHoursOfRequests, ComeBackTogetherByTheirTimes) {
  const v1::RecipientSettings back = ThereAndBack(
      "settings {quiet_hours {days: WEEKDAY_SUNDAY days: WEEKDAY_MONDAY start_minute: 1320 end_minute: 420}"
      "  quiet_hours {start_minute: 780 end_minute: 840}"
      "  quiet_hours {days: WEEKDAY_FRIDAY days: WEEKDAY_SUNDAY start_minute: 1320 end_minute: 420}}");
  ASSERT_THAT(back.quiet_hours(), SizeIs(2));
  EXPECT_THAT(back.quiet_hours(0).days(), ElementsAre(v1::WEEKDAY_MONDAY, v1::WEEKDAY_FRIDAY, v1::WEEKDAY_SUNDAY));
  EXPECT_EQ(back.quiet_hours(0).end_minute(), 420);
  EXPECT_THAT(back.quiet_hours(1).days(), IsEmpty()) << "every day";
  EXPECT_EQ(back.quiet_hours(1).start_minute(), 780);
}

TEST(DigestTimeOfRequests, IsHourlyDailyOrWeekly) {
  EXPECT_EQ(Prepared("settings {digest_time {every: EVERY_HOUR}}").digest_time->every, DigestTime::Every::kHour);
  EXPECT_EQ(Prepared("settings {digest_time {every: EVERY_DAY minute: 600}}").digest_time,
            (DigestTime{.every = DigestTime::Every::kDay, .minute = 600}));
  EXPECT_EQ(Prepared("settings {digest_time {every: EVERY_WEEK minute: 5 day: WEEKDAY_SUNDAY}}").digest_time,
            (DigestTime{.every = DigestTime::Every::kWeek, .minute = 5, .day = absl::Weekday::sunday}));
}

TEST(DigestTimeOfRequests, RefusesWhatMeansNothing) {
  EXPECT_THAT(Refused("settings {digest_time {every: EVERY_HOUR minute: 5}}"),
              ElementsAre("settings.digest_time.minute"));
  EXPECT_THAT(Refused("settings {digest_time {every: EVERY_DAY minute: 1440 day: WEEKDAY_MONDAY}}"),
              ElementsAre("settings.digest_time.minute", "settings.digest_time.day"));
  EXPECT_THAT(Refused("settings {digest_time {every: EVERY_WEEK}}"), ElementsAre("settings.digest_time.day"));
  EXPECT_THAT(Refused("settings {digest_time {every: 9 minute: -1}}"),
              ElementsAre("settings.digest_time.every", "settings.digest_time.minute"));
}

TEST(DigestTimeOfRequests, ComesBackAndIsAbsentIfItIsTheDefault) {
  EXPECT_FALSE(ThereAndBack("").has_digest_time());
  EXPECT_FALSE(ThereAndBack("settings {digest_time {every: EVERY_DAY minute: 540}}").has_digest_time());
  for (const char* time :
       {"every: EVERY_HOUR", "every: EVERY_DAY minute: 1", "every: EVERY_WEEK day: WEEKDAY_MONDAY"}) {
    const std::string text = absl::StrCat("settings {digest_time {", time, "}}");
    EXPECT_EQ(ThereAndBack(text).digest_time().SerializeAsString(),
              Request(text).settings().digest_time().SerializeAsString())
        << time;
  }
}

TEST(DoNotDisturb, IsAtMost366DaysAhead) {
  const int64_t latest = absl::ToUnixSeconds(kNow + limits::kMaxDoNotDisturb);
  const auto until = [](int64_t seconds, int nanos) {
    return absl::StrCat("settings {do_not_disturb_until {seconds: ", seconds, " nanos: ", nanos, "}}");
  };
  EXPECT_EQ(ThereAndBack(until(latest - 1, 999999000)).do_not_disturb_until().nanos(), 999999000);
  EXPECT_EQ(ThereAndBack(until(latest, 0)).do_not_disturb_until().seconds(), latest);
  EXPECT_EQ(ThereAndBack(until(0, 0)).do_not_disturb_until().seconds(), 0) << "past";
  for (const std::string& late : {until(latest, 1), until(latest + 1, 0), until(253'402'300'799, 0)}) {
    EXPECT_THAT(Refusal(Request(late)),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("settings.do_not_disturb_until: must be at most 366 days ahead")))
        << late;
  }
}

TEST(DoNotDisturb, IsATimestamp) {
  EXPECT_THAT(Refused("settings {do_not_disturb_until {seconds: 253402300800}}"), SizeIs(1));
  EXPECT_THAT(Refused("settings {do_not_disturb_until {nanos: 1000000000}}"), SizeIs(1));
  EXPECT_THAT(Refused("settings {do_not_disturb_until {nanos: -1}}"), SizeIs(1));
}

class MutesOfRequests : public ::testing::Test {
 protected:
  v1::Mute& Add() { return *mutes_.add_mutes(); }
  absl::Status Check() {
    Violations violations;
    checked_ = CheckMutes("mutes", mutes_.mutes(), violations);
    return violations.ToStatus();
  }

  v1::AddMutesRequest mutes_;
  std::vector<Mute> checked_;
};

TEST_F(MutesOfRequests, AreOfActorsOrObjectsForGoodOrForATime) {
  Add().set_actor_id("x");
  Add().set_object_id("x");
  mutes_.mutable_mutes(1)->mutable_until()->set_seconds(7);
  ASSERT_OK(Check());
  EXPECT_THAT(checked_, ElementsAre(Mute{MuteKind::kActor, "x", absl::InfiniteFuture()},
                                    Mute{MuteKind::kObject, "x", absl::FromUnixSeconds(7)}));
  v1::Mute back;
  ToProto(checked_[0], &back);
  EXPECT_EQ(back.actor_id(), "x");
  EXPECT_FALSE(back.has_until());
}

TEST_F(MutesOfRequests, NameOneOfActorAndObjectEachOnce) {
  Add();
  Add().set_actor_id("a");
  mutes_.mutable_mutes(1)->set_object_id("a");
  Add().set_actor_id("b");
  Add().set_actor_id("b");
  Add().set_object_id(std::string(256, 'x'));
  Add().set_actor_id("c");
  mutes_.mutable_mutes(5)->mutable_until()->set_seconds(-1);
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument,
                                AllOf(HasSubstr("mutes[0].actor_id:"), HasSubstr("mutes[1].actor_id:"),
                                      HasSubstr("mutes[3]: must differ"), HasSubstr("mutes[4].object_id:"),
                                      HasSubstr("mutes[5].until:"))));
}

TEST_F(MutesOfRequests, AreOneToAHundred) {
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mutes: must be 1 to 100")));
  for (int i = 0; i < limits::kMaxMutesInCall; ++i) Add().set_actor_id(absl::StrCat(i));
  EXPECT_OK(Check());
  Add().set_actor_id("one more");
  EXPECT_THAT(Check(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("mutes: must be 1 to 100")));
}

}  // namespace
}  // namespace carillon
