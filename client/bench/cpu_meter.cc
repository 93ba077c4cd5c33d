#include "client/bench/cpu_meter.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/carillon/timer.h"

namespace carillon::bench {
namespace {

constexpr const char* kParts[] = {"server",        "server-2",         "relay",         "worker-payment", "worker-otp",
                                  "worker-social", "worker-marketing", "worker-fanout", "postgres",       "rabbitmq",
                                  "redis",         "sandbox"};
constexpr const char* kGenerator = "generator";

using Processes = absl::flat_hash_map<pid_t, ProcessTimes>;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Processes AllProcesses() {
  Processes processes;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return processes;
  while (const dirent* entry = readdir(directory)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid)) continue;
    const std::optional<ProcessTimes> times = ParseProcessStat(ReadFile(absl::StrCat("/proc/", pid, "/stat")));
    if (times.has_value()) processes[pid] = *times;
  }
  closedir(directory);
  return processes;
}

bool DescendsFrom(pid_t pid, pid_t ancestor, const Processes& processes) {
  while (pid != ancestor) {
    const auto found = processes.find(pid);
    if (found == processes.end() || found->second.parent <= 1) return false;
    pid = found->second.parent;
  }
  return true;
}

// The sum never falls: what a child has used moves to its parent when it ends.
int64_t TicksOfTree(pid_t root, const Processes& processes) {
  int64_t ticks = 0;
  for (const auto& [pid, times] : processes) {
    if (DescendsFrom(pid, root, processes)) ticks += times.own + times.ended_children;
  }
  return ticks;
}

double Percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

std::optional<ProcessTimes> ParseProcessStat(absl::string_view line) {
  // The name stands in parentheses and may hold spaces and parentheses itself.
  const size_t name = line.find('(');
  const size_t end = line.rfind(')');
  ProcessTimes times;
  if (name == absl::string_view::npos || end == absl::string_view::npos) return std::nullopt;
  if (!absl::SimpleAtoi(line.substr(0, name), &times.pid)) return std::nullopt;
  // From the state, the third field, on.
  const std::vector<absl::string_view> fields = absl::StrSplit(line.substr(end + 1), ' ', absl::SkipEmpty());
  constexpr size_t kParent = 1, kUser = 11, kSystem = 12, kChildrenUser = 13, kChildrenSystem = 14;
  int64_t user = 0, system = 0, children_user = 0, children_system = 0;
  if (fields.size() <= kChildrenSystem || !absl::SimpleAtoi(fields[kParent], &times.parent) ||
      !absl::SimpleAtoi(fields[kUser], &user) || !absl::SimpleAtoi(fields[kSystem], &system) ||
      !absl::SimpleAtoi(fields[kChildrenUser], &children_user) ||
      !absl::SimpleAtoi(fields[kChildrenSystem], &children_system)) {
    return std::nullopt;
  }
  times.own = user + system;
  times.ended_children = children_user + children_system;
  return times;
}

std::optional<MachineTimes> ParseMachineStat(absl::string_view text) {
  const std::vector<absl::string_view> fields = absl::StrSplit(text.substr(0, text.find('\n')), ' ', absl::SkipEmpty());
  // cpu user nice system idle iowait irq softirq steal; what follows is within user.
  constexpr size_t kIdle = 4, kWaiting = 5, kSteal = 8;
  if (fields.size() <= kSteal || fields[0] != "cpu") return std::nullopt;
  MachineTimes times;
  for (size_t i = 1; i <= kSteal; ++i) {
    int64_t ticks = 0;
    if (!absl::SimpleAtoi(fields[i], &ticks)) return std::nullopt;
    times.total += ticks;
    if (i == kIdle || i == kWaiting) times.idle += ticks;
    if (i == kSteal) times.steal = ticks;
  }
  return times;
}

std::optional<int64_t> ParseResidentMemory(absl::string_view status) {
  for (const absl::string_view line : absl::StrSplit(status, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words.size() == 3 && words[0] == "VmRSS:" && absl::SimpleAtoi(words[1], &kibibytes)) return kibibytes * 1024;
  }
  return std::nullopt;
}

double Usage::total_seconds() const {
  return std::accumulate(cpu_seconds.begin(), cpu_seconds.end(), 0.0,
                         [](double sum, const auto& process) { return sum + process.second; });
}

double Usage::system_seconds() const { return total_seconds() - seconds_of(kGenerator); }

double Usage::seconds_of(absl::string_view process) const {
  for (const auto& [name, seconds] : cpu_seconds) {
    if (name == process) return seconds;
  }
  return 0;
}

void Usage::Add(const Usage& next) {
  const double mine = absl::ToDoubleSeconds(time);
  const double others = absl::ToDoubleSeconds(next.time);
  const double whole = std::max(mine + others, 1e-9);
  steal_percent = (steal_percent * mine + next.steal_percent * others) / whole;
  idle_percent = (idle_percent * mine + next.idle_percent * others) / whole;
  others_percent = (others_percent * mine + next.others_percent * others) / whole;
  time += next.time;
  for (const std::pair<std::string, double>& added : next.cpu_seconds) {
    const auto known = std::find_if(cpu_seconds.begin(), cpu_seconds.end(),
                                    [&](const auto& process) { return process.first == added.first; });
    if (known == cpu_seconds.end()) {
      cpu_seconds.push_back(added);
    } else {
      known->second += added.second;
    }
  }
}

CpuMeter::Reading CpuMeter::Read() const {
  Reading reading;
  const Processes processes = AllProcesses();
  for (const auto& [name, pid] : Pids()) reading.ticks[name] = {pid, TicksOfTree(pid, processes)};
  const auto self = processes.find(getpid());
  // Not our descendants: they are measured under names of their own.
  if (self != processes.end()) reading.ticks[kGenerator] = {getpid(), self->second.own};
  reading.machine = ParseMachineStat(ReadFile("/proc/stat")).value_or(MachineTimes{});
  reading.moment = MonotonicNow();
  return reading;
}

Usage CpuMeter::Between(const Reading& first, const Reading& last) {
  const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
  Usage usage{.time = last.moment - first.moment};
  const auto add = [&](const std::string& name) {
    const auto after = last.ticks.find(name);
    if (after == last.ticks.end()) return;
    const auto before = first.ticks.find(name);
    const bool same = before != first.ticks.end() && before->second.first == after->second.first;
    // Never less than nothing: of one that has ended no ticks are left.
    const int64_t ticks = std::max<int64_t>(after->second.second - (same ? before->second.second : 0), 0);
    usage.cpu_seconds.emplace_back(name, static_cast<double>(ticks) / ticks_per_second);
  };
  for (const char* part : kParts) add(part);
  add(kGenerator);
  const int64_t total = last.machine.total - first.machine.total;
  const int64_t steal = last.machine.steal - first.machine.steal;
  const int64_t idle = last.machine.idle - first.machine.idle;
  const auto ours = static_cast<int64_t>(usage.total_seconds() * ticks_per_second);
  usage.steal_percent = Percent(steal, total);
  usage.idle_percent = Percent(idle, total);
  usage.others_percent = Percent(std::max<int64_t>(total - steal - idle - ours, 0), total);
  return usage;
}

std::optional<int64_t> CpuMeter::ResidentMemory(const std::string& name) const {
  const std::map<std::string, pid_t> pids = Pids();
  const auto found = pids.find(name);
  if (found == pids.end()) return std::nullopt;
  return ParseResidentMemory(ReadFile(absl::StrCat("/proc/", found->second, "/status")));
}

std::map<std::string, pid_t> CpuMeter::Pids() const {
  std::map<std::string, pid_t> pids = followed_;
  if (stack_directory_.empty()) return pids;
  for (const char* part : kParts) {
    pid_t pid = 0;
    const std::string text = ReadFile(absl::StrCat(stack_directory_, "/pids/", part, ".pid"));
    if (absl::SimpleAtoi(text, &pid)) pids.emplace(part, pid);
  }
  return pids;
}

}  // namespace carillon::bench
