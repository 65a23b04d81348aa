#include "tools/vfio_user/child_process.h"

#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Seconds(60);

TEST(ChildProcessTest, GivesTheExitCode) {
  absl::StatusOr<ChildProcess> child = ChildProcess::Spawn("/bin/sh", {"-c", "exit 7"});
  ASSERT_THAT(child, IsOk());

  const absl::StatusOr<ProcessEnd> end = child->Wait(kLong);

  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->exit_code, 7);
  EXPECT_EQ(end->signal, 0);
  EXPECT_GT(end->max_rss_kib, 0);
}

TEST(ChildProcessTest, GivesTheSignal) {
  absl::StatusOr<ChildProcess> child = ChildProcess::Spawn("/bin/sh", {"-c", "kill -9 $$"});
  ASSERT_THAT(child, IsOk());

  const absl::StatusOr<ProcessEnd> end = child->Wait(kLong);

  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->signal, SIGKILL);
  EXPECT_EQ(end->exit_code, 137);
}

TEST(ChildProcessTest, ConnectsTheStreams) {
  absl::StatusOr<Pipe> in = MakePipe();
  absl::StatusOr<Pipe> out = MakePipe();
  ASSERT_THAT(in, IsOk());
  ASSERT_THAT(out, IsOk());
  absl::StatusOr<ChildProcess> child =
      ChildProcess::Spawn("/bin/cat", {}, {in->read_end.get(), out->write_end.get(), -1});
  ASSERT_THAT(child, IsOk());

  ASSERT_EQ(::write(in->write_end.get(), "hello", 5), 5);
  in->write_end.Reset();

  std::array<char, 8> bytes = {};
  EXPECT_EQ(::read(out->read_end.get(), bytes.data(), bytes.size()), 5);
  EXPECT_EQ(std::string(bytes.data()), "hello");
  EXPECT_THAT(child->Wait(kLong), IsOk());
}

TEST(ChildProcessTest, SaysWhenTheProcessStillRuns) {
  absl::StatusOr<Pipe> in = MakePipe();
  ASSERT_THAT(in, IsOk());
  absl::StatusOr<ChildProcess> child =
      ChildProcess::Spawn("/bin/cat", {}, {in->read_end.get(), -1, -1});
  ASSERT_THAT(child, IsOk());

  EXPECT_THAT(child->Wait(absl::Milliseconds(1)), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(ChildProcessTest, RejectsASecondWait) {
  absl::StatusOr<ChildProcess> child = ChildProcess::Spawn("/bin/true", {});
  ASSERT_THAT(child, IsOk());
  ASSERT_THAT(child->Wait(kLong), IsOk());

  EXPECT_THAT(child->Wait(kLong), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(ChildProcessTest, KillsAndReapsWhenItGoes) {
  absl::StatusOr<Pipe> in = MakePipe();
  ASSERT_THAT(in, IsOk());
  pid_t pid = -1;
  {
    absl::StatusOr<ChildProcess> child =
        ChildProcess::Spawn("/bin/cat", {}, {in->read_end.get(), -1, -1});
    ASSERT_THAT(child, IsOk());
    pid = child->pid();
    ASSERT_EQ(::kill(pid, 0), 0);
  }

  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ChildProcessTest, GivesTheChildNoBlockedSignal) {
  sigset_t blocked;
  sigset_t old;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &old), 0);
  absl::StatusOr<Pipe> in = MakePipe();
  ASSERT_THAT(in, IsOk());
  absl::StatusOr<ChildProcess> child =
      ChildProcess::Spawn("/bin/cat", {}, {in->read_end.get(), -1, -1});
  ASSERT_THAT(child, IsOk());
  ASSERT_EQ(::pthread_sigmask(SIG_SETMASK, &old, nullptr), 0);

  child->Signal(SIGTERM);

  const absl::StatusOr<ProcessEnd> end = child->Wait(kLong);
  ASSERT_THAT(end, IsOk());
  EXPECT_EQ(end->signal, SIGTERM);
}

TEST(ChildProcessTest, SaysWhatCannotBeRun) {
  const int before = OpenFdCount();

  EXPECT_THAT(ChildProcess::Spawn("/nonexistent", {}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("cannot run /nonexistent")));

  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
