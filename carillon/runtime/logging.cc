#include "carillon/runtime/logging.h"

#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace carillon::log {
namespace {

constexpr size_t kQueueLines = 8192;

struct Logger {
  std::string process;
  std::shared_ptr<spdlog::logger> sink;
  std::shared_ptr<spdlog::details::thread_pool> pool;
};

// Leaked on purpose: threads may log until the very end.
Logger& Instance() {
  static Logger& logger = *new Logger;
  return logger;
}

nlohmann::ordered_json ToJson(absl::string_view text) { return std::string(text); }
template <typename T>
nlohmann::ordered_json ToJson(const T& value) {
  return value;
}

std::string ToLine(spdlog::level::level_enum level, absl::string_view event, std::initializer_list<Field> fields) {
  nlohmann::ordered_json line;
  line["ts"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", absl::Now(), absl::UTCTimeZone());
  line["level"] = level == spdlog::level::warn ? "warn" : spdlog::level::to_string_view(level).data();
  line["process"] = Instance().process;
  line["event"] = std::string(event);
  for (const Field& field : fields) {
    const absl::string_view* const text = std::get_if<absl::string_view>(&field.value);
    if (text != nullptr && text->empty()) continue;
    std::visit([&](const auto& value) { line[std::string(field.key)] = ToJson(value); }, field.value);
  }
  // Text from outside may hold anything: what is not UTF-8 is replaced, control
  // characters are escaped, so a line stays one line.
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

void Write(spdlog::level::level_enum level, absl::string_view event, std::initializer_list<Field> fields) {
  const Logger& logger = Instance();
  if (logger.sink == nullptr || !logger.sink->should_log(level)) return;
  logger.sink->log(level, ToLine(level, event, fields));
}

}  // namespace

void Start(absl::string_view process, absl::string_view level) {
  Logger& logger = Instance();
  logger.process = std::string(process);
  logger.pool = std::make_shared<spdlog::details::thread_pool>(kQueueLines, 1);
  logger.sink = std::make_shared<spdlog::async_logger>("carillon", std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                                       logger.pool, spdlog::async_overflow_policy::overrun_oldest);
  logger.sink->set_pattern("%v");
  logger.sink->set_level(spdlog::level::from_str(std::string(level)));
  logger.sink->flush_on(spdlog::level::warn);
  spdlog::register_logger(logger.sink);
  spdlog::flush_every(std::chrono::seconds(1));
}

void Flush() {
  Logger& logger = Instance();
  if (logger.sink == nullptr) return;
  const size_t overrun = logger.pool->overrun_counter();
  if (overrun > 0) Warn("log.dropped", {{"lines", overrun}});
  logger.sink.reset();
  // Joins the writer, which empties the queue first.
  spdlog::shutdown();
  logger.pool.reset();
}

void Debug(absl::string_view event, std::initializer_list<Field> fields) { Write(spdlog::level::debug, event, fields); }
void Info(absl::string_view event, std::initializer_list<Field> fields) { Write(spdlog::level::info, event, fields); }
void Warn(absl::string_view event, std::initializer_list<Field> fields) { Write(spdlog::level::warn, event, fields); }
void Error(absl::string_view event, std::initializer_list<Field> fields) { Write(spdlog::level::err, event, fields); }

}  // namespace carillon::log
