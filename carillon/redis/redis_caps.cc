#include "carillon/redis/redis_caps.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/script.h"

namespace carillon {
namespace {

// KEYS[1]: the set. ARGV: the member, "take" or "peek", how many microseconds the app's
// clock is ahead, then of each cap its limit and its window in microseconds.
// Returns of each cap: how many places are taken, this member's included if it has one or
// could have one; and in how many microseconds there is room, 0 for now.
constexpr absl::string_view kScript = R"lua(
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2] + ARGV[3]
  local longest = 0
  for i = 4, #ARGV, 2 do longest = math.max(longest, tonumber(ARGV[i + 1])) end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - longest)
  local has_place = redis.call('ZSCORE', KEYS[1], ARGV[1])
  local answer, has_room = {}, true
  for i = 4, #ARGV, 2 do
    local limit, window = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
    local count = redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now - window), '+inf')
    local wait = 0
    if not has_place and count < limit then
      count = count + 1
    elseif not has_place then
      local from_newest = limit - 1
      local freeing = redis.call('ZREVRANGE', KEYS[1], from_newest, from_newest, 'WITHSCORES')
      wait = math.max(1, freeing[2] + window - now)
      has_room = false
    end
    table.insert(answer, count)
    table.insert(answer, wait)
  end
  if ARGV[2] == 'take' and has_room and not has_place then
    redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
    redis.call('PEXPIRE', KEYS[1], math.ceil(longest / 1000))
  end
  return answer
)lua";

const RedisScript& TheScript() {
  static const auto* const script = new RedisScript(kScript);
  return *script;
}

std::string KeyOf(const CapStore::Request& request) {
  return absl::StrCat("carillon:cap:", request.key.app.value(), ":", ToString(request.channel), ":", request.type, ":",
                      request.key.recipient.value());
}

RedisScript::Call CallOf(const CapStore::Request& request, CapStore::Mode mode) {
  RedisScript::Call call{.keys = {KeyOf(request)},
                         .arguments = {request.member.ToString(), mode == CapStore::Mode::kTake ? "take" : "peek",
                                       absl::StrCat(absl::ToInt64Microseconds(request.clock_offset))}};
  for (const Cap& cap : request.caps) {
    call.arguments.push_back(absl::StrCat(cap.limit));
    call.arguments.push_back(absl::StrCat(absl::ToInt64Microseconds(cap.window)));
  }
  return call;
}

// Nothing if that is no answer of the script's.
std::optional<CapUse> UseOf(const redisReply& reply, const CapStore::Request& request, absl::Time now) {
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements != 2 * request.caps.size()) return std::nullopt;
  std::vector<CapUse> uses;
  for (size_t i = 0; i < request.caps.size(); ++i) {
    const int64_t wait = reply.element[2 * i + 1]->integer;
    uses.push_back({.cap = request.caps[i],
                    .count = reply.element[2 * i]->integer,
                    .has_room = wait == 0,
                    .next_room = now + request.clock_offset + absl::Microseconds(wait)});
  }
  return Tightest(uses);
}

}  // namespace

// What fails for one of them, as for lack of memory, fails for that one. What has taken a
// place and is asked again, on another connection, has it.
std::vector<std::optional<CapUse>> RedisCaps::Use(absl::Span<const CapStore::Request> requests, CapStore::Mode mode) {
  std::vector<std::optional<CapUse>> answers(requests.size());
  if (requests.empty()) return answers;
  std::vector<RedisScript::Call> calls;
  for (const CapStore::Request& request : requests) calls.push_back(CallOf(request, mode));
  const absl::Status status = redis_.With([&](RedisConnection& connection, RedisDeadline deadline) -> absl::Status {
    ASSIGN_OR_RETURN(const RedisScript::Replies replies, TheScript().Run(calls, connection, deadline));
    const absl::Time now = clock_.Now();
    for (size_t i = 0; i < requests.size(); ++i) {
      if (replies[i].ok()) answers[i] = UseOf(**replies[i], requests[i], now);
    }
    return absl::OkStatus();
  });
  // Whatever it was, there is no answer.
  status.IgnoreError();
  return answers;
}

}  // namespace carillon
