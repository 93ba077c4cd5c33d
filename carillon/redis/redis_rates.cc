#include "carillon/redis/redis_rates.h"

#include <openssl/sha.h>

#include <array>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"

namespace carillon {
namespace {

// KEYS: first those of rates, then those of senders' minutes. ARGV: how many rates there
// are and the runaway limit; of each rate what a second gives, what may come at once and
// the places wanted; of each minute the places wanted.
// Returns which rate leaves the least room, 0 for none, and in how many microseconds
// there is enough, -1 for never; then the count of each minute.
//
// A moment is kept as "seconds.picoseconds" and reckoned with as how far it is ahead of
// now: as one number it would be too coarse for a million places a second.
constexpr absl::string_view kScript = R"lua(
  local rates, runaway = tonumber(ARGV[1]), tonumber(ARGV[2])
  local answer = {0, 0}
  for i = rates + 1, #KEYS do
    local places = ARGV[2 + 2 * rates + i]
    local count = redis.call('INCRBY', KEYS[i], places)
    if count > runaway then
      redis.call('DEL', KEYS[i])
    elseif count == tonumber(places) then
      redis.call('PEXPIRE', KEYS[i], 60000)
    end
    table.insert(answer, count)
  end
  local time = redis.call('TIME')
  local now = time[2] / 1000000
  local ahead, longest = {}, 0
  for i = 1, rates do
    local rate, burst, places = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1]), tonumber(ARGV[3 * i + 2])
    local seconds, fraction = string.match(redis.call('GET', KEYS[i]) or '0.0', '^(%d+)(%.%d+)$')
    local before = seconds - time[1] + (tonumber('0' .. fraction) - now)
    ahead[i] = math.max(0, math.min(before, burst / rate)) + places / rate
    local late = ahead[i] - burst / rate
    if places > burst then late = math.huge end
    if late > 1e-9 and late > longest then
      longest = late
      answer[1] = i
    end
  end
  if longest == math.huge then
    answer[2] = -1
  elseif longest > 0 then
    answer[2] = math.ceil(longest * 1000000)
  else
    for i = 1, rates do
      local moment = now + ahead[i]
      local whole = math.floor(moment)
      local text = string.format('%.0f.%012.0f', time[1] + whole, math.floor((moment - whole) * 1e12))
      redis.call('SET', KEYS[i], text, 'PX', math.ceil(ahead[i] * 1000))
    end
  end
  return answer
)lua";

std::string ScriptDigest() {
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(kScript.data()), kScript.size(), digest.data());
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::string RateKey(AppId app, const SendRate& rate) {
  if (rate.whose == RateAnswer::Limit::kApp) return absl::StrCat("carillon:rate:", app.value());
  return absl::StrCat("carillon:rate:", app.value(), ":", rate.sender_id);
}

std::string MinuteKey(AppId app, const std::string& sender_id) {
  return absl::StrCat("carillon:sent:", app.value(), ":", sender_id);
}

// The words of one call, and the rates that it is about.
struct Command {
  std::vector<std::string> words;
  std::vector<SendRate> rates;
};

Command CommandOf(const RateRequest& request, const std::string& digest) {
  const int64_t runaway = request.limits.runaway_per_minute;
  std::vector<SendRate> rates = RatesOf(request);
  const size_t minutes = runaway > 0 ? request.senders.size() : 0;
  std::vector<std::string> words = {"EVALSHA", digest, absl::StrCat(rates.size() + minutes)};
  for (const SendRate& rate : rates) words.push_back(RateKey(request.app, rate));
  for (size_t i = 0; i < minutes; ++i) words.push_back(MinuteKey(request.app, request.senders[i].id));
  words.push_back(absl::StrCat(rates.size()));
  words.push_back(absl::StrCat(runaway));
  for (const SendRate& rate : rates) {
    for (const int64_t number : {rate.rate, rate.burst, rate.places}) words.push_back(absl::StrCat(number));
  }
  for (size_t i = 0; i < minutes; ++i) words.push_back(absl::StrCat(request.senders[i].places));
  return {.words = std::move(words), .rates = std::move(rates)};
}

absl::StatusOr<RateAnswer> AnswerOf(const redisReply& reply, const Command& command) {
  const absl::Status strange = error::BackendUnavailable("redis", "an answer about rates is not understood");
  if (reply.type != REDIS_REPLY_ARRAY || reply.elements < 2) return strange;
  RateAnswer answer;
  const auto refused_by = static_cast<size_t>(reply.element[0]->integer);
  const int64_t wait = reply.element[1]->integer;
  if (refused_by > command.rates.size()) return strange;
  if (refused_by > 0) {
    answer.refused_by = command.rates[refused_by - 1].whose;
    answer.wait = wait < 0 ? absl::InfiniteDuration() : absl::Microseconds(wait);
  }
  for (size_t i = 2; i < reply.elements; ++i) answer.counts.push_back(reply.element[i]->integer);
  return answer;
}

bool IsScriptUnknown(const absl::Status& status) {
  return absl::IsFailedPrecondition(status) && absl::StrContains(status.message(), "NOSCRIPT");
}

using Answers = std::vector<std::optional<RateAnswer>>;

// Asks for those that have no answer yet. What fails as NOSCRIPT stays without one.
absl::Status AskFor(RedisConnection& connection, RedisDeadline deadline, absl::Span<const Command> commands,
                    Answers& answers) {
  std::vector<size_t> asked;
  for (size_t i = 0; i < commands.size(); ++i) {
    if (answers[i].has_value()) continue;
    const std::vector<std::string>& words = commands[i].words;
    RETURN_IF_ERROR(connection.Append(std::vector<absl::string_view>(words.begin(), words.end())));
    asked.push_back(i);
  }
  RETURN_IF_ERROR(connection.Flush(deadline));
  absl::Status unknown;
  for (const size_t i : asked) {
    const absl::StatusOr<RedisReplyPtr> reply = connection.Read(deadline);
    if (IsScriptUnknown(reply.status())) {
      unknown = reply.status();
      continue;
    }
    RETURN_IF_ERROR(reply.status());
    if (*reply == nullptr) return absl::DeadlineExceededError("redis: no answer in time");
    ASSIGN_OR_RETURN(answers[i], AnswerOf(**reply, commands[i]));
  }
  return unknown;
}

}  // namespace

absl::StatusOr<std::vector<RateAnswer>> RedisRates::Take(absl::Span<const RateRequest> requests) {
  static const auto* const digest = new std::string(ScriptDigest());
  std::vector<Command> commands;
  for (const RateRequest& request : requests) commands.push_back(CommandOf(request, *digest));
  Answers answers(commands.size());
  RETURN_IF_ERROR(redis_.With([&](RedisConnection& connection, RedisDeadline deadline) -> absl::Status {
    const absl::Status status = AskFor(connection, deadline, commands, answers);
    if (!IsScriptUnknown(status)) return status;
    RETURN_IF_ERROR(connection.Call({"SCRIPT", "LOAD", kScript}, deadline).status());
    return AskFor(connection, deadline, commands, answers);
  }));
  std::vector<RateAnswer> taken;
  for (std::optional<RateAnswer>& answer : answers) taken.push_back(*std::move(answer));
  return taken;
}

}  // namespace carillon
