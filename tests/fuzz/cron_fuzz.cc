// Any bytes as a cron expression: they are read or refused, and what is read goes on from
// any moment in any zone.
//
//   cmake --preset fuzz && cmake --build --preset fuzz --target cron_fuzz
//   build/fuzz/tests/cron_fuzz -max_total_time=60 -max_len=120 -dict=tests/fuzz/cron.dict
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <iostream>
#include <iterator>

#include "carillon/domain/cron.h"

namespace carillon {
namespace {

constexpr const char* kZones[] = {"UTC",          "Europe/Berlin",     "Australia/Lord_Howe", "Asia/Kathmandu",
                                  "Pacific/Apia", "Africa/Casablanca", "America/Havana",      "Pacific/Kwajalein"};
// Years 1 to 2400: absl foresees changes of clocks for some 400 years.
constexpr int64_t kFirstSecond = -62135596800;
constexpr int64_t kLastSecond = 13569465600;

void Require(bool holds, absl::string_view claim) {
  if (holds) return;
  std::cerr << "not so: " << claim << "\n";
  std::abort();
}

absl::TimeZone AnyZone(FuzzedDataProvider& data) {
  absl::TimeZone zone;
  const char* name = kZones[data.ConsumeIntegralInRange<size_t>(0, std::size(kZones) - 1)];
  Require(absl::LoadTimeZone(name, &zone), "the zones are installed");
  return zone;
}

// Half of them within two days of a change of clocks, where few would be by chance.
absl::Time AnyTime(FuzzedDataProvider& data, absl::TimeZone zone) {
  const absl::Time time = absl::FromUnixSeconds(data.ConsumeIntegralInRange<int64_t>(kFirstSecond, kLastSecond));
  const absl::Duration distance = absl::Seconds(data.ConsumeIntegralInRange<int>(-172800, 172800));
  absl::TimeZone::CivilTransition change;
  if (data.ConsumeBool() || !zone.NextTransition(time, &change)) return time;
  return zone.At(change.to).trans + distance;
}

void Check(FuzzedDataProvider& data) {
  const absl::TimeZone zone = AnyZone(data);
  absl::Time after = AnyTime(data, zone);
  const int fraction = data.ConsumeIntegralInRange<int>(0, 100);
  const std::string text = data.ConsumeRemainingBytesAsString();
  const absl::StatusOr<CronExpression> expression = CronExpression::Parse(text);
  if (!expression.ok()) return Require(!expression.status().message().empty(), "a refusal says why");
  Require(CronExpression::Parse(text).value() == *expression, "a text has one meaning");
  for (int i = 0; i < 10; ++i) {
    const std::optional<absl::Time> next = expression->Next(after, zone);
    if (!next.has_value()) return;
    Require(*next > after, "the next time is later");
    const absl::Time between = after + (*next - after) * fraction / 101;
    Require(expression->Next(between, zone) == next, "no time lies before the next one");
    after = *next;
  }
}

}  // namespace
}  // namespace carillon

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  carillon::Check(data);
  return 0;
}
