// docs/decisions.md, row by row: what it says is what the decider does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "carillon/domain/decider.h"
#include "carillon/domain/delivery.h"
#include "carillon/domain/rule_text.h"
#include "tests/kit/environment.h"

namespace carillon {
namespace {

struct Row {
  std::string number, message, type, settings, time, outcome, because;
};

std::vector<Row> ReadTable() {
  std::ifstream file(testing::SourceDirectory() + "/docs/decisions.md");
  std::vector<Row> rows;
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> cells = absl::StrSplit(line, '|');
    if (cells.size() != 9) continue;
    for (std::string& cell : cells) cell = std::string(absl::StripAsciiWhitespace(cell));
    if (int number = 0; !absl::SimpleAtoi(cells[1], &number)) continue;
    rows.push_back({cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]});
  }
  return rows;
}

std::vector<std::string> PartsOf(const std::string& cell) {
  if (cell == "-") return {};
  return absl::StrSplit(cell, "; ");
}

// "Sun 25 Oct 2026 02:30 (second)", on the clocks of a zone.
absl::Time ParseLocal(absl::string_view text, absl::TimeZone zone) {
  const bool second = absl::ConsumeSuffix(&text, " (second)");
  absl::ConsumeSuffix(&text, " (first)");
  absl::Time as_utc;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%a %d %b %Y %H:%M", std::string(text), &as_utc, &error)) << text << ": " << error;
  EXPECT_EQ(absl::FormatTime("%a", as_utc, absl::UTCTimeZone()), text.substr(0, 3)) << text;
  const absl::TimeZone::TimeInfo info = zone.At(absl::ToCivilSecond(as_utc, absl::UTCTimeZone()));
  return second ? info.post : info.pre;
}

Channel ToChannel(const std::string& word) {
  const std::optional<Channel> channel = ParseChannel(word);
  EXPECT_TRUE(channel.has_value()) << word;
  return channel.value_or(Channel::kInApp);
}

int ToMinutes(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  int hours = 0, minutes = 0;
  EXPECT_TRUE(parts.size() == 2 && absl::SimpleAtoi(parts[0], &hours) && absl::SimpleAtoi(parts[1], &minutes)) << text;
  return hours * 60 + minutes;
}

std::optional<absl::Weekday> ToWeekday(absl::string_view word) {
  constexpr const char* kDays[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  for (int i = 0; i < 7; ++i) {
    if (word == kDays[i]) return static_cast<absl::Weekday>(i);
  }
  return std::nullopt;
}

Overflow ToOverflow(const std::string& word) {
  static const std::map<std::string, Overflow> kWords = {{"drop", Overflow::kDrop},
                                                         {"hold", Overflow::kHold},
                                                         {"digest", Overflow::kDigest},
                                                         {"in_app_only", Overflow::kInAppOnly}};
  EXPECT_TRUE(kWords.contains(word)) << word;
  return kWords.contains(word) ? kWords.at(word) : Overflow::kDrop;
}

// A row, made ready for the decider.
class Case {
 public:
  explicit Case(const Row& row) {
    const size_t space = row.time.rfind(' ');
    EXPECT_TRUE(absl::LoadTimeZone(row.time.substr(space + 1), &zone_)) << row.time;
    now_ = ParseLocal(absl::string_view(row.time).substr(0, space), zone_);
    ReadMessage(row.message);
    for (const std::string& part : PartsOf(row.type)) ReadPolicy(part);
    for (const std::string& part : PartsOf(row.settings)) ReadSetting(part);
    auto quiet_hours = QuietHours::Make(spans_);
    EXPECT_TRUE(quiet_hours.ok()) << quiet_hours.status();
    if (quiet_hours.ok()) settings_.quiet_hours = *std::move(quiet_hours);
  }

  ChannelDecision Decide() const {
    const DecisionInput input{.type = type_,
                              .critical = critical_,
                              .is_digest = type_ == kDigestType,
                              .policy = policy_,
                              .channels = absl::MakeConstSpan(&channel_, 1),
                              .expire_time = expire_time_,
                              .app_preferences = app_preferences_,
                              .settings = settings_,
                              .zone = zone_,
                              .actor_muted_until = actor_muted_until_,
                              .object_muted_until = object_muted_until_,
                              .now = now_};
    ChannelDecision decision = carillon::Decide(input).at(0);
    if (cap_use_.has_value() && decision.outcome == Outcome::kSend) ApplyCap(input, *cap_use_, decision);
    return decision;
  }

  std::string OutcomeInWords(const ChannelDecision& decision) const {
    switch (decision.outcome) {
      case Outcome::kSend:
        return "sent";
      case Outcome::kHold:
        return "held until " + InWords(decision.until);
      case Outcome::kDigest:
        return "digest at " + InWords(NextDigest(settings_.digest_time, now_, zone_));
      case Outcome::kInAppOnly:
        return "in the feed only";
      case Outcome::kSuppress:
        return "suppressed";
      case Outcome::kExpire:
        return "expired";
    }
    return "";
  }

  std::string BecauseInWords(const ChannelDecision& decision) const {
    if (decision.rules.empty()) return "-";
    return absl::StrJoin(decision.rules, "; ",
                         [this](std::string* text, const Rule& rule) { text->append(Describe(rule, zone_)); });
  }

 private:
  // "like by email, ttl 2h", of which that is left; "like by email, ttl ended"; "like in_app".
  void ReadMessage(const std::string& cell) {
    const std::vector<std::string> parts = absl::StrSplit(cell, ", ttl ");
    const std::vector<std::string> words = absl::StrSplit(parts[0], ' ');
    type_ = words[0];
    channel_ = ToChannel(words.back());
    if (parts.size() < 2) return;
    absl::Duration left;
    EXPECT_TRUE(parts[1] == "ended" || absl::ParseDuration(parts[1], &left)) << cell;
    expire_time_ = now_ + left;
  }

  // "category reactions", "critical", "required", "quiet: hold", "cap 5 in 1h: drop",
  // "this is 5" or "5 used, room at Mon 2 Mar 2026 12:20".
  void ReadPolicy(absl::string_view part) {
    const std::vector<std::string> words = absl::StrSplit(part, absl::ByAnyChar(" :"), absl::SkipEmpty());
    if (words[0] == "category") {
      policy_.category = words[1];
    } else if (words[0] == "critical") {
      critical_ = true;
    } else if (words[0] == "required") {
      policy_.required = true;
    } else if (words[0] == "quiet") {
      policy_.quiet_overflow = ToOverflow(words[1]);
    } else if (words[0] == "cap") {
      policy_.caps.push_back({.channel = channel_});
      EXPECT_TRUE(absl::SimpleAtoi(words[1], &policy_.caps[0].limit)) << part;
      EXPECT_TRUE(absl::ParseDuration(words[3], &policy_.caps[0].window)) << part;
      policy_.cap_overflow = ToOverflow(words[4]);
    } else if (absl::ConsumePrefix(&part, "this is ")) {
      cap_use_ = {.cap = policy_.caps.at(0)};
      EXPECT_TRUE(absl::SimpleAtoi(part, &cap_use_->count)) << part;
    } else {
      cap_use_ = {.cap = policy_.caps.at(0), .has_room = false};
      EXPECT_TRUE(absl::SimpleAtoi(words[0], &cap_use_->count)) << part;
      const std::vector<absl::string_view> halves = absl::StrSplit(part, " used, room at ");
      cap_use_->next_room = ParseLocal(halves.at(1), zone_);
    }
  }

  void ReadSetting(absl::string_view part) {
    if (absl::ConsumePrefix(&part, "mutes the ")) {
      const std::vector<std::string> halves = absl::StrSplit(part, " until ");
      const absl::Time until = halves.size() > 1 ? ParseLocal(halves[1], zone_) : absl::InfiniteFuture();
      (halves[0] == "actor" ? actor_muted_until_ : object_muted_until_) = until;
    } else if (absl::ConsumePrefix(&part, "do not disturb until ")) {
      settings_.do_not_disturb_until = ParseLocal(part, zone_);
    } else if (absl::ConsumePrefix(&part, "quiet ")) {
      ReadQuiet(part);
    } else if (absl::ConsumePrefix(&part, "digests ")) {
      ReadDigests(part);
    } else {
      const bool of_app = absl::ConsumePrefix(&part, "app: ");
      (of_app ? app_preferences_ : settings_.preferences).push_back(ReadPreference(part));
    }
  }

  // "22:00-07:00" of every day, or "Sat 00:00-24:00".
  void ReadQuiet(absl::string_view part) {
    const std::optional<absl::Weekday> day = ToWeekday(part.substr(0, 3));
    if (day.has_value()) part.remove_prefix(4);
    const std::vector<std::string> times = absl::StrSplit(part, '-');
    for (int i = 0; i < 7; ++i) {
      const auto of_week = static_cast<absl::Weekday>(i);
      if (!day.has_value() || *day == of_week) spans_.push_back({of_week, ToMinutes(times[0]), ToMinutes(times[1])});
    }
  }

  // "hourly", "09:00" or "Fri 18:00".
  void ReadDigests(absl::string_view part) {
    DigestTime& time = settings_.digest_time;
    if (part == "hourly") {
      time.every = DigestTime::Every::kHour;
      return;
    }
    if (const std::optional<absl::Weekday> day = ToWeekday(part.substr(0, 3)); day.has_value()) {
      time.every = DigestTime::Every::kWeek;
      time.day = *day;
      part.remove_prefix(4);
    }
    time.minute = ToMinutes(std::string(part));
  }

  // "like by email: off", "category reactions: digest", "all: off".
  static Preference ReadPreference(absl::string_view part) {
    const std::vector<std::string> halves = absl::StrSplit(part, ": ");
    const std::vector<std::string> words = absl::StrSplit(halves.at(0), " by ");
    Preference preference;
    absl::string_view name = words[0];
    if (absl::ConsumePrefix(&name, "category ")) {
      preference.scope = Preference::Scope::kCategory;
    } else if (name == "all") {
      name = "";
    } else {
      preference.scope = Preference::Scope::kType;
    }
    preference.name = std::string(name);
    if (words.size() > 1) preference.channel = ToChannel(words[1]);
    static const std::map<std::string, Choice> kChoices = {
        {"on", Choice::kOn}, {"off", Choice::kOff}, {"digest", Choice::kDigest}};
    EXPECT_TRUE(kChoices.contains(halves.at(1))) << part;
    preference.choice = kChoices.at(halves.at(1));
    return preference;
  }

  // As the table writes it. Of a time that the clocks show twice it says which.
  std::string InWords(absl::Time time) const {
    const absl::TimeZone::TimeInfo info = zone_.At(absl::ToCivilSecond(time, zone_));
    const char* which = info.kind != absl::TimeZone::TimeInfo::REPEATED ? ""
                        : time == info.pre                              ? " (first)"
                                                                        : " (second)";
    return absl::FormatTime("%a %-e %b %Y %H:%M", time, zone_) + which;
  }

  absl::TimeZone zone_;
  absl::Time now_;
  std::string type_;
  Channel channel_ = Channel::kInApp;
  std::optional<absl::Time> expire_time_;
  bool critical_ = false;
  DeliveryPolicy policy_;
  std::optional<CapUse> cap_use_;
  std::vector<QuietSpan> spans_;
  RecipientSettings settings_;
  std::vector<Preference> app_preferences_;
  MutedUntil actor_muted_until_;
  MutedUntil object_muted_until_;
};

TEST(DecisionTable, SaysWhatTheDeciderDoes) {
  const std::vector<Row> rows = ReadTable();
  ASSERT_GE(rows.size(), 60u);
  for (size_t i = 0; i < rows.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("row ", rows[i].number));
    EXPECT_EQ(rows[i].number, absl::StrCat(i + 1));
    const Case one(rows[i]);
    const ChannelDecision decision = one.Decide();
    EXPECT_EQ(one.OutcomeInWords(decision), rows[i].outcome);
    EXPECT_EQ(one.BecauseInWords(decision), rows[i].because);
  }
}

}  // namespace
}  // namespace carillon
