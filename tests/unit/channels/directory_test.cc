#include "carillon/channels/directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "carillon/channels/provider_settings.h"
#include "tests/kit/in_memory_provider_store.h"
#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const AppId kApp(7);
constexpr absl::string_view kKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
constexpr absl::string_view kOtherKey = "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

class FakeCatalogStore final : public CatalogStore {
 public:
  absl::StatusOr<int64_t> Version() override {
    if (is_away) return absl::UnavailableError("away");
    return version;
  }
  absl::StatusOr<std::vector<NotificationType>> LoadTypes() override { return std::vector<NotificationType>(); }
  absl::Status Apply(absl::Span<const NotificationType>) override { return absl::OkStatus(); }

  std::atomic<int64_t> version = 1;
  std::atomic<bool> is_away = false;
};

class FakeTemplateStore final : public TemplateStore {
 public:
  absl::StatusOr<std::vector<StoredTemplate>> Apply(absl::Span<const StoredTemplate>) override {
    return absl::UnimplementedError("");
  }
  absl::StatusOr<StoredTemplate> Activate(const TemplateKey&, int) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::vector<StoredTemplate>> List(const ListQuery&) override { return absl::UnimplementedError(""); }
  absl::StatusOr<std::vector<StoredTemplate>> LoadActive() override { return templates; }
  absl::StatusOr<Candidates> FindCandidates(AppId, const std::string&, Channel) override {
    return absl::UnimplementedError("");
  }

  std::vector<StoredTemplate> templates;
};

class ChannelDirectoryTest : public ::testing::Test {
 protected:
  static MasterKey Key(absl::string_view hex = kKey) { return *MasterKey::FromHex(hex); }
  static v1::Provider Twilio(const std::string& name, const std::string& password = "secret") {
    v1::Provider provider;
    provider.set_name(name);
    provider.mutable_twilio()->set_password(password);
    return provider;
  }
  static StoredProvider Sealed(const v1::Provider& provider, absl::string_view hex = kKey) {
    return SealProvider(Key(hex), kApp, Channel::kSms, provider);
  }

  void Set(std::vector<StoredProvider> rows) {
    ASSERT_OK(providers_->Set(kApp, Channel::kSms, [&](auto) { return rows; }));
    ++catalogue_->version;
    ASSERT_OK(directory_.Refresh());
  }
  std::vector<std::string> Names(Channel channel = Channel::kSms) const {
    std::vector<std::string> names;
    for (const auto& provider : *directory_.Providers(kApp, channel)) names.push_back(provider->name);
    return names;
  }

  const std::shared_ptr<FakeCatalogStore> catalogue_ = std::make_shared<FakeCatalogStore>();
  const std::shared_ptr<InMemoryProviderStore> providers_ = std::make_shared<InMemoryProviderStore>();
  const std::shared_ptr<FakeTemplateStore> templates_ = std::make_shared<FakeTemplateStore>();
  ChannelDirectory directory_{
      {.catalogue = catalogue_, .providers = providers_, .templates = templates_, .key = Key()}};
};

TEST_F(ChannelDirectoryTest, HasNothingBeforeItIsRead) {
  EXPECT_FALSE(directory_.loaded());
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_EQ(directory_.FindTemplate(kApp, "like", Channel::kSms, "", "en"), nullptr);
}

TEST_F(ChannelDirectoryTest, ListsProvidersInTheirOrder) {
  Set({Sealed(Twilio("zulu")), Sealed(Twilio("alpha"))});
  EXPECT_TRUE(directory_.loaded());
  EXPECT_THAT(Names(), ElementsAre("zulu", "alpha"));
  EXPECT_THAT(Names(Channel::kEmail), IsEmpty());
  const auto& first = directory_.Providers(kApp, Channel::kSms)->front();
  EXPECT_EQ(first->app, kApp);
  EXPECT_EQ(first->channel, Channel::kSms);
  EXPECT_EQ(first->settings.twilio().password(), "secret");
}

TEST_F(ChannelDirectoryTest, KeepsTheObjectOfAProviderThatDidNotChange) {
  const StoredProvider a = Sealed(Twilio("a")), b = Sealed(Twilio("b"));
  Set({a, b});
  const ProviderList before = *directory_.Providers(kApp, Channel::kSms);
  Set({a, Sealed(Twilio("b", "another"))});
  const ProviderList after = *directory_.Providers(kApp, Channel::kSms);
  EXPECT_EQ(after[0], before[0]);
  EXPECT_NE(after[1], before[1]);
  EXPECT_EQ(before[1]->settings.twilio().password(), "secret");
  EXPECT_EQ(after[1]->settings.twilio().password(), "another");
}

TEST_F(ChannelDirectoryTest, ForgetsProvidersThatWereRemoved) {
  Set({Sealed(Twilio("a"))});
  Set({});
  EXPECT_THAT(Names(), IsEmpty());
}

TEST_F(ChannelDirectoryTest, LeavesOutWhatItCantOpen) {
  StoredProvider moved = Sealed(Twilio("moved"));
  moved.name = "renamed";
  Set({Sealed(Twilio("foreign"), kOtherKey), Sealed(Twilio("own")), moved});
  EXPECT_THAT(Names(), ElementsAre("own"));
}

TEST_F(ChannelDirectoryTest, FindsTemplatesAndKeepsThoseThatWereHandedOut) {
  v1::Template content;
  content.mutable_sms()->set_text("hello");
  templates_->templates = {{.app = kApp,
                            .type = "like",
                            .channel = Channel::kSms,
                            .locale = "",
                            .version = 1,
                            .active = true,
                            .create_time = {},
                            .content = content.SerializeAsString()}};
  Set({});
  const auto found = directory_.FindTemplate(kApp, "like", Channel::kSms, "es", "en");
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(directory_.FindTemplate(kApp, "other", Channel::kSms, "es", "en"), nullptr);
  templates_->templates.clear();
  Set({});
  EXPECT_EQ(directory_.FindTemplate(kApp, "like", Channel::kSms, "es", "en"), nullptr);
  EXPECT_EQ(found->sms().text(), "hello");
}

TEST_F(ChannelDirectoryTest, AnswersFromWhatItHasWhileTheDatabaseIsAway) {
  Set({Sealed(Twilio("a"))});
  catalogue_->is_away = true;
  EXPECT_THAT(directory_.Refresh(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Names(), ElementsAre("a"));
}

TEST_F(ChannelDirectoryTest, IsReadByItselfOnceItIsStarted) {
  directory_.Start();
  EXPECT_TRUE(WaitFor([&] { return directory_.loaded(); }));
  directory_.Stop();
  directory_.Stop();
}

}  // namespace
}  // namespace carillon::testing
