// Preferences, quiet hours, mutes and policies of types through a real server, by the
// client and by carillonctl.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "tests/integration/system_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class SettingsTest : public CommandLineTest {
 protected:
  static void SetUpTestSuite() { stack_ = new RunningStack({.processes = {"server"}, .flags = {}, .wrappers = {}}); }

  // The line of the preference centre that is about a type on a channel, in single blanks.
  static std::string CentreLine(const std::string& user, const std::string& type, const std::string& channel) {
    for (const absl::string_view line : absl::StrSplit(Output({"settings", "centre", user}), '\n')) {
      const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (words.size() > 3 && words[1] == type && words[2] == channel) return absl::StrJoin(words, " ");
    }
    return "";
  }
  // A social type with what is given besides.
  void ApplyType(const std::string& name, v1::Type type = {}) {
    v1::ApplyTypesRequest apply;
    type.set_name(name);
    type.set_weight(v1::WEIGHT_SOCIAL);
    type.set_routing_key("social.settings");
    type.add_channels(v1::CHANNEL_IN_APP);
    type.add_channels(v1::CHANNEL_EMAIL);
    type.mutable_in_app()->set_title("t");
    *apply.add_types() = std::move(type);
    EXPECT_OK(client_.ApplyTypes(apply));
  }

  Client client_ = ClientOf(*stack_);
};

TEST_F(SettingsTest, WhoHasSaidNothingHasTheDefaults) {
  EXPECT_EQ(Output({"settings", "get", "nobody"}),
            "nobody\n"
            "  preferences     -\n"
            "  do not disturb  -\n"
            "  quiet hours     -\n"
            "  digests         daily 09:00\n");
  EXPECT_FALSE(Document({"settings", "get", "nobody"})["settings"].contains("digest_time"));
}

TEST_F(SettingsTest, ShowsSettingsInTheWordsInWhichTheyAreGiven) {
  const std::string shown =
      Output({"settings", "set", "ada", "--preference", "like:email=off", "--preference", "category/offers=digest",
              "--preference", "*:sms=off", "--quiet", "mon-fri 22:00-07:00", "--quiet", "sun,sat 00:00-10:30",
              "--quiet", "13:00-14:00", "--digest", "weekly mon 08:05", "--dnd", "2024-02-29T12:00:00+01:00"});
  EXPECT_EQ(shown,
            "ada\n"
            "  preferences     like:email=off\n"
            "                  category/offers=digest\n"
            "                  *:sms=off\n"
            "  do not disturb  until 2024-02-29 11:00:00.000 UTC\n"
            "  quiet hours     mon-fri 22:00-07:00\n"
            "                  sat-sun 00:00-10:30\n"
            "                  13:00-14:00\n"
            "  digests         weekly mon 08:05\n");
  EXPECT_EQ(Output({"settings", "get", "ada"}), shown);
}

TEST_F(SettingsTest, ChangesWhatIsGivenAndNothingElse) {
  Output({"settings", "set", "bob", "--quiet", "fri-mon 22:00-24:00", "--digest", "hourly", "--dnd", "2h"});
  const absl::Time now = absl::Now();
  nlohmann::json bob = Document({"settings", "get", "bob"})["settings"];
  v1::GetSettingsRequest request;
  request.set_user_id("bob");
  ASSERT_OK_AND_ASSIGN(const v1::GetSettingsResponse got, client_.GetSettings(request));
  const absl::Time until = absl::FromUnixSeconds(got.settings().do_not_disturb_until().seconds());
  EXPECT_LT(until, now + absl::Hours(2) + absl::Seconds(1));
  EXPECT_GT(until, now + absl::Hours(1));
  EXPECT_EQ(bob["digest_time"]["every"], "EVERY_HOUR");
  EXPECT_THAT(bob["quiet_hours"][0]["days"],
              ElementsAre("WEEKDAY_MONDAY", "WEEKDAY_FRIDAY", "WEEKDAY_SATURDAY", "WEEKDAY_SUNDAY"));
  bob = Document(
      {"settings", "set", "bob", "--clear", "dnd", "--clear", "digest", "--preference", "like=off"})["settings"];
  EXPECT_FALSE(bob.contains("do_not_disturb_until"));
  EXPECT_FALSE(bob.contains("digest_time"));
  EXPECT_THAT(bob["quiet_hours"], SizeIs(1));
  bob = Document({"settings", "set", "bob", "--preference", "comment=off", "--clear", "quiet"})["settings"];
  ASSERT_THAT(bob["preferences"], SizeIs(1)) << "preferences are replaced";
  EXPECT_EQ(bob["preferences"][0]["type"], "comment");
  EXPECT_THAT(bob["quiet_hours"], IsEmpty());
}

TEST_F(SettingsTest, SaysWhatIsWrongAndChangesNothing) {
  for (const auto& [option, value, fault] :
       {std::tuple("--preference", "like", "'like' must be like TYPE[:CHANNEL]=on|off|digest"),
        std::tuple("--preference", "like:fax=off", "'like:fax=off' must be like"),
        std::tuple("--preference", "like=maybe", "'like=maybe' must be like"),
        std::tuple("--preference", "Like=off", "settings.preferences[0].type: must be 1 to 100"),
        std::tuple("--quiet", "22:00", "must be like 22:00-07:00"),
        std::tuple("--quiet", "mon-xyz 22:00-07:00", "must be like 22:00-07:00"),
        std::tuple("--quiet", "00:00-24:00", "settings.quiet_hours: must leave at least one minute"),
        std::tuple("--quiet", "mon,mon 22:00-07:00", "settings.quiet_hours[0].days[1]: must name each day once"),
        std::tuple("--digest", "monthly", "must be like hourly"),
        std::tuple("--digest", "daily 24:00", "settings.digest_time.minute: must be 0 to 1439"),
        std::tuple("--dnd", "tomorrow", "must be like 2h"), std::tuple("--dnd", "-2h", "must be like 2h"),
        std::tuple("--dnd", "8808h", "settings.do_not_disturb_until: must be at most 366 days ahead")}) {
    // What is fine beside it is not written either.
    const std::string fine = option == std::string("--digest") ? "--dnd=2h" : "--digest=hourly";
    EXPECT_THAT(Failure({"settings", "set", "eve", fine, absl::StrCat(option, "=", value)}),
                AllOf(StartsWith("carillonctl: INVALID_ARGUMENT: "), HasSubstr(fault)))
        << option << " " << value;
  }
  EXPECT_THAT(Failure({"settings", "set", "eve"}), HasSubstr("nothing to change"));
  EXPECT_THAT(Output({"settings", "get", "eve"}), HasSubstr("daily 09:00"));
}

TEST_F(SettingsTest, MutesActorsAndObjects) {
  EXPECT_EQ(Output({"settings", "mute", "cy", "--actor", "bob", "--actor", "dan", "--object", "post-1"}), "muted\n");
  EXPECT_EQ(Output({"settings", "mute", "cy", "--actor", "bob", "--for", "2h"}), "muted\n");
  const nlohmann::json mutes = Document({"settings", "mutes", "cy"})["mutes"];
  ASSERT_THAT(mutes, SizeIs(3));
  EXPECT_EQ(mutes[0]["actor_id"], "bob");
  EXPECT_TRUE(mutes[0].contains("until"));
  EXPECT_EQ(mutes[1]["actor_id"], "dan");
  EXPECT_FALSE(mutes[1].contains("until"));
  EXPECT_EQ(mutes[2]["object_id"], "post-1");
  EXPECT_THAT(Output({"settings", "mutes", "cy"}), AllOf(HasSubstr("actor   dan     for good"), HasSubstr("post-1")));
  EXPECT_EQ(Output({"settings", "unmute", "cy", "--actor", "bob", "--object", "post-1"}), "not muted any more\n");
  EXPECT_EQ(Output({"settings", "unmute", "cy", "--actor", "bob"}), "was not muted\n");
  EXPECT_THAT(Document({"settings", "mutes", "cy"})["mutes"], SizeIs(1));
  EXPECT_THAT(Failure({"settings", "mute", "cy"}), HasSubstr("give --actor or --object"));
  EXPECT_THAT(Failure({"settings", "mute", "cy", "--actor", std::string(256, 'x')}),
              HasSubstr("mutes[0].actor_id: must be 1 to 255 bytes"));
}

TEST_F(SettingsTest, TheCentreShowsWhatHoldsAndWhoseWordItIs) {
  v1::Type offer;
  offer.set_category("offers");
  ApplyType("offer.new", offer);
  v1::Type notice;
  notice.set_required(true);
  ApplyType("terms.changed", notice);
  ASSERT_EQ(CentreLine("dee", "offer.new", "email"), "offers offer.new email on default");
  EXPECT_EQ(Output({"settings", "app", "--preference", "category/offers=off", "--preference", "*:email=digest"}),
            "category/offers=off\n*:email=digest\n");
  EXPECT_EQ(Output({"settings", "app"}), "*:email=digest\ncategory/offers=off\n");
  EXPECT_EQ(CentreLine("dee", "offer.new", "email"), "offers offer.new email off app, category offers");
  Output({"settings", "set", "dee", "--preference", "offer.new:email=on", "--preference", "terms.changed=off"});
  EXPECT_EQ(CentreLine("dee", "offer.new", "email"), "offers offer.new email on recipient, type offer.new, email");
  EXPECT_EQ(CentreLine("dee", "offer.new", "in_app"), "offers offer.new in_app off app, category offers");
  EXPECT_EQ(CentreLine("dee", "terms.changed", "email"), "- terms.changed email on default; can't be switched off");
  EXPECT_EQ(CentreLine("dee", "otp.login", "in_app"), "- otp.login in_app on default; can't be switched off");
  Output({"recipients", "set", "dee", "--time-zone", "Asia/Kolkata"});
  EXPECT_THAT(Output({"settings", "centre", "dee"}), HasSubstr("\ndee, Asia/Kolkata\n  preferences     offer.new"));
  const nlohmann::json centre = Document({"settings", "centre", "dee"});
  EXPECT_EQ(centre["time_zone"], "Asia/Kolkata");
  EXPECT_THAT(centre["settings"]["preferences"], SizeIs(2));
  EXPECT_EQ(Output({"settings", "app", "--clear"}), "nothing is said: everything is on\n");
  EXPECT_THAT(Document({"settings", "app"})["preferences"], IsEmpty());
}

TEST_F(SettingsTest, TypesKeepTheirPolicies) {
  v1::Type type;
  v1::Cap& cap = *type.add_caps();
  cap.set_channel(v1::CHANNEL_EMAIL);
  cap.set_limit(3);
  cap.mutable_window()->set_seconds(3600);
  type.set_quiet_overflow(v1::OVERFLOW_DIGEST);
  type.mutable_aggregation()->mutable_window()->set_seconds(60);
  ApplyType("capped", type);
  v1::ListTypesRequest all;
  all.set_page_size(1000);
  ASSERT_OK_AND_ASSIGN(const v1::ListTypesResponse listed, client_.ListTypes(all));
  for (const v1::Type& one : listed.types()) {
    if (one.name() != "capped") {
      EXPECT_THAT(one.caps(), IsEmpty()) << one.name() << ": the shipped types set no cap";
      continue;
    }
    ASSERT_THAT(one.caps(), SizeIs(1));
    EXPECT_EQ(one.caps(0).window().seconds(), 3600);
    EXPECT_EQ(one.cap_overflow(), v1::OVERFLOW_DROP);
    EXPECT_EQ(one.quiet_overflow(), v1::OVERFLOW_DIGEST);
    EXPECT_EQ(one.aggregation().window().seconds(), 60);
    return;
  }
  FAIL() << "the type is not listed";
}

TEST_F(SettingsTest, RefusesPoliciesThatCannotHold) {
  v1::ApplyTypesRequest apply;
  v1::Type& type = *apply.add_types();
  type.set_name("receipt");
  type.set_weight(v1::WEIGHT_PAYMENT);
  type.set_routing_key("payment.receipt");
  type.add_channels(v1::CHANNEL_EMAIL);
  type.mutable_in_app()->set_title("t");
  type.add_caps()->set_channel(v1::CHANNEL_IN_APP);
  type.mutable_aggregation()->set_sliding(true);
  EXPECT_THAT(client_.ApplyTypes(apply),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("types[0].caps: must not be given for payment and otp"),
                             HasSubstr("types[0].caps[0].channel"), HasSubstr("types[0].caps[0].limit"),
                             HasSubstr("types[0].caps[0].window"), HasSubstr("types[0].aggregation:"),
                             HasSubstr("types[0].aggregation.max_window"))));
}

TEST_F(SettingsTest, AreOfOneApp) {
  Output({"settings", "set", "fay", "--digest", "hourly"});
  const nlohmann::json other = stack_->CreateApp("another");
  Client stranger(
      {.address = stack_->address(), .app_key = other["app"]["app_key"], .app_secret = other["app_secret"]});
  v1::GetSettingsRequest request;
  request.set_user_id("fay");
  ASSERT_OK_AND_ASSIGN(const v1::GetSettingsResponse got, stranger.GetSettings(request));
  EXPECT_FALSE(got.settings().has_digest_time());
}

}  // namespace
}  // namespace carillon::testing
