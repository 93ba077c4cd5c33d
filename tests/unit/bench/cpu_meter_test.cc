#include "client/bench/cpu_meter.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>

namespace carillon::bench {
namespace {

std::string StatLine(const std::string& name) {
  return "42 (" + name +
         ") S 7 42 42 0 -1 4194560 900 0 0 0 110 31 12 5 20 0 4 0 3318 73342976 1711 18446744073709551615\n";
}

TEST(ProcessStat, ReadsTheTicksOfAProcessAndItsEndedChildren) {
  const std::optional<ProcessTimes> times = ParseProcessStat(StatLine("postgres"));
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->pid, 42);
  EXPECT_EQ(times->parent, 7);
  EXPECT_EQ(times->own, 141);
  EXPECT_EQ(times->ended_children, 17);
}

TEST(ProcessStat, IsNotMisledByTheName) {
  for (const char* name : {"a b", "a) S 1 1", "((", "tmux: server (1)", ") R 9 9 9"}) {
    const std::optional<ProcessTimes> times = ParseProcessStat(StatLine(name));
    ASSERT_TRUE(times.has_value()) << name;
    EXPECT_EQ(times->parent, 7) << name;
    EXPECT_EQ(times->own, 141) << name;
  }
}

TEST(ProcessStat, RefusesWhatIsNoStatLine) {
  for (const char* line : {"", "42", "42 (x)", "42 (x) S 7 1 2", "x (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15"}) {
    EXPECT_FALSE(ParseProcessStat(line).has_value()) << line;
  }
}

TEST(MachineStat, CountsWaitingForTheDiskAsIdle) {
  const std::optional<MachineTimes> times =
      ParseMachineStat("cpu  100 1 50 1000 20 0 3 26 7 0\ncpu0 100 1 50 1000 20 0 3 26 0 0\n");
  ASSERT_TRUE(times.has_value());
  EXPECT_EQ(times->total, 1200);
  EXPECT_EQ(times->idle, 1020);
  EXPECT_EQ(times->steal, 26);
  EXPECT_FALSE(ParseMachineStat("intr 1 2 3 4 5 6 7 8 9").has_value());
  EXPECT_FALSE(ParseMachineStat("cpu 1 2 3").has_value());
}

TEST(CpuMeter, CountsAProcessThatWasStartedInBetweenFromItsStart) {
  CpuMeter::Reading first{.machine = {.total = 1000, .idle = 400, .steal = 10}};
  CpuMeter::Reading last{.moment = absl::Seconds(2), .machine = {.total = 1400, .idle = 500, .steal = 14}};
  first.ticks = {{"relay", {10, 500}}, {"server", {11, 100}}};
  last.ticks = {{"relay", {20, 30}}, {"server", {11, 150}}};
  const Usage usage = CpuMeter::Between(first, last);
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  ASSERT_EQ(usage.cpu_seconds.size(), 2u);
  EXPECT_EQ(usage.cpu_seconds[0], std::make_pair(std::string("server"), 50 * tick));
  EXPECT_EQ(usage.cpu_seconds[1], std::make_pair(std::string("relay"), 30 * tick));
  EXPECT_DOUBLE_EQ(usage.total_seconds(), 80 * tick);
  EXPECT_DOUBLE_EQ(usage.idle_percent, 25);
  EXPECT_DOUBLE_EQ(usage.steal_percent, 1);
  EXPECT_EQ(usage.time, absl::Seconds(2));
}

TEST(CpuMeter, SeesItsOwnProcess) {
  const CpuMeter meter("");
  const CpuMeter::Reading before = meter.Read();
  // Of its own time: a busy machine may give it none for a while.
  const std::clock_t begin = std::clock();
  while (std::clock() - begin < CLOCKS_PER_SEC / 10) {
  }
  const Usage usage = CpuMeter::Between(before, meter.Read());
  ASSERT_EQ(usage.cpu_seconds.size(), 1u);
  EXPECT_EQ(usage.cpu_seconds[0].first, "generator");
  EXPECT_GT(usage.cpu_seconds[0].second, 0);
}

TEST(CpuMeter, TellsWhatOthersUsedOfTheMachine) {
  CpuMeter::Reading first{.machine = {.total = 1000, .idle = 400, .steal = 10}};
  CpuMeter::Reading last{.moment = absl::Seconds(2), .machine = {.total = 1400, .idle = 500, .steal = 14}};
  first.ticks["server"] = {1, 100};
  last.ticks["server"] = {1, 196};
  EXPECT_NEAR(CpuMeter::Between(first, last).others_percent, 50, 0.5);
}

TEST(ResidentMemory, IsReadFromTheStatusOfAProcess) {
  EXPECT_EQ(ParseResidentMemory("Name:\tcarillon-server\nVmHWM:\t    9999 kB\nVmRSS:\t    1711 kB\nThreads:\t4\n"),
            1711 * 1024);
  for (const char* status : {"", "VmRSS:", "VmRSS:\tx kB", "Name:\tkthreadd\n"}) {
    EXPECT_FALSE(ParseResidentMemory(status).has_value()) << status;
  }
}

TEST(ResidentMemory, IsKnownOfAProcessThatRuns) {
  CpuMeter meter("");
  EXPECT_FALSE(meter.ResidentMemory("server").has_value());
  meter.Follow("server", getpid());
  EXPECT_GT(meter.ResidentMemory("server").value_or(0), 1024 * 1024);
}

TEST(Usage, OfTwoIntervalsAddsTheCpuAndWeighsTheShares) {
  Usage usage{.time = absl::Seconds(1), .cpu_seconds = {{"server", 0.5}, {"generator", 1}}, .idle_percent = 40};
  usage.Add({.time = absl::Seconds(3), .cpu_seconds = {{"server", 0.25}, {"relay", 0.125}}, .idle_percent = 80});
  EXPECT_EQ(usage.time, absl::Seconds(4));
  EXPECT_DOUBLE_EQ(usage.seconds_of("server"), 0.75);
  EXPECT_DOUBLE_EQ(usage.seconds_of("relay"), 0.125);
  EXPECT_DOUBLE_EQ(usage.seconds_of("redis"), 0);
  EXPECT_DOUBLE_EQ(usage.system_seconds(), 0.875);
  EXPECT_DOUBLE_EQ(usage.idle_percent, 70);
}

}  // namespace
}  // namespace carillon::bench
