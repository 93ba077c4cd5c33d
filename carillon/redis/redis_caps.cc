#include "carillon/redis/redis_caps.h"

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

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
    if has_place then
    elseif count < limit then
      count = count + 1
    else
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

std::vector<std::string> WordsOf(const CapStore::Request& request, CapStore::Mode mode, const std::string& sha) {
  std::vector<std::string> words = {"EVALSHA",
                                    sha,
                                    "1",
                                    CapKey(request),
                                    request.member.ToString(),
                                    mode == CapStore::Mode::kTake ? "take" : "peek",
                                    absl::StrCat(absl::ToInt64Microseconds(request.clock_offset))};
  for (const Cap& cap : request.caps) {
    words.push_back(absl::StrCat(cap.limit));
    words.push_back(absl::StrCat(absl::ToInt64Microseconds(cap.window)));
  }
  return words;
}

absl::StatusOr<CapUse> UseOf(const redisReply& reply, const CapStore::Request& request, absl::Time now) {
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements != 2 * request.caps.size()) {
    return error::BackendUnavailable("redis", "an answer about caps is not understood");
  }
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

RedisCaps::RedisCaps(RedisOptions redis, const Clock& clock, Options options)
    : redis_(std::move(redis)), clock_(clock), options_(std::move(options)), local_(options_.max_local_windows) {}

std::vector<CapUse> RedisCaps::Use(absl::Span<const Request> requests, Mode mode) {
  std::vector<CapUse> uses;
  if (requests.empty()) return uses;
  const absl::Time now = clock_.Now();
  if (Ask(requests, mode, uses).ok()) {
    for (size_t i = 0; i < requests.size(); ++i) {
      if (mode == Mode::kTake && uses[i].has_room) local_.Record(requests[i], now);
    }
    return uses;
  }
  if (options_.on_local) options_.on_local(requests.size());
  uses.clear();
  for (const Request& request : requests) uses.push_back(local_.Use(request, mode, now));
  return uses;
}

// The script is loaded with every call: that finds it by its digest, and costs less than
// to ask whether it is there.
absl::Status RedisCaps::Ask(absl::Span<const Request> requests, Mode mode, std::vector<CapUse>& uses) {
  return redis_.With([&](RedisConnection& connection, RedisDeadline deadline) -> absl::Status {
    uses.clear();
    ASSIGN_OR_RETURN(const RedisReplyPtr sha, connection.Call({"SCRIPT", "LOAD", kScript}, deadline));
    const std::string digest(sha->str, sha->len);
    for (const Request& request : requests) {
      const std::vector<std::string> words = WordsOf(request, mode, digest);
      RETURN_IF_ERROR(connection.Append(std::vector<absl::string_view>(words.begin(), words.end())));
    }
    RETURN_IF_ERROR(connection.Flush(deadline));
    for (const Request& request : requests) {
      ASSIGN_OR_RETURN(const RedisReplyPtr reply, connection.Read(deadline));
      if (reply == nullptr) return absl::DeadlineExceededError("redis does not answer");
      ASSIGN_OR_RETURN(CapUse use, UseOf(*reply, request, clock_.Now()));
      uses.push_back(std::move(use));
    }
    return absl::OkStatus();
  });
}

}  // namespace carillon
