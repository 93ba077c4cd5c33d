#include "carillon/redis/redis_rates.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "carillon/domain/errors.h"
#include "carillon/domain/status_macros.h"
#include "carillon/redis/script.h"

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

std::string RateKey(AppId app, const SendRate& rate) {
  if (rate.whose == RateAnswer::Limit::kApp) return absl::StrCat("carillon:rate:", app.value());
  return absl::StrCat("carillon:rate:", app.value(), ":", rate.sender_id);
}

std::string MinuteKey(AppId app, const std::string& sender_id) {
  return absl::StrCat("carillon:sent:", app.value(), ":", sender_id);
}

// One call, and the rates that it is about.
struct Command {
  RedisScript::Call call;
  std::vector<SendRate> rates;
};

Command CommandOf(const RateRequest& request) {
  const int64_t runaway = request.limits.runaway_per_minute;
  Command command{.call = {}, .rates = RatesOf(request)};
  const size_t minutes = runaway > 0 ? request.senders.size() : 0;
  std::vector<std::string>& keys = command.call.keys;
  for (const SendRate& rate : command.rates) keys.push_back(RateKey(request.app, rate));
  for (size_t i = 0; i < minutes; ++i) keys.push_back(MinuteKey(request.app, request.senders[i].id));
  std::vector<std::string>& arguments = command.call.arguments;
  arguments.push_back(absl::StrCat(command.rates.size()));
  arguments.push_back(absl::StrCat(runaway));
  for (const SendRate& rate : command.rates) {
    for (const int64_t number : {rate.rate, rate.burst, rate.places}) arguments.push_back(absl::StrCat(number));
  }
  for (size_t i = 0; i < minutes; ++i) arguments.push_back(absl::StrCat(request.senders[i].places));
  return command;
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

}  // namespace

absl::StatusOr<std::vector<RateAnswer>> RedisRates::Take(absl::Span<const RateRequest> requests) {
  static const auto* const script = new RedisScript(kScript);
  std::vector<Command> commands;
  std::vector<RedisScript::Call> calls;
  for (const RateRequest& request : requests) {
    commands.push_back(CommandOf(request));
    calls.push_back(commands.back().call);
  }
  std::vector<RateAnswer> answers;
  RETURN_IF_ERROR(redis_.With([&](RedisConnection& connection, RedisDeadline deadline) -> absl::Status {
    answers.clear();
    ASSIGN_OR_RETURN(const RedisScript::Replies replies, script->Run(calls, connection, deadline));
    for (size_t i = 0; i < replies.size(); ++i) {
      RETURN_IF_ERROR(replies[i].status());
      ASSIGN_OR_RETURN(answers.emplace_back(), AnswerOf(**replies[i], commands[i]));
    }
    return absl::OkStatus();
  }));
  return answers;
}

}  // namespace carillon
