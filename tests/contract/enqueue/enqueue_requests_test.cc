// What enqueue_notifications refuses, and in which words: those of the door.
#include <gmock/gmock.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "tests/contract/enqueue/enqueue_fixture.h"

namespace carillon::testing {
namespace {

using ::testing::StartsWith;

class EnqueueRequests : public EnqueueTest {
 protected:
  static std::string With(const std::string& fields) {
    return absl::StrCat(R"({"type": "like", "user_id": "ana", )", fields, "}");
  }
  static std::string Nested(int levels) {
    return absl::StrCat(std::string(levels - 1, '['), std::string(levels - 1, ']'));
  }
  static std::string In(absl::Duration time) {
    return absl::StrCat("\"", absl::FormatTime(absl::Now() + time, absl::UTCTimeZone()), "\"");
  }
};

// Each has one fault, which the door sees too.
TEST_F(EnqueueRequests, AreRefusedInTheWordsOfTheDoor) {
  for (const std::string& request :
       {std::string(R"({"user_id": "ana"})"),
        std::string(R"({"type": "No", "user_id": "ana"})"),
        absl::StrCat(R"({"type": "l)", std::string(100, 'x'), R"(", "user_id": "ana"})"),
        std::string(R"({"type": "like"})"),
        std::string(R"({"type": "like", "user_id": ""})"),
        absl::StrCat(R"({"type": "like", "user_id": ")", std::string(256, 'u'), "\"}"),
        std::string(R"({"type": "like", "user_id": "a\nb"})"),
        std::string(R"({"type": "like", "user_id": "\u007f"})"),
        absl::StrCat(R"({"type": "like", "user_id": ")", std::string(254, 'u'), "é\"}"),
        With(absl::StrCat(R"("actor_id": ")", std::string(256, 'a'), "\"")),
        With(R"("object_id": "\t")"),
        With(absl::StrCat(R"("idempotency_key": ")", std::string(256, 'k'), "\"")),
        With(absl::StrCat(R"("data": {"t": ")", std::string(16 * 1024 - 7, 't'), "\"}")),
        With(absl::StrCat(R"("data": {"t": )", Nested(17), "}")),
        With(R"("channels": ["CHANNEL_SMS", "CHANNEL_EMAIL", "CHANNEL_SMS"])"),
        With(absl::StrCat(R"("channels": [)", absl::StrJoin(std::vector<std::string>(7, "\"CHANNEL_SMS\""), ","), "]")),
        With(R"("ttl": "0.5s")"),
        With(R"("ttl": "-1s")"),
        With(R"("ttl": "31536000.1s")"),
        With(absl::StrCat(R"("send_time": )", In(absl::Hours(24 * 365) + absl::Minutes(5))))}) {
    const std::string refusal = DoorRefusal(request);
    EXPECT_THAT(refusal, StartsWith("requests[0].")) << request;
    EXPECT_EQ(Refusal(absl::StrCat("[", request, "]")), absl::StrCat("22023 ERROR:  ", refusal));
  }
  EXPECT_EQ(Count("notifications"), "0");
}

TEST_F(EnqueueRequests, AreTakenUpToTheLimits) {
  for (const std::string& request :
       {absl::StrCat(R"({"type": "like", "user_id": ")", std::string(253, 'u'), "é\"}"),
        With(R"("actor_id": "", "object_id": null, "data": null, "channels": [], "ttl": null, "send_time": null)"),
        With(absl::StrCat(R"("data": {"t": )", Nested(16), "}")),
        With(absl::StrCat(R"("data": {"t": ")", std::string(16 * 1024 - 8, 't'), "\"}")), With(R"("ttl": "1s")"),
        With(R"("ttl": "31536000s")"), With(R"("channels": ["CHANNEL_IN_APP", "CHANNEL_WEBHOOK"])"),
        With(absl::StrCat(R"("send_time": )", In(absl::Hours(24 * 365) - absl::Minutes(5))))}) {
    EXPECT_EQ(DoorRefusal(request), "") << request;
    EXPECT_EQ(Refusal(absl::StrCat("[", request, "]")), "") << request;
  }
}

TEST_F(EnqueueRequests, AreRefusedForWhatOnlyJsonCanSay) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{}", "requests: must be 1 to 1000"},
      {"[]", "requests: must be 1 to 1000"},
      {"null", "requests: must be 1 to 1000"},
      {absl::StrCat("[", absl::StrJoin(std::vector<std::string>(1001, "0"), ","), "]"), "requests: must be 1 to 1000"},
      {"[1]", "requests[0]: must be an object"},
      {absl::StrCat("[", With(R"("x": 1)"), "]"), "requests[0].x: is no field of a request"},
      {R"([{"type": 5, "user_id": "ana"}])", "requests[0].type: must be a string"},
      {absl::StrCat("[", With(R"("actor_id": 5)"), "]"), "requests[0].actor_id: must be a string"},
      {absl::StrCat("[", With(R"("data": [1])"), "]"), "requests[0].data: must be an object"},
      {absl::StrCat("[", With(R"("data": {"n": 1e400})"), "]"),
       "requests[0].data: must not contain NaN or infinite numbers"},
      {absl::StrCat("[", With(R"("channels": "CHANNEL_SMS")"), "]"),
       "requests[0].channels: must be at most 6, each once"},
      {absl::StrCat("[", With(R"("channels": ["CHANNEL_PIGEON"])"), "]"),
       "requests[0].channels[0]: must be a channel: CHANNEL_IN_APP, CHANNEL_EMAIL, ..."},
      {absl::StrCat("[", With(R"("ttl": "10m")"), "]"), R"(requests[0].ttl: must be a duration such as "600s")"},
      {absl::StrCat("[", With(R"("ttl": 600)"), "]"), R"(requests[0].ttl: must be a duration such as "600s")"},
      {absl::StrCat("[", With(R"("send_time": "tomorrow")"), "]"),
       R"(requests[0].send_time: must be a time such as "2026-12-31T18:00:00Z")"},
      {absl::StrCat("[", With(R"("send_time": "2030-02-30T18:00:00Z")"), "]"),
       R"(requests[0].send_time: must be a time such as "2026-12-31T18:00:00Z")"},
      {R"([{"type": "no.such", "user_id": "ana"}])", R"(requests[0].type: no type "no.such" in the catalogue)"},
      {absl::StrCat("[", With(R"("idempotency_key": "k")"), ",", With(R"("idempotency_key": "l")"), ",",
                    With(R"("idempotency_key": "k")"), "]"),
       "requests[2].idempotency_key: must differ from those of the other requests"}};
  for (const auto& [requests, refusal] : cases) {
    EXPECT_EQ(Refusal(requests), "22023 ERROR:  " + refusal) << requests.substr(0, 200);
  }
  EXPECT_EQ(Count("notifications"), "0");
}

TEST_F(EnqueueRequests, AreRefusedForAnAppThatIsNoneOrMayNotSend) {
  const std::string refusal = "22023 ERROR:  app_key: must be the key of an app with the scope send";
  Query(absl::StrCat("UPDATE apps SET scopes = '{feed}' WHERE app_key = '", app_key_, "'"));
  EXPECT_EQ(Refusal(R"([{"type": "like", "user_id": "ana"}])"), refusal);
  Query(absl::StrCat("UPDATE apps SET app_key = 'moved-", app_key_, "' WHERE app_key = '", app_key_, "'"));
  EXPECT_EQ(Refusal(R"([{"type": "like", "user_id": "ana"}])"), refusal);
}

}  // namespace
}  // namespace carillon::testing
