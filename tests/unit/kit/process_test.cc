#include "tests/kit/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/kit/status_matchers.h"
#include "tests/kit/wait_for.h"

namespace carillon::testing {
namespace {

using ::testing::Optional;

TEST(Process, TellsTheExitStatus) {
  ASSERT_OK_AND_ASSIGN(auto process, Process::Start({.command = {"sh", "-c", "exit 7"}}));
  EXPECT_THAT(process->WaitForExit(absl::Seconds(10)), Optional(7));
  EXPECT_FALSE(process->IsRunning());
}

TEST(Process, TellsTheSignalThatEndedIt) {
  ASSERT_OK_AND_ASSIGN(auto process, Process::Start({.command = {"sleep", "60"}}));
  EXPECT_TRUE(process->IsRunning());
  process->Terminate();
  EXPECT_THAT(process->WaitForExit(absl::Seconds(10)), Optional(128 + SIGTERM));
}

TEST(Process, DiesWithItsObject) {
  pid_t pid = 0;
  {
    ASSERT_OK_AND_ASSIGN(auto process, Process::Start({.command = {"sleep", "60"}}));
    pid = process->pid();
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
}

TEST(RunCommand, ReturnsBothOutputs) {
  ASSERT_OK_AND_ASSIGN(const CommandResult result,
                       RunCommand({"sh", "-c", "echo $GREETING; echo no >&2; exit 3"}, {{"GREETING", "yes"}}));
  EXPECT_EQ(result.exit_status, 3);
  EXPECT_EQ(result.output, "yes\n");
  EXPECT_EQ(result.errors, "no\n");
}

TEST(RunCommand, KillsWhatOutlivesTheLimit) {
  EXPECT_THAT(RunCommand({"sleep", "60"}, {}, absl::Milliseconds(50)), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(RunCommand, ReportsAProgramThatDoesNotExist) {
  ASSERT_OK_AND_ASSIGN(const CommandResult result, RunCommand({"/nonexistent/program"}));
  EXPECT_EQ(result.exit_status, 127);
}

}  // namespace
}  // namespace carillon::testing
