#include "carillon/postgres/template_store.h"

#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "carillon/channels/render.h"
#include "carillon/channels/template_set.h"
#include "carillon/postgres/catalog_store.h"
#include "tests/contract/postgres/postgres_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class TemplateStoreTest : public PostgresTest {
 protected:
  StoredTemplate Text(const std::string& type, const std::string& locale, const std::string& content) const {
    return {
        .app = app_, .type = type, .channel = Channel::kSms, .locale = locale, .create_time = {}, .content = content};
  }
  // Applies one and returns the version that is active then.
  int Apply(const StoredTemplate& stored) {
    const auto applied = store_.Apply({&stored, 1});
    EXPECT_OK(applied);
    return applied.ok() && applied->size() == 1 ? applied->front().version : 0;
  }
  TemplateKey Key(const std::string& type, const std::string& locale) const {
    return {.app = app_, .type = type, .channel = Channel::kSms, .locale = locale};
  }
  // As type/locale/version, or with + if it is active.
  std::vector<std::string> List(const TemplateStore::ListQuery& query) {
    const auto rows = store_.List(query);
    EXPECT_OK(rows);
    std::vector<std::string> texts;
    for (const StoredTemplate& row : rows.value_or(std::vector<StoredTemplate>())) {
      texts.push_back(absl::StrCat(row.type, "/", row.locale, "/", row.version, row.active ? "+" : ""));
    }
    return texts;
  }
  std::vector<std::string> ListOwn(bool all_versions) {
    return List({.app = app_, .type = "like", .all_versions = all_versions, .limit = 1000});
  }
  static std::string CatalogueVersion() { return Query("SELECT version FROM catalogue_version"); }

  const AppId app_ = NewApp();
  PostgresTemplateStore store_{MakePool(4)};
};

TEST_F(TemplateStoreTest, AddsEachAsTheNewActiveVersion) {
  const std::string bytes("\x01\x00\xff'\\", 5);
  const std::vector<StoredTemplate> wanted = {Text("like", "es", bytes), Text("like", "", "b")};
  ASSERT_OK_AND_ASSIGN(const std::vector<StoredTemplate> applied, store_.Apply(wanted));
  ASSERT_THAT(applied, SizeIs(2));
  EXPECT_EQ(applied[0].app, app_);
  EXPECT_EQ(applied[0].type, "like");
  EXPECT_EQ(applied[0].channel, Channel::kSms);
  EXPECT_EQ(applied[0].locale, "es");
  EXPECT_EQ(applied[0].version, 1);
  EXPECT_TRUE(applied[0].active);
  EXPECT_EQ(applied[0].content, bytes);
  EXPECT_GT(applied[0].create_time, absl::UnixEpoch());
  EXPECT_EQ(applied[1].locale, "");
  EXPECT_EQ(Apply(Text("like", "es", "new")), 2);
  EXPECT_THAT(ListOwn(true), ElementsAre("like//1+", "like/es/2+", "like/es/1"));
}

TEST_F(TemplateStoreTest, MakesNoNewVersionOfWhatIsActiveAlready) {
  EXPECT_EQ(Apply(Text("like", "", "a")), 1);
  EXPECT_EQ(Apply(Text("like", "", "a")), 1);
  EXPECT_EQ(Apply(Text("like", "", "b")), 2);
  // What equals an older one is a new version all the same.
  EXPECT_EQ(Apply(Text("like", "", "a")), 3);
  EXPECT_THAT(ListOwn(true), ElementsAre("like//3+", "like//2", "like//1"));
}

TEST_F(TemplateStoreTest, AppliesAllOrNone) {
  StoredTemplate wrong = Text("like", "es", "x");
  wrong.channel = Channel::kInApp;
  const std::string before = CatalogueVersion();
  EXPECT_THAT(store_.Apply({Text("like", "", "x"), wrong}), Not(IsOk()));
  EXPECT_THAT(ListOwn(true), IsEmpty());
  EXPECT_EQ(CatalogueVersion(), before);
}

TEST_F(TemplateStoreTest, ActivatesAnotherVersion) {
  for (const std::string content : {"a", "b", "c"}) Apply(Text("like", "es", content));
  ASSERT_OK_AND_ASSIGN(const StoredTemplate older, store_.Activate(Key("like", "es"), 1));
  EXPECT_EQ(older.content, "a");
  EXPECT_TRUE(older.active);
  EXPECT_THAT(ListOwn(true), ElementsAre("like/es/3", "like/es/2", "like/es/1+"));
  // Again, and forward.
  ASSERT_OK(store_.Activate(Key("like", "es"), 1));
  ASSERT_OK(store_.Activate(Key("like", "es"), 3));
  EXPECT_THAT(ListOwn(false), ElementsAre("like/es/3+"));
  EXPECT_EQ(Apply(Text("like", "es", "d")), 4);
}

TEST_F(TemplateStoreTest, KnowsNoOtherVersions) {
  Apply(Text("like", "es", "a"));
  const std::string before = CatalogueVersion();
  EXPECT_THAT(store_.Activate(Key("like", "es"), 2), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Activate(Key("like", ""), 1), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_.Activate({.app = NewApp(), .type = "like", .channel = Channel::kSms, .locale = "es"}, 1),
              StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ListOwn(false), ElementsAre("like/es/1+"));
  EXPECT_EQ(CatalogueVersion(), before);
}

TEST_F(TemplateStoreTest, MovesTheCataloguesVersionOn) {
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const int64_t before, catalogue.Version());
  Apply(Text("like", "", "a"));
  Apply(Text("like", "", "b"));
  ASSERT_OK_AND_ASSIGN(const int64_t applied, catalogue.Version());
  EXPECT_GT(applied, before);
  ASSERT_OK(store_.Activate(Key("like", ""), 1));
  ASSERT_OK_AND_ASSIGN(const int64_t activated, catalogue.Version());
  EXPECT_GT(activated, applied);
}

TEST_F(TemplateStoreTest, LeavesTheCataloguesVersionWhereNothingChanges) {
  Apply(Text("like", "", "a"));
  Apply(Text("like", "", "b"));
  const std::string before = CatalogueVersion();
  EXPECT_EQ(Apply(Text("like", "", "b")), 2);
  ASSERT_OK_AND_ASSIGN(const StoredTemplate active, store_.Activate(Key("like", ""), 2));
  EXPECT_EQ(active.content, "b");
  EXPECT_EQ(CatalogueVersion(), before);
}

TEST_F(TemplateStoreTest, KeepsTheNewestFiftyVersions) {
  Apply(Text("like", "", "another's"));
  for (int i = 1; i <= 51; ++i) Apply(Text("like", "es", absl::StrCat(i)));
  // The oldest that is left, which the next one makes leave.
  ASSERT_OK(store_.Activate(Key("like", "es"), 2));
  EXPECT_THAT(ListOwn(true), SizeIs(51));
  EXPECT_EQ(Apply(Text("like", "es", "newest")), 52);
  const std::vector<std::string> kept = ListOwn(true);
  ASSERT_THAT(kept, SizeIs(51));
  EXPECT_EQ(kept.front(), "like//1+");
  EXPECT_EQ(kept[1], "like/es/52+");
  EXPECT_EQ(kept.back(), "like/es/3");
}

TEST_F(TemplateStoreTest, RefusesMoreActiveOnesThanAnAppMayHave) {
  std::vector<StoredTemplate> many;
  for (int i = 0; i < 2000; ++i) many.push_back(Text(absl::StrCat("type-", i), "", "a"));
  ASSERT_OK(store_.Apply(many));
  EXPECT_EQ(Apply(Text("type-7", "", "b")), 2) << "no more than before";
  const std::string before = CatalogueVersion();
  EXPECT_THAT(
      store_.Apply({Text("like", "", "a")}),
      StatusIs(absl::StatusCode::kInvalidArgument, ::testing::HasSubstr("templates: would be more than the 2000")));
  EXPECT_THAT(ListOwn(true), IsEmpty());
  EXPECT_EQ(CatalogueVersion(), before);
  StoredTemplate others = Text("like", "", "a");
  others.app = NewApp();
  EXPECT_OK(store_.Apply({others}));
}

TEST_F(TemplateStoreTest, ListsByTypeChannelLocaleAndNewestVersionPageByPage) {
  for (const std::string type : {"b", "a"}) {
    for (const std::string locale : {"es-MX", "", "es"}) {
      for (const std::string content : {"1", "2"}) Apply(Text(type, locale, content));
    }
  }
  StoredTemplate mail = Text("a", "", "mail");
  mail.channel = Channel::kEmail;
  Apply(mail);
  std::vector<StoredTemplate> seen;
  TemplateStore::ListQuery query{.app = app_, .type = "", .all_versions = true, .limit = 4};
  while (true) {
    ASSERT_OK_AND_ASSIGN(const std::vector<StoredTemplate> page, store_.List(query));
    seen.insert(seen.end(), page.begin(), page.end());
    if (page.size() < 4) break;
    const StoredTemplate& last = page.back();
    query.after = {.key = {.app = {}, .type = last.type, .channel = last.channel, .locale = last.locale},
                   .version = last.version};
  }
  std::vector<std::string> own;
  for (const StoredTemplate& row : seen) {
    if (row.app == app_)
      own.push_back(absl::StrCat(row.type, "/", ToString(row.channel), "/", row.locale, "/", row.version));
  }
  EXPECT_THAT(own, ElementsAre("a/email//1", "a/sms//2", "a/sms//1", "a/sms/es/2", "a/sms/es/1", "a/sms/es-MX/2",
                               "a/sms/es-MX/1", "b/sms//2", "b/sms//1", "b/sms/es/2", "b/sms/es/1", "b/sms/es-MX/2",
                               "b/sms/es-MX/1"));
}

TEST_F(TemplateStoreTest, ListsTheShippedOnesThatTheAppHasNotReplaced) {
  const TemplateStore::ListQuery query{.app = app_, .type = "otp.login", .all_versions = false, .limit = 100};
  EXPECT_THAT(List(query), ElementsAre("otp.login//1+", "otp.login/de/1+", "otp.login/en/1+", "otp.login/es/1+"));
  Apply(Text("otp.login", "es", "a"));
  EXPECT_EQ(Apply(Text("otp.login", "es", "b")), 2);
  EXPECT_THAT(List(query), ElementsAre("otp.login//1+", "otp.login/de/1+", "otp.login/en/1+", "otp.login/es/2+"));
}

TEST_F(TemplateStoreTest, FindsWhatARecipientOfTheAppCouldBeSent) {
  PostgresAppStore apps(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const App app,
                       apps.Create({.name = "words", .key = "key-words", .scopes = {}}, std::string(32, 'a')));
  ASSERT_OK(apps.Update("key-words", {.default_locale = "es-MX"}));
  StoredTemplate own = Text("otp.login", "fr", "own");
  own.app = app.id;
  Apply(own);
  Apply(Text("otp.login", "it", "another's"));
  ASSERT_OK_AND_ASSIGN(const TemplateStore::Candidates found,
                       store_.FindCandidates(app.id, "otp.login", Channel::kSms));
  EXPECT_EQ(found.default_locale, "es-MX");
  EXPECT_THAT(found.templates, SizeIs(5));
  EXPECT_EQ(found.templates.back().content, "own");
  ASSERT_OK_AND_ASSIGN(const TemplateStore::Candidates none, store_.FindCandidates(app.id, "otp.login", Channel::kFcm));
  EXPECT_THAT(none.templates, IsEmpty());
}

TEST_F(TemplateStoreTest, LoadsTheActiveOnesOfAllApps) {
  Apply(Text("like", "", "a"));
  Apply(Text("like", "", "b"));
  ASSERT_OK_AND_ASSIGN(const std::vector<StoredTemplate> all, store_.LoadActive());
  int own = 0;
  for (const StoredTemplate& stored : all) {
    EXPECT_TRUE(stored.active);
    if (stored.app != app_) continue;
    ++own;
    EXPECT_EQ(stored.content, "b");
  }
  EXPECT_EQ(own, 1);
}

TEST_F(TemplateStoreTest, TakesChangesOfTheSameOnesAtOnce) {
  RunThreads(4, [&](int thread) {
    for (int round = 0; round < 10; ++round) {
      std::vector<StoredTemplate> wanted;
      for (const std::string locale : {"de", "es", "fr"}) {
        wanted.push_back(Text("like", locale, absl::StrCat(thread, "/", round)));
      }
      if (thread % 2 == 0) std::reverse(wanted.begin(), wanted.end());
      ASSERT_OK(store_.Apply(wanted));
    }
  });
  EXPECT_THAT(ListOwn(true), SizeIs(120));
  EXPECT_THAT(ListOwn(false), ElementsAre("like/de/40+", "like/es/40+", "like/fr/40+"));
}

TEST_F(TemplateStoreTest, ShipsWordsThatRender) {
  PostgresCatalogStore catalogue(MakePool(1));
  ASSERT_OK_AND_ASSIGN(const std::vector<NotificationType> types, catalogue.LoadTypes());
  ASSERT_OK_AND_ASSIGN(const std::vector<StoredTemplate> all, store_.LoadActive());
  Notification notification;
  notification.data_json =
      R"({"code":"123456","amount":12,"currency":"EUR","url":"https://a/?b&c","items":[{"name":"Tea","price":7},{"name":"Cup","price":5}]})";
  int shipped = 0;
  for (const StoredTemplate& stored : all) {
    // Digests have a test of their own.
    if (stored.app != kShippedApp || stored.type == "marketing.digest") continue;
    ++shipped;
    const v1::Template words = TemplateOf(stored);
    EXPECT_THAT(CheckContent(words), IsEmpty());
    const auto type = std::find_if(types.begin(), types.end(), [&](const NotificationType& candidate) {
      return candidate.app == kShippedApp && candidate.name == stored.type;
    });
    ASSERT_NE(type, types.end());
    const RenderInput input{.notification = notification, .type = *type, .unsubscribe_url = ""};
    EXPECT_OK(RenderContent(words, stored.channel, input));
    EXPECT_THAT(MissingVariables(words, input), IsEmpty());
    if (stored.type == "payment.receipt" && stored.locale == "es") {
      ASSERT_OK_AND_ASSIGN(const v1::RenderedContent mail, RenderContent(words, stored.channel, input));
      EXPECT_EQ(mail.subject(), "Tu recibo: 12 EUR");
      EXPECT_EQ(mail.text(), "Gracias. Hemos recibido tu pago.\n\nTea  7\nCup  5\nTotal: 12 EUR\n\nhttps://a/?b&c\n");
      EXPECT_THAT(mail.html(), ::testing::HasSubstr("<a href=\"https://a/?b&amp;c\">Ver el recibo</a>"));
    }
  }
  EXPECT_EQ(shipped, 8);
}

}  // namespace
}  // namespace carillon::testing
