// The shipped words of digests: what they say, and that they lack nothing.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "carillon/channels/render.h"
#include "carillon/channels/template_set.h"
#include "carillon/postgres/catalog_store.h"
#include "carillon/postgres/template_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr const char* kUnsubscribe = "https://carillon/u/1";

Json Item(const std::string& title, const std::string& body = "", const std::string& link = "") {
  return {{"title", title}, {"body", body},     {"link", link},          {"type", "like"},
          {"actor_id", ""}, {"actor_name", ""}, {"object_id", "post-1"}, {"time", "2026-11-27T09:00:00Z"}};
}

// As a digest of twelve says it.
Json Digest(int more) {
  return {{"title", "12 news"},
          {"text", "Ana & Bob"},
          {"link", "https://a/?b&c"},
          {"count", 10 + more},
          {"more", more},
          {"more_any", more > 0},
          {"items", {Item("Ana <3 your post", "a & b", "https://a/1?x&y"), Item("Bob follows you")}}};
}

class DigestTemplatesTest : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresCatalogStore catalogue(MakePool(1));
    ASSERT_OK_AND_ASSIGN(const std::vector<NotificationType> types, catalogue.LoadTypes());
    for (const NotificationType& type : types) {
      if (type.app == kShippedApp && type.name == "marketing.digest") type_ = type;
    }
    ASSERT_EQ(type_.name, "marketing.digest");
    PostgresTemplateStore store(MakePool(1));
    ASSERT_OK_AND_ASSIGN(const std::vector<StoredTemplate> all, store.LoadActive());
    for (const StoredTemplate& stored : all) {
      if (stored.app == kShippedApp && stored.type == type_.name) shipped_.push_back(stored);
    }
    set_ = TemplateSet(shipped_);
  }

  v1::RenderedContent Render(Channel channel, const std::string& locale, const Json& data) {
    const v1::Template* words = set_.Find(NewApp(), type_.name, channel, locale, "en");
    if (words == nullptr) {
      ADD_FAILURE() << "none for " << ToString(channel);
      return {};
    }
    return RenderOf(*words, channel, data);
  }
  // The test fails if a name is used that nothing is given for.
  v1::RenderedContent RenderOf(const v1::Template& words, Channel channel, const Json& data) {
    Notification notification;
    notification.type = type_.name;
    notification.recipient = RecipientId("ann");
    notification.data_json = data.dump();
    const RenderInput input{.notification = notification, .type = type_, .unsubscribe_url = kUnsubscribe};
    EXPECT_THAT(MissingVariables(words, input), IsEmpty()) << ToString(channel) << words.locale();
    const auto rendered = RenderContent(words, channel, input);
    EXPECT_OK(rendered);
    return rendered.value_or(v1::RenderedContent());
  }

  NotificationType type_;
  std::vector<StoredTemplate> shipped_;
  TemplateSet set_;
};

TEST_F(DigestTemplatesTest, AreThereInEveryShippedLanguageAndLackNothing) {
  EXPECT_THAT(shipped_, SizeIs(16));
  for (const StoredTemplate& stored : shipped_) {
    const v1::Template words = TemplateOf(stored);
    EXPECT_THAT(CheckContent(words), IsEmpty());
    for (const Json& data : {Digest(0), Digest(2), Json{{"title", "Your week"}, {"text", "Ten bells"}}})
      RenderOf(words, stored.channel, data);
  }
}

TEST_F(DigestTemplatesTest, AMailListsWhatHappened) {
  const v1::RenderedContent mail = Render(Channel::kEmail, "en-GB", Digest(2));
  EXPECT_EQ(mail.subject(), "New for you: 12");
  EXPECT_EQ(mail.text(),
            "New for you: 12\n"
            "\n- Ana <3 your post\n  a & b\n  https://a/1?x&y\n"
            "\n- Bob follows you\n"
            "\n+ 2 more\n"
            "\nShow all: https://a/?b&c\n"
            "\n-- \nUnsubscribe: https://carillon/u/1\n");
  EXPECT_THAT(mail.html(),
              AllOf(HasSubstr("<html lang=\"en\">"), HasSubstr("New for you: 12</h1>"),
                    HasSubstr("<li>\n<a href=\"https://a/1?x&amp;y\">Ana &lt;3 your post</a>\n<br>a &amp; b\n</li>\n"),
                    HasSubstr("<li>\nBob follows you\n</li>\n<li>+ 2 more</li>\n</ul>"),
                    HasSubstr("<a href=\"https://a/?b&amp;c\">Show all</a>"),
                    HasSubstr("<a href=\"https://carillon/u/1\">Unsubscribe</a>"), Not(HasSubstr("12 news"))));
}

TEST_F(DigestTemplatesTest, SayNothingOfMoreWhereThereIsNone) {
  EXPECT_THAT(Render(Channel::kEmail, "en", Digest(0)).text(), Not(HasSubstr("more")));
  EXPECT_EQ(Render(Channel::kFcm, "en", Digest(0)).body(), "Ana <3 your post\nBob follows you\n");
}

TEST_F(DigestTemplatesTest, SpeakTheRecipientsLanguage) {
  EXPECT_EQ(Render(Channel::kEmail, "de-AT", Digest(2)).subject(), "Neu für dich: 12");
  EXPECT_THAT(Render(Channel::kEmail, "es", Digest(2)).text(), HasSubstr("+ 2 más\n\nVer todo: https://a/?b&c\n"));
  EXPECT_EQ(Render(Channel::kSms, "de", Digest(2)).text(), "Neu für dich: 12 https://a/?b&c");
  EXPECT_EQ(Render(Channel::kApns, "fr", Digest(2)).title(), "New for you: 12");
}

TEST_F(DigestTemplatesTest, PushListsTitlesAndLinksToAll) {
  for (const Channel channel : {Channel::kApns, Channel::kFcm}) {
    const v1::RenderedContent push = Render(channel, "de", Digest(2));
    EXPECT_EQ(push.title(), "Neu für dich: 12");
    EXPECT_EQ(push.body(), "Ana <3 your post\nBob follows you\n+ 2 weitere\n");
    EXPECT_EQ(push.action_link(), "https://a/?b&c");
  }
}

TEST_F(DigestTemplatesTest, ADigestOfAnAppsOwnMakingSaysItsOwnWords) {
  const Json own = {{"title", "Your week"}, {"text", "Ten bells"}, {"link", "https://a/week"}};
  const v1::RenderedContent mail = Render(Channel::kEmail, "en", own);
  EXPECT_EQ(mail.subject(), "Your week");
  EXPECT_THAT(mail.text(), HasSubstr("Your week\n\nTen bells\n\nShow all: https://a/week\n"));
  EXPECT_EQ(Render(Channel::kSms, "en", own).text(), "Your week: Ten bells https://a/week");
  EXPECT_EQ(Render(Channel::kApns, "en", own).title(), "Your week");
  EXPECT_EQ(Render(Channel::kApns, "en", own).body(), "Ten bells");
  EXPECT_EQ(Render(Channel::kApns, "en", {{"title", "Your week"}}).title(), "");
  EXPECT_EQ(Render(Channel::kApns, "en", {{"title", "Your week"}}).body(), "Your week");
}

}  // namespace
}  // namespace carillon::testing
