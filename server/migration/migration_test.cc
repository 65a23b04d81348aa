#include "server/migration/migration.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_feature.h"
#include "server/events/work_queue.h"
#include "server/migratable.h"
#include "server/migration/saved_state.h"
#include "server/still_device.h"
#include "tests/testing/allocation_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::byte> BytesOf(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Has a text for its state, and tells what is asked of it.
class TextDevice final : public StillDevice, private Migratable {
 public:
  explicit TextDevice(std::string name) { description_.name = std::move(name); }

  Migratable* migratable() override { return this; }

  std::string text;
  std::vector<std::string> calls;  // On whichever thread; a test waits before it looks.
  bool can_save = true;

 private:
  void Pause() override { calls.emplace_back("pause"); }
  void Resume() override { calls.emplace_back("resume"); }
  absl::StatusOr<std::vector<std::byte>> Save() override {
    calls.emplace_back("save");
    if (!can_save) return ErrnoStatus(EIO, "save");
    return BytesOf(text);
  }
  absl::Status Restore(std::span<const std::byte> state) override {
    calls.emplace_back("restore");
    if (state.size() > 8) return absl::InvalidArgumentError("restore");
    text.assign(reinterpret_cast<const char*>(state.data()), state.size());
    return absl::OkStatus();
  }
};

class KeptText final : public ServerKeptState {
 public:
  void SaveInto(SavedState& state) override { state.config = BytesOf(text); }
  absl::Status Check(const SavedState& state) const override {
    return state.config.empty() ? absl::InvalidArgumentError("kept") : absl::OkStatus();
  }
  void RestoreFrom(const SavedState& state) override {
    ++restored;
    text.assign(reinterpret_cast<const char*>(state.config.data()), state.config.size());
  }

  int restored = 0;

  std::string text = "config";
};

// A device that can be migrated, with a worker of its own.
class Machine {
 public:
  explicit Machine(std::string name = "text") : device(std::move(name)) {
    worker_ = std::thread([this] { work.Run(); });
  }
  ~Machine() {
    work.Close();
    worker_.join();
  }

  // What became of it. The worker has nothing to do afterwards.
  absl::Status SetState(MigState to) {
    std::promise<absl::Status> arrived;
    const absl::Status accepted = migration.SetState(
        to, [&arrived](const absl::Status& status) { arrived.set_value(status); });
    if (!accepted.ok()) return accepted;
    absl::Status status = arrived.get_future().get();
    work.WaitUntilIdle();
    return status;
  }
  std::vector<uint8_t> Saved() {
    EXPECT_THAT(SetState(MigState::kStopCopy), IsOk());
    const auto read = migration.Read(SIZE_MAX);
    EXPECT_THAT(read, IsOk());
    return *read;
  }
  // Through RESUMING, to `to`.
  absl::Status Load(std::span<const uint8_t> state, MigState to) {
    EXPECT_THAT(SetState(MigState::kResuming), IsOk());
    EXPECT_THAT(migration.Write(state), IsOk());
    return SetState(to);
  }

  WorkQueue work;
  TextDevice device;
  KeptText kept;
  Migration migration{device, kept, work};

 private:
  std::thread worker_;
};

TEST(MigrationTest, BeginsRunning) {
  const Machine machine;

  EXPECT_EQ(machine.migration.state(), MigState::kRunning);
}

TEST(MigrationTest, PausesOnceHoweverLongTheWayAndResumesOnce) {
  Machine machine;
  ASSERT_THAT(machine.SetState(MigState::kPreCopy), IsOk());
  EXPECT_THAT(machine.device.calls, IsEmpty());

  ASSERT_THAT(machine.SetState(MigState::kStop), IsOk());
  EXPECT_THAT(machine.device.calls, ElementsAre("pause"));

  ASSERT_THAT(machine.SetState(MigState::kStopCopy), IsOk());
  ASSERT_THAT(machine.SetState(MigState::kResuming), IsOk());
  EXPECT_THAT(machine.device.calls, ElementsAre("pause", "save"));

  ASSERT_THAT(machine.SetState(MigState::kPreCopy), IsOk());
  EXPECT_THAT(machine.device.calls, ElementsAre("pause", "save", "resume"));
  EXPECT_EQ(machine.migration.state(), MigState::kPreCopy);
}

TEST(MigrationTest, ArrivesWhenWhatTheDeviceHadBegunIsThrough) {
  Machine machine;
  std::promise<void> go_on;
  machine.work.Post([&] {
    go_on.get_future().wait();
    machine.device.calls.emplace_back("through");
  });
  std::promise<absl::Status> arrived;
  ASSERT_THAT(machine.migration.SetState(
                  MigState::kStop, [&](const absl::Status& status) { arrived.set_value(status); }),
              IsOk());

  EXPECT_EQ(machine.migration.state(), MigState::kRunning);
  EXPECT_EQ(ErrnoOf(machine.SetState(MigState::kRunning)), EBUSY);
  EXPECT_EQ(ErrnoOf(machine.migration.Read(1).status()), EBUSY);
  EXPECT_EQ(ErrnoOf(machine.migration.Write({})), EBUSY);
  go_on.set_value();

  EXPECT_THAT(arrived.get_future().get(), IsOk());
  EXPECT_EQ(machine.migration.state(), MigState::kStop);
  EXPECT_THAT(machine.device.calls, ElementsAre("pause", "through"));
}

TEST(MigrationTest, MovesWhatDeviceAndServerHave) {
  Machine source;
  source.device.text = "moved";
  source.kept.text = "kept";
  Machine target;

  ASSERT_THAT(target.Load(source.Saved(), MigState::kRunning), IsOk());

  EXPECT_EQ(target.device.text, "moved");
  EXPECT_EQ(target.kept.text, "kept");
  EXPECT_THAT(target.device.calls, ElementsAre("pause", "restore", "resume"));
  EXPECT_EQ(target.migration.state(), MigState::kRunning);
}

TEST(MigrationTest, GivesTheStateInPiecesAndThenNothing) {
  Machine machine;
  machine.device.text = "text";
  const std::vector<uint8_t> whole = machine.Saved();
  ASSERT_THAT(machine.SetState(MigState::kStop), IsOk());
  ASSERT_THAT(machine.SetState(MigState::kStopCopy), IsOk());

  std::vector<uint8_t> pieces;
  for (int i = 0; i < 100; ++i) {
    const auto piece = machine.migration.Read(7);
    ASSERT_THAT(piece, IsOk());
    pieces.insert(pieces.end(), piece->begin(), piece->end());
  }

  EXPECT_EQ(pieces, whole);
}

TEST(MigrationTest, HasNothingToReadWhileTheDeviceRuns) {
  Machine machine;
  ASSERT_THAT(machine.SetState(MigState::kPreCopy), IsOk());

  EXPECT_THAT(machine.migration.Read(64), IsOkAndHolds(IsEmpty()));
}

TEST(MigrationTest, ReadsAndWritesOnlyInTheStatesForThat) {
  Machine machine;
  for (const MigState state : {MigState::kRunning, MigState::kStop, MigState::kResuming}) {
    ASSERT_THAT(machine.SetState(state), IsOk());
    EXPECT_EQ(ErrnoOf(machine.migration.Read(1).status()), EINVAL);
  }
  for (const MigState state :
       {MigState::kRunning, MigState::kPreCopy, MigState::kStop, MigState::kStopCopy}) {
    ASSERT_THAT(machine.SetState(state), IsOk());
    EXPECT_EQ(ErrnoOf(machine.migration.Write({})), EINVAL);
  }
}

TEST(MigrationTest, TakesNoMoreThanItsLimit) {
  Machine machine;
  ASSERT_THAT(machine.SetState(MigState::kResuming), IsOk());
  const std::vector<uint8_t> half(Migration::kMostStateBytes / 2);
  ASSERT_THAT(machine.migration.Write(half), IsOk());
  ASSERT_THAT(machine.migration.Write(half), IsOk());

  EXPECT_EQ(ErrnoOf(machine.migration.Write({half.data(), 1})), ENOSPC);
}

TEST(MigrationTest, LeavesTheDeviceAsItIsWhereNothingWasWritten) {
  Machine machine;
  machine.device.text = "as it was";

  ASSERT_THAT(machine.Load({}, MigState::kRunning), IsOk());

  EXPECT_EQ(machine.device.text, "as it was");
}

TEST(MigrationTest, IsInErrorAfterBadDataUntilAReset) {
  Machine machine;
  machine.device.text = "mine";
  std::vector<uint8_t> bad = machine.Saved();
  bad.pop_back();

  EXPECT_EQ(ErrnoOf(machine.Load(bad, MigState::kRunning)), EINVAL);

  EXPECT_EQ(machine.migration.state(), MigState::kError);
  EXPECT_EQ(ErrnoOf(machine.SetState(MigState::kRunning)), EINVAL);
  EXPECT_EQ(ErrnoOf(machine.migration.Read(1).status()), EINVAL);
  EXPECT_EQ(machine.device.text, "mine");
  EXPECT_NE(machine.device.calls.back(), "resume");

  machine.migration.ResetBegins();
  EXPECT_EQ(ErrnoOf(machine.SetState(MigState::kStop)), EBUSY);
  machine.migration.ResetEnds();

  EXPECT_EQ(machine.migration.state(), MigState::kRunning);
  EXPECT_EQ(machine.device.calls.back(), "resume");
  EXPECT_THAT(machine.SetState(MigState::kStop), IsOk());
}

TEST(MigrationTest, RejectsTheStateOfAnotherDevice) {
  Machine source("other");
  Machine target;

  EXPECT_THAT(target.Load(source.Saved(), MigState::kStop),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("it is a other's")));

  EXPECT_EQ(target.migration.state(), MigState::kError);
}

TEST(MigrationTest, KeepsWhatTheServerHasWhereTheDeviceRefuses) {
  Machine source;
  source.device.text = "longer than eight";
  source.kept.text = "from there";
  Machine target;

  EXPECT_EQ(ErrnoOf(target.Load(source.Saved(), MigState::kStop)), EINVAL);

  EXPECT_EQ(target.kept.text, "config");
  EXPECT_EQ(target.kept.restored, 0);
}

TEST(MigrationTest, RestsInStopWhenItCannotSave) {
  Machine machine;
  machine.device.can_save = false;
  ASSERT_THAT(machine.SetState(MigState::kPreCopy), IsOk());

  EXPECT_EQ(ErrnoOf(machine.SetState(MigState::kStopCopy)), EIO);

  EXPECT_EQ(machine.migration.state(), MigState::kStop);
  EXPECT_THAT(machine.SetState(MigState::kRunning), IsOk());
  EXPECT_THAT(machine.device.calls, ElementsAre("pause", "save", "resume"));
}

TEST(MigrationTest, RunsAgainWhenItsClientIsGone) {
  for (const MigState state : {MigState::kRunning, MigState::kPreCopy, MigState::kStop,
                               MigState::kStopCopy, MigState::kResuming}) {
    Machine machine;
    ASSERT_THAT(machine.SetState(state), IsOk());
    if (state == MigState::kResuming) {
      ASSERT_THAT(machine.migration.Write({{1, 2, 3}}), IsOk());
    }

    machine.migration.ClientGone();
    machine.work.WaitUntilIdle();

    EXPECT_EQ(machine.migration.state(), MigState::kRunning);
    const bool rested = state != MigState::kRunning && state != MigState::kPreCopy;
    EXPECT_EQ(!machine.device.calls.empty() && machine.device.calls.back() == "resume", rested);
    EXPECT_THAT(machine.Load({}, MigState::kStop), IsOk());
  }
}

TEST(MigrationTest, RunsAgainAfterAResetInAnyState) {
  for (const MigState state : {MigState::kRunning, MigState::kPreCopy, MigState::kStop,
                               MigState::kStopCopy, MigState::kResuming}) {
    Machine machine;
    ASSERT_THAT(machine.SetState(state), IsOk());

    machine.migration.ResetBegins();
    machine.migration.ResetEnds();

    EXPECT_EQ(machine.migration.state(), MigState::kRunning);
  }
}

constexpr int64_t kLongStateBytes = 16 << 20;

TEST(MigrationTest, AResetGivesBackTheMemoryOfAStateThatWasBeingWritten) {
  if (!CountsAllocations()) GTEST_SKIP() << "ThreadSanitizer has operator new to itself";
  Machine machine;
  ASSERT_THAT(machine.SetState(MigState::kResuming), IsOk());
  const int64_t before = AllocatedBytes();
  ASSERT_THAT(machine.migration.Write(std::vector<uint8_t>(kLongStateBytes)), IsOk());
  ASSERT_GE(AllocatedBytes(), before + kLongStateBytes);

  machine.migration.ResetBegins();
  machine.migration.ResetEnds();

  EXPECT_LT(AllocatedBytes(), before + kLongStateBytes / 16);
}

TEST(MigrationTest, LeavingStopCopyGivesBackTheMemoryOfTheState) {
  if (!CountsAllocations()) GTEST_SKIP() << "ThreadSanitizer has operator new to itself";
  Machine machine;
  machine.device.text.resize(kLongStateBytes);
  const int64_t before = AllocatedBytes();
  ASSERT_THAT(machine.SetState(MigState::kStopCopy), IsOk());
  ASSERT_GE(AllocatedBytes(), before + kLongStateBytes);

  ASSERT_THAT(machine.SetState(MigState::kStop), IsOk());

  EXPECT_LT(AllocatedBytes(), before + kLongStateBytes / 16);
}

}  // namespace
}  // namespace vfio_user
