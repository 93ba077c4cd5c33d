// Enqueueing in the caller's own transaction: what it writes, and with whose rights.
#include <gmock/gmock.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "carillon/wire/envelope.h"
#include "tests/contract/enqueue/enqueue_fixture.h"
#include "tests/kit/status_matchers.h"

namespace carillon::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class EnqueueInSql : public EnqueueTest {
 protected:
  // The notification in the message that waits for this id, in the outbox or in schedules.
  static Notification InMessage(const std::string& id) {
    const std::string body =
        Query(absl::StrCat("SELECT encode(payload, 'hex') FROM (SELECT message_id, payload FROM outbox"
                           " UNION ALL SELECT message_id, payload FROM schedules) AS m"
                           " WHERE message_id = '",
                           id, "'"));
    const absl::StatusOr<std::vector<Notification>> items = DecodeEnvelope(absl::HexStringToBytes(body));
    EXPECT_OK(items);
    return items.ok() && items->size() == 1 ? items->front() : Notification();
  }
  NotificationRecord Stored(const std::string& id) const {
    const absl::StatusOr<NotificationRecord> record = store_->Get(app_, *Uuid::Parse(id));
    EXPECT_OK(record);
    return record.value_or(NotificationRecord());
  }
  // All that two have in common if they are of equal requests.
  static std::string Meaning(const Notification& n) {
    std::string channels;
    for (const Channel channel : n.channels) absl::StrAppend(&channels, ToString(channel), ",");
    return absl::StrCat(n.app.value(), " ", n.type, " ", n.recipient.value(), " ", n.actor_id, " ", n.object_id, " ",
                        n.data_json, " ", channels, " ", n.retention_days, " ",
                        n.expire_time.has_value() ? absl::FormatDuration(*n.expire_time - n.create_time) : "never", " ",
                        n.traceparent, " ", n.version);
  }
};

constexpr char kFull[] = R"({"type": "like", "user_id": "ana", "actor_id": "bób", "object_id": "post-1",
  "data": {"b": [1, 2.5, true, null, {}, []], "a": {"x": "line\nquote\" back\\slash é \u0001"}, "aa": ""},
  "channels": ["CHANNEL_EMAIL", "CHANNEL_IN_APP"], "idempotency_key": "full", "ttl": "90.5s"})";

TEST_F(EnqueueInSql, WritesTheMessageThatTheDoorWouldWrite) {
  for (const std::string& request :
       {std::string(R"({"type": "like", "user_id": "ana"})"), std::string(kFull),
        std::string(R"({"type": "otp.login", "user_id": "ana", "data": {"code": "1"}})"),
        absl::StrCat(R"({"type": "payment.receipt", "user_id": "ana", "object_id": ")", std::string(255, 'o'),
                     R"(", "data": {"t": ")", std::string(16 * 1024 - 8, 't'), R"("}})")}) {
    const NewNotification door = AtTheDoor(request);
    const std::string id = EnqueueOne(request);
    const Notification sent = InMessage(id);
    EXPECT_EQ(sent.id.ToString(), id);
    ASSERT_OK_AND_ASSIGN(const std::vector<Notification> expected, DecodeEnvelope(door.envelope));
    EXPECT_EQ(Meaning(sent), Meaning(expected[0]));
    const NotificationRecord stored = Stored(id);
    EXPECT_EQ(Meaning(stored.notification), Meaning(door.notification));
    EXPECT_EQ(stored.notification.create_time, sent.create_time);
    EXPECT_EQ(stored.state, State::kAccepted);
    EXPECT_EQ(Query("SELECT lane || exchange || routing_key || type FROM outbox WHERE message_id = '" + id + "'"),
              absl::StrCat(ToString(door.notification.lane), door.exchange, door.routing_key, door.notification.type));
  }
}

TEST_F(EnqueueInSql, SchedulesWhatHasASendTime) {
  const absl::Time send = absl::FromUnixMicros(absl::ToUnixMicros(absl::Now() + absl::Hours(24 * 364)));
  const std::string request =
      absl::StrCat(R"({"type": "otp.login", "user_id": "ana", "send_time": ")",
                   absl::FormatTime(absl::RFC3339_full, send, absl::FixedTimeZone(7200)), "\"}");
  const std::string id = EnqueueOne(request);
  const NotificationRecord stored = Stored(id);
  EXPECT_EQ(stored.state, State::kScheduled);
  EXPECT_EQ(stored.notification.send_time, send);
  EXPECT_EQ(*stored.notification.expire_time, send + absl::Minutes(10));
  EXPECT_EQ(InMessage(id).create_time, send);
  EXPECT_EQ(absl::ToUnixMillis(stored.notification.id.time()), absl::ToUnixMillis(send));
  EXPECT_EQ(Count("outbox"), "0");
  EXPECT_EQ(Count("schedules"), "1");
}

TEST_F(EnqueueInSql, GoesByTheClockOfASandbox) {
  Query(absl::StrCat("UPDATE apps SET sandbox = true, clock_offset = 3600000000 WHERE app_id = ", app_.value()));
  const std::string in_half_an_hour = absl::FormatTime(absl::Now() + absl::Minutes(30), absl::UTCTimeZone());
  EXPECT_EQ(Stored(EnqueueOne(R"({"type": "like", "user_id": "ana", "send_time": ")" + in_half_an_hour + "\"}")).state,
            State::kAccepted);
  const std::string in_two_hours = absl::FormatTime(absl::Now() + absl::Hours(2), absl::UTCTimeZone());
  const std::string id = EnqueueOne(R"({"type": "like", "user_id": "ana", "send_time": ")" + in_two_hours + "\"}");
  EXPECT_EQ(Query("SELECT due_at - now() BETWEEN interval '59 minutes' AND interval '1 hour' FROM schedules"
                  " WHERE message_id = '" +
                  id + "'"),
            "t");
  EXPECT_LT(Stored(id).notification.id.time(), absl::Now() + absl::Minutes(1)) << "an id of when it was accepted";
}

TEST_F(EnqueueInSql, AnswersAboutEachInTheOrderAsked) {
  const std::vector<Enqueued> answers =
      Enqueue(R"([{"type": "like", "user_id": "a", "idempotency_key": "2"}, {"type": "otp.login", "user_id": "b"},
                  {"type": "like", "user_id": "c", "idempotency_key": "1"}])");
  ASSERT_THAT(answers, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(answers[i].position, i);
    EXPECT_FALSE(answers[i].duplicate);
    EXPECT_EQ(Stored(answers[i].id).notification.recipient.value(), std::string(1, "abc"[i]));
  }
}

TEST_F(EnqueueInSql, LeavesNothingOfATransactionThatIsRolledBack) {
  {
    const auto connection = Connect();
    pqxx::work transaction(*connection);
    EXPECT_THAT(Enqueue(transaction, app_key_, absl::StrCat("[", kFull, "]")), SizeIs(1));
    EXPECT_EQ(Count("outbox"), "0") << "others see nothing before the commit";
  }
  for (const char* table : {"notifications", "outbox", "schedules", "idempotency_keys"}) EXPECT_EQ(Count(table), "0");
}

TEST_F(EnqueueInSql, WritesNothingIfOneOfThemIsRefused) {
  EXPECT_THAT(Refusal(absl::StrCat("[", kFull, R"(, {"type": "like"}])")), StartsWith("22023"));
  EXPECT_EQ(Count("notifications"), "0");
}

TEST_F(EnqueueInSql, AnswersARepeatWithTheFirstWhicheverWayItCame) {
  const std::string id = EnqueueOne(kFull);
  const std::vector<Enqueued> again = Enqueue(absl::StrCat("[", kFull, "]"));
  EXPECT_EQ(again[0].id, id);
  EXPECT_TRUE(again[0].duplicate);
  ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, store_->Accept({AtTheDoor(kFull)}, true));
  EXPECT_TRUE(outcomes[0].duplicate);
  EXPECT_EQ(outcomes[0].id.ToString(), id);

  const std::string other = R"({"type": "like", "user_id": "ana", "idempotency_key": "other", "ttl": "1s"})";
  const NewNotification door = AtTheDoor(other);
  ASSERT_OK(store_->Accept({door}, true));
  EXPECT_EQ(EnqueueOne(other), door.notification.id.ToString());
  EXPECT_EQ(Count("notifications"), "2");
}

TEST_F(EnqueueInSql, HashesAsTheDoorDoes) {
  const std::string numbers =
      "[0, -0.5, 1, 10, 100, 1000, 10000, 100000, 1000000, 120000, 1234567, 12345678, 0.1, 0.01, 0.001, 0.0001, "
      "0.00012,"
      " 0.00001234, 1e15, 1e16, 1.5e16, 1e17, 123456789012345678.0, 12345678901234567890.0, 1.2345e21, 1e22,"
      " 9007199254740993.0, 4503599627370497.5, 0.30000000000000004, 3.141592653589793, 1e100, 1.7976931348623157e308, "
      "5e-324,"
      " 2.2250738585072014e-308, -123.456, 1234567890123456800000, 99999999999999990000]";
  int key = 0;
  for (const std::string& fields :
       {std::string(R"("data": {})"), absl::StrCat(R"("data": {"n": )", numbers, "}"),
        std::string(R"("data": {"é": 1, "z": 2, "zz": 3, "Z": 4, "": 5, "10": 6, "9": 7})"),
        std::string(R"("data": {"s": "\b\f\n\r\t\u001f\u007f\u2028/ \ud83d\ude00 \"\\"})"),
        std::string(R"("channels": ["CHANNEL_SMS", "CHANNEL_IN_APP"])"), std::string(R"("ttl": "1.000000001s")"),
        std::string(R"("send_time": "2020-01-01T00:00:00Z")"),
        std::string(R"("send_time": "2020-01-01T02:00:00.123456789+02:00")"),
        absl::StrCat(R"("send_time": ")", absl::FormatTime(absl::Now() + absl::Hours(30), absl::UTCTimeZone()), "\""),
        std::string(R"("actor_id": "ab", "object_id": "c")")}) {
    const std::string request =
        absl::StrCat(R"({"type": "like", "user_id": "ana", "idempotency_key": "h)", ++key, "\", ", fields, "}");
    const std::string id = EnqueueOne(request);
    ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, store_->Accept({AtTheDoor(request)}, false));
    EXPECT_OK(outcomes[0].status) << request << " "
                                  << Query("SELECT data FROM notifications WHERE notification_id = '" + id + "'") << " "
                                  << AtTheDoor(request).notification.data_json;
    EXPECT_EQ(outcomes[0].id.ToString(), id);
  }
}

TEST_F(EnqueueInSql, RefusesAKeyWithAnotherPayload) {
  EnqueueOne(kFull);
  EXPECT_THAT(
      Refusal(R"([{"type": "like", "user_id": "ana"}, {"type": "like", "user_id": "x", "idempotency_key": "full"}])"),
      HasSubstr("22023 ERROR:  requests[1].idempotency_key: was used within 24 h for another payload"));
  EXPECT_EQ(Count("notifications"), "1");
}

TEST_F(EnqueueInSql, TakesAnExpiredKeyAnew) {
  const std::string first = EnqueueOne(kFull);
  Query("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'");
  const std::string other = R"({"type": "like", "user_id": "x", "idempotency_key": "full"})";
  EXPECT_NE(EnqueueOne(other), first);
  EXPECT_EQ(Count("notifications"), "2");
  EXPECT_EQ(Count("idempotency_keys"), "1");
}

// The caller may commit long after housekeeping has read on past these ids.
TEST_F(EnqueueInSql, IsWatchedFromTheBeginning) {
  const std::string id = EnqueueOne(R"({"type": "like", "user_id": "ana"})");
  EXPECT_EQ(Query("SELECT retention_days || lane FROM stragglers WHERE notification_id = '" + id + "'"), "7social");
}

TEST_F(EnqueueInSql, NeedsTheRightToCallItAndNoOther) {
  const std::string role = "enqueuer_" + app_key_.substr(4) + Query("SELECT '_' || current_database()");
  Query(absl::StrCat("CREATE ROLE \"", role, "\"; GRANT USAGE ON SCHEMA carillon TO \"", role, "\""));
  const auto connection = Connect();
  {
    pqxx::work transaction(*connection);
    transaction.exec(absl::StrCat("SET LOCAL ROLE \"", role, "\""));
    EXPECT_THROW(Enqueue(transaction, app_key_, absl::StrCat("[", kFull, "]")), pqxx::insufficient_privilege);
  }
  for (const char* helper : {"prepare_request('{}', '', NULL, 0)", "hash_part('')", "release_scheduled('{}')"}) {
    pqxx::work transaction(*connection);
    transaction.exec(absl::StrCat("SET LOCAL ROLE \"", role, "\""));
    EXPECT_THROW(transaction.exec(absl::StrCat("SELECT carillon.", helper)), pqxx::insufficient_privilege) << helper;
  }
  Query(absl::StrCat("GRANT EXECUTE ON FUNCTION enqueue_notifications(text, jsonb) TO \"", role, "\""));
  {
    pqxx::work transaction(*connection);
    // What a caller has set, or made under our names, changes nothing.
    transaction.exec(
        "CREATE TEMP TABLE apps (app_id bigint, app_key text, scopes text[]); CREATE TEMP TABLE types (name int)");
    transaction.exec(
        "SET LOCAL search_path = pg_temp; SET LOCAL extra_float_digits = -15; SET LOCAL TimeZone = 'Asia/Tokyo'");
    transaction.exec("SET LOCAL standard_conforming_strings = off; SET LOCAL escape_string_warning = off");
    transaction.exec(absl::StrCat("SET LOCAL ROLE \"", role, "\""));
    EXPECT_THAT(Enqueue(transaction, app_key_, absl::StrCat("[", kFull, "]")), SizeIs(1));
    transaction.commit();
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<AcceptOutcome> outcomes, store_->Accept({AtTheDoor(kFull)}, true));
  EXPECT_TRUE(outcomes[0].duplicate);
  {
    pqxx::work transaction(*connection);
    transaction.exec(absl::StrCat("SET LOCAL ROLE \"", role, "\""));
    EXPECT_THROW(transaction.exec("SELECT FROM carillon.notifications"), pqxx::insufficient_privilege);
  }
  Query(absl::StrCat("DROP OWNED BY \"", role, "\"; DROP ROLE \"", role, "\""));
}

}  // namespace
}  // namespace carillon::testing
