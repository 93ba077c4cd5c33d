#include "carillon/postgres/settings_listener.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "carillon/postgres/settings_store.h"
#include "carillon/runtime/settings_cache.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;

// What was told, in words, in order.
class Heard {
 public:
  void Add(const std::string& word) {
    absl::MutexLock lock(&mutex_);
    words_.push_back(word);
  }
  std::vector<std::string> words() const {
    absl::MutexLock lock(&mutex_);
    return words_;
  }
  bool Has(const std::string& word, int times = 1) const {
    return WaitFor([&] {
      const std::vector<std::string> all = words();
      return std::count(all.begin(), all.end(), word) >= times;
    });
  }

 private:
  mutable absl::Mutex mutex_;
  std::vector<std::string> words_ ABSL_GUARDED_BY(mutex_);
};

class SettingsListenerTest : public PostgresTest {
 protected:
  static PgOptions Named(const std::string& name) {
    PgOptions options = Options();
    options.application_name = name;
    return options;
  }
  static void Terminate(const std::string& name) {
    Query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '" + name + "'");
  }
  FeedKey Key(const std::string& recipient) const { return {app_, RecipientId(recipient)}; }
  std::string Word(const std::string& recipient) const { return absl::StrCat(app_.value(), "/", recipient); }

  // Numbers stand for all that may be said.
  void Say(const FeedKey& key, int64_t number) {
    EXPECT_OK(store_.Update(key, [&](RecipientSettings& settings) {
      settings.do_not_disturb_until = absl::FromUnixSeconds(number);
      return absl::OkStatus();
    }));
  }

  const AppId app_ = NewApp();
  PostgresSettingsStore store_{MakePool(4)};
};

class HearingTest : public SettingsListenerTest {
 protected:
  void SetUp() override { ASSERT_TRUE(heard_.Has("open")); }

  Heard heard_;
  PostgresSettingsListener listener_{
      Named("hearing"),
      {.on_change =
           [this](const FeedKey& key) { heard_.Add(absl::StrCat(key.app.value(), "/", key.recipient.value())); },
       .on_change_of_many = [this] { heard_.Add("many"); },
       .on_open = [this] { heard_.Add("open"); },
       .on_loss = [this](const absl::Status&) { heard_.Add("loss"); }}};
};

TEST_F(HearingTest, HearsOfEverythingThatBearsOnDecisions) {
  Say(Key("ann"), 1);
  EXPECT_TRUE(heard_.Has(Word("ann")));
  const Mute mute = {MuteKind::kActor, "7"};
  EXPECT_OK(store_.AddMutes(Key("bob"), {&mute, 1}));
  EXPECT_TRUE(heard_.Has(Word("bob")));
  EXPECT_OK(store_.RemoveMutes(Key("bob"), {&mute, 1}));
  EXPECT_TRUE(heard_.Has(Word("bob"), 2));
  EXPECT_THAT(heard_.words(), ElementsAre("open", Word("ann"), Word("bob"), Word("bob")));
}

TEST_F(HearingTest, HearsNothingOfWhatWasRolledBack) {
  EXPECT_THAT(store_.Update(Key("ann"), [](RecipientSettings&) { return absl::InvalidArgumentError("no"); }),
              StatusIs(absl::StatusCode::kInvalidArgument));
  Say(Key("bob"), 1);
  EXPECT_TRUE(heard_.Has(Word("bob")));
  EXPECT_THAT(heard_.words(), ElementsAre("open", Word("bob")));
}

TEST_F(HearingTest, TakesAllBehindTheFirstColonForTheRecipient) {
  Say(Key(":a:b:"), 1);
  EXPECT_TRUE(heard_.Has(Word(":a:b:")));
}

TEST_F(HearingTest, TakesWhatNamesNobodyForAChangeOfMany) {
  for (const char* payload : {"7", "", "x:ann", ":ann"})
    Query(absl::StrCat("NOTIFY carillon_settings, '", payload, "'"));
  EXPECT_TRUE(heard_.Has("many", 4));
  EXPECT_THAT(heard_.words(), ElementsAre("open", "many", "many", "many", "many"));
}

TEST_F(HearingTest, TellsOfALossAndThatItHearsAgain) {
  Terminate("hearing");
  ASSERT_TRUE(heard_.Has("open", 2));
  EXPECT_THAT(heard_.words(), ElementsAre("open", "loss", "open"));
  Say(Key("ann"), 1);
  EXPECT_TRUE(heard_.Has(Word("ann")));
}

class FollowingTest : public SettingsListenerTest {
 protected:
  int64_t Cached(const FeedKey& key) {
    const auto entries = cache_.Read({&key, 1});
    EXPECT_OK(entries);
    if (!entries.ok()) return -1;
    return absl::ToUnixSeconds(entries->at(0)->settings().do_not_disturb_until.value_or(absl::UnixEpoch()));
  }
  // Changes while others read, until there were so many changes; `each` is called for each.
  void ChangeWhileOthersRead(const FeedKey& key, int changes, absl::FunctionRef<void(int)> each) {
    std::atomic<bool> done = false;
    RunThreads(3, [&](int thread) {
      if (thread > 0) {
        while (!done) Cached(key);
        return;
      }
      for (int i = 1; i <= changes; ++i) {
        Say(key, i);
        each(i);
      }
      done = true;
    });
  }

  SettingsCache cache_{store_, 100};
  PostgresSettingsListener listener_{Named("following"), NewsFor(cache_)};
};

TEST_F(FollowingTest, ACacheSaysWhatHoldsAfterEachChange) {
  for (int i = 1; i <= 20; ++i) {
    Say(Key("ann"), i);
    EXPECT_TRUE(WaitFor([&] { return Cached(Key("ann")) == i; })) << i;
  }
}

// What was kept by mistake would stay.
TEST_F(FollowingTest, ACacheKeepsNothingThatWasReadBeforeAChange) {
  ChangeWhileOthersRead(Key("ann"), 200, [](int) {});
  EXPECT_TRUE(WaitFor([&] { return Cached(Key("ann")) == 200; }));
}

TEST_F(FollowingTest, ACacheKeepsNothingOverALostConnection) {
  ChangeWhileOthersRead(Key("ann"), 100, [](int i) {
    if (i % 20 == 0) Terminate("following");
  });
  EXPECT_TRUE(WaitFor([&] { return Cached(Key("ann")) == 100; }));
  Say(Key("ann"), 101);
  EXPECT_TRUE(WaitFor([&] { return Cached(Key("ann")) == 101; }));
}

}  // namespace
}  // namespace carillon::testing
