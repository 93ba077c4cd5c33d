// Digests through real processes: what gathers for a recipient is told in one mail,
// once, whatever comes twice or dies.
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "tests/integration/delivery_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr v1::Channel kInApp = v1::CHANNEL_IN_APP;
constexpr v1::Channel kEmail = v1::CHANNEL_EMAIL;
constexpr const char* kWorker = "worker-marketing";

class Digests : public Deliveries {
 protected:
  static void SetUpTestSuite() {
    RunningStackOptions options;
    options.processes = {"server", "relay", "worker-social", kWorker};
    StartSystem(options);
  }
  void SetUp() override {
    Deliveries::SetUp();
    app_.SetProviders(kEmail, {sandbox().Provider("smtp")});
    SetWords();
  }

  // Says how much there is, and what, on a line each. Live when this returns.
  void SetWords() {
    v1::ApplyTemplatesRequest templates;
    v1::Template& words = *templates.add_templates();
    words.set_type("marketing.digest");
    words.set_channel(kEmail);
    words.mutable_email()->set_subject("Digest of {{data.count}}");
    words.mutable_email()->set_text("Likes: {{#data.items}}* {{title}} {{link}} {{/data.items}}");
    ASSERT_OK(app_.client().ApplyTemplates(templates));
    const Person person = app_.AddPerson();
    ASSERT_TRUE(WaitFor([&] {
      const std::string id = app_.Send("marketing.digest", person, {kEmail});
      EXPECT_TRUE(WaitFor([&] { return IsOver(app_.Get(id)); }));
      const std::vector<Json> mails = Mails(person);
      return !mails.empty() && absl::StrContains(Subject(mails.back()), "Digest of");
    }));
  }
  static bool IsOver(const v1::Notification& notification) {
    return notification.state() == v1::STATE_DELIVERED || notification.state() == v1::STATE_DEAD;
  }

  // Somebody who wants likes by mail in a digest.
  Person AddReader() {
    const Person person = app_.AddPerson();
    Query(absl::StrCat("INSERT INTO recipient_settings (app_id, recipient_id, preferences) VALUES (", AppId(), ", '",
                       person.user,
                       R"(', '[{"scope": "type", "name": "like", "channel": "email", "choice": "digest"}]'))"));
    return person;
  }
  // By somebody each; all wait in the digest when this returns.
  std::vector<std::string> SendLikes(const Person& person, int count) {
    std::vector<std::string> ids;
    for (int i = 1; i <= count; ++i) {
      v1::SendNotificationRequest request = Request("like", person.user, absl::StrCat(person.user, "-", i));
      request.add_channels(kInApp);
      request.add_channels(kEmail);
      request.set_actor_id(absl::StrCat("fan-", i));
      request.set_object_id("post-1");
      (*request.mutable_data()->mutable_fields())["actor_name"].set_string_value(absl::StrCat("Fan", i));
      const auto sent = app_.client().SendNotification(request);
      EXPECT_OK(sent);
      ids.push_back(sent.ok() ? sent->notification().notification_id() : "");
    }
    for (const std::string& id : ids) {
      EXPECT_TRUE(app_.WaitFor(id, kEmail, v1::DELIVERY_STATE_HELD)) << app_.Story(id);
    }
    return ids;
  }
  // As if its time had come.
  void MakeDue(const Person& person) {
    Query(absl::StrCat("UPDATE schedules SET due_at = now() WHERE cause = 'digest' AND app_id = ", AppId(),
                       " AND recipient_id = '", person.user, "'"));
  }

  std::string Query(const std::string& statements) const { return stack().database().Query(statements); }
  std::string AppId() const { return absl::StrCat("(SELECT app_id FROM apps WHERE app_key = '", app_.key(), "')"); }
  std::string CountDigestsOf(const Person& person) const {
    return Query(absl::StrCat("SELECT count(*) FROM notifications WHERE type = 'marketing.digest' AND app_id = ",
                              AppId(), " AND recipient_id = '", person.user, "'"));
  }
  static std::vector<Json> Mails(const Person& person) { return sandbox().Messages("smtp", person.email); }
  static std::string Subject(const Json& mail) { return mail["subject"].get<std::string>(); }
  // When this returns, what was in the marketing worker's queue before has been handled.
  void PassTheQueue() {
    ASSERT_TRUE(WaitFor([&] { return Query("SELECT count(*) FROM outbox WHERE lane = 'marketing'") == "0"; }));
    const std::string id = app_.Send("marketing.discount", app_.AddPerson(), {kInApp});
    ASSERT_TRUE(WaitFor([&] { return app_.Get(id).state() == v1::STATE_DELIVERED; })) << app_.Story(id);
  }
};

TEST_F(Digests, WhatHasGatheredIsToldInOneMail) {
  const Person person = AddReader();
  const std::vector<std::string> likes = SendLikes(person, 6);
  EXPECT_THAT(Mails(person), IsEmpty());
  EXPECT_THAT(WholeFeed(app_.client(), person.user), SizeIs(6)) << "the feed gathers by itself";
  // What is wanted is looked at again when it is sent.
  Query(absl::StrCat("INSERT INTO mutes (app_id, recipient_id, kind, muted_id) VALUES (", AppId(), ", '", person.user,
                     "', 'actor', 'fan-6')"));
  MakeDue(person);
  ASSERT_TRUE(WaitFor([&] { return Mails(person).size() == 1; })) << app_.Story(likes[0]);
  const Json mail = Mails(person)[0];
  EXPECT_THAT(Subject(mail), HasSubstr("Digest of 5"));
  for (int i = 1; i <= 5; ++i) EXPECT_THAT(mail["text"].get<std::string>(), HasSubstr(absl::StrCat("Fan", i, " ")));
  EXPECT_THAT(mail["text"].get<std::string>(), Not(HasSubstr("Fan6")));

  EXPECT_TRUE(app_.WaitFor(likes[5], kEmail, v1::DELIVERY_STATE_SUPPRESSED)) << app_.Story(likes[5]);
  EXPECT_EQ(app_.Delivery(likes[5], kEmail).detail(), "actor is muted");
  std::set<std::string> told_in;
  for (int i = 0; i < 5; ++i) {
    const v1::Delivery delivery = app_.Delivery(likes[i], kEmail);
    EXPECT_EQ(delivery.state(), v1::DELIVERY_STATE_SENT) << app_.Story(likes[i]);
    told_in.insert(std::string(absl::StripPrefix(delivery.detail(), "in digest ")));
    EXPECT_EQ(app_.Get(likes[i]).state(), v1::STATE_DELIVERED);
  }
  ASSERT_THAT(told_in, SizeIs(1));
  const std::string id = *told_in.begin();
  EXPECT_TRUE(app_.WaitFor(id, kEmail, v1::DELIVERY_STATE_SENT)) << app_.Story(id);
  const v1::Notification digest = app_.Get(id);
  EXPECT_EQ(digest.type(), "marketing.digest");
  EXPECT_EQ(digest.user_id(), person.user);
  EXPECT_EQ(digest.data().fields().at("count").number_value(), 5);
  EXPECT_EQ(digest.data().fields().at("items").list_value().values_size(), 5);
}

TEST_F(Digests, TheNextBeginsWhenOneIsSent) {
  const Person person = AddReader();
  SendLikes(person, 2);
  MakeDue(person);
  ASSERT_TRUE(WaitFor([&] { return Mails(person).size() == 1; }));
  v1::SendNotificationRequest request = Request("like", person.user, absl::StrCat(person.user, "-again"));
  request.add_channels(kEmail);
  const auto sent = app_.client().SendNotification(request);
  ASSERT_OK(sent);
  const std::string id = sent->notification().notification_id();
  ASSERT_TRUE(app_.WaitFor(id, kEmail, v1::DELIVERY_STATE_HELD)) << app_.Story(id);
  MakeDue(person);
  ASSERT_TRUE(WaitFor([&] { return Mails(person).size() == 2; }));
  EXPECT_THAT(Subject(Mails(person)[1]), HasSubstr("Digest of 1"));
}

TEST_F(Digests, OneThatComesManyTimesIsSentOnce) {
  const Person person = AddReader();
  SendLikes(person, 3);
  Query(
      absl::StrCat("INSERT INTO outbox (message_id, app_id, lane, exchange, routing_key, type, payload) SELECT "
                   "new_uuid7(), app_id, lane, exchange, routing_key, type, payload FROM schedules, "
                   "generate_series(1, 5) WHERE cause = 'digest' AND recipient_id = '",
                   person.user, "'"));
  MakeDue(person);
  ASSERT_TRUE(WaitFor([&] { return !Mails(person).empty(); }));
  PassTheQueue();
  EXPECT_EQ(CountDigestsOf(person), "1");
  EXPECT_THAT(Mails(person), SizeIs(1));
}

TEST_F(Digests, AWorkerThatDiesInTheMiddleSendsOne) {
  const Person person = AddReader();
  const std::vector<std::string> likes = SendLikes(person, 5);
  // Whoever closes one stands still before the commit, and comes to nothing.
  Query(
      "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3);"
      " RAISE EXCEPTION 'stands still' USING ERRCODE = 'lock_not_available'; END $$;"
      "CREATE TRIGGER stand_still BEFORE UPDATE OF closed_at ON digests FOR EACH ROW EXECUTE FUNCTION stand_still()");
  MakeDue(person);
  const auto stands_still = [this] {
    return Query(
               "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") !=
           "0";
  };
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(WaitFor([&] { return stands_still(); }));
    stack().KillProcess(kWorker);
    EXPECT_TRUE(WaitFor([&] { return !stands_still(); }));
    EXPECT_EQ(app_.Delivery(likes[0], kEmail).state(), v1::DELIVERY_STATE_HELD);
    if (round == 1) Query("DROP TRIGGER stand_still ON digests; DROP FUNCTION stand_still()");
    stack().StartProcess(kWorker);
  }
  ASSERT_TRUE(WaitFor([&] { return !Mails(person).empty(); })) << app_.Story(likes[0]);
  for (const std::string& id : likes) EXPECT_EQ(app_.Delivery(id, kEmail).state(), v1::DELIVERY_STATE_SENT);
  PassTheQueue();
  EXPECT_EQ(CountDigestsOf(person), "1");
  EXPECT_THAT(Mails(person), SizeIs(1));
}

}  // namespace
}  // namespace carillon::testing
