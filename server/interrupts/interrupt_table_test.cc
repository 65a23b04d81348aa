#include "server/interrupts/interrupt_table.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/interrupts/interrupt_table_fixture.h"
#include "server/interrupts/interrupt_types.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

class InterruptTableTest : public InterruptTableFixture {};

TEST_F(InterruptTableTest, TellsWhatTheDeviceHas) {
  const absl::StatusOr<IrqInfo> msix = table_.Info(IrqIndex::kMsix);
  ASSERT_THAT(msix, IsOk());
  EXPECT_EQ(msix->index, IrqIndex::kMsix);
  EXPECT_EQ(msix->count, 4u);
  EXPECT_EQ(msix->flags, InterruptFlags(IrqIndex::kMsix));

  const absl::StatusOr<IrqInfo> req = table_.Info(IrqIndex::kReq);
  ASSERT_THAT(req, IsOk());
  EXPECT_EQ(req->count, 0u);

  EXPECT_THAT(table_.Info(IrqIndex{5}), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(InterruptTableTest, SignalsTheVectorThatIsBoundAndNoOther) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 1, 2), IsOk());

  table_.Trigger(IrqIndex::kMsix, 0);
  table_.Trigger(IrqIndex::kMsix, 2);
  table_.Trigger(IrqIndex::kMsix, 2);
  table_.Trigger(IrqIndex::kIntx, 0);

  EXPECT_EQ(Signals(0), 0u);
  EXPECT_EQ(Signals(1), 2u);
}

TEST_F(InterruptTableTest, KeepsTheTypesApart) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 1), IsOk());
  ASSERT_THAT(table_.Apply(BindRequest(IrqIndex::kIntx, 0, 1), {}), IsOk());

  table_.Trigger(IrqIndex::kMsix, 0);

  EXPECT_EQ(Signals(0), 1u);
}

TEST_F(InterruptTableTest, IgnoresVectorsThatAreNotThere) {
  table_.Trigger(IrqIndex::kMsix, 4);
  table_.Trigger(IrqIndex::kReq, 0);
  table_.Trigger(IrqIndex{77}, 0);
}

TEST_F(InterruptTableTest, UnbindsTheRangeThatIsNamedWithoutDescriptors) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());

  ASSERT_THAT(table_.Apply(BindRequest(IrqIndex::kMsix, 2, 1), {}), IsOk());

  for (uint32_t vector = 0; vector < 4; ++vector) table_.Trigger(IrqIndex::kMsix, vector);
  EXPECT_EQ(Signals(1), 1u);
  EXPECT_EQ(Signals(2), 0u);
  EXPECT_EQ(Signals(3), 1u);
}

TEST_F(InterruptTableTest, DisablesAWholeTypeAndItsMasks) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  Mask(IrqIndex::kMsix, 0, 4);

  Disable(IrqIndex::kMsix);

  table_.Trigger(IrqIndex::kMsix, 3);
  EXPECT_EQ(Signals(3), 0u);
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  table_.Trigger(IrqIndex::kMsix, 3);
  EXPECT_EQ(Signals(3), 1u);
}

TEST_F(InterruptTableTest, TriggersTheVectorsThatNoneAndBoolName) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  SetIrqsRequest bools = Request(IrqIndex::kMsix, IrqData::kBool, IrqAction::kTrigger, 1, 3);
  bools.bools = {1, 0, 255};

  ASSERT_THAT(table_.Apply(Request(IrqIndex::kMsix, IrqData::kNone, IrqAction::kTrigger, 2, 2), {}),
              IsOk());
  table_.SignalDue();
  ASSERT_THAT(table_.Apply(bools, {}), IsOk());
  table_.SignalDue();

  EXPECT_EQ(Signals(0), 0u);
  EXPECT_EQ(Signals(1), 1u);
  EXPECT_EQ(Signals(2), 1u);
  EXPECT_EQ(Signals(3), 2u);
}

TEST_F(InterruptTableTest, SaysWhichTypesAreBound) {
  EXPECT_FALSE(table_.bound(IrqIndex::kMsix));
  ASSERT_THAT(Bind(IrqIndex::kMsix, 3, 1), IsOk());
  EXPECT_TRUE(table_.bound(IrqIndex::kMsix));
  EXPECT_FALSE(table_.bound(IrqIndex::kMsi));

  ASSERT_THAT(table_.Apply(BindRequest(IrqIndex::kMsix, 3, 1), {}), IsOk());
  EXPECT_FALSE(table_.bound(IrqIndex::kMsix));
}

TEST_F(InterruptTableTest, ResetKeepsWhatIsTheClients) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 2), IsOk());
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  Mask(IrqIndex::kMsix, 0, 1);
  const Masking masked[] = {Masking::kMasked};
  table_.MaskVectors(IrqIndex::kMsix, 1, masked);
  table_.Trigger(IrqIndex::kMsix, 0);
  table_.Trigger(IrqIndex::kMsix, 1);
  table_.MaskType(IrqIndex::kIntx, Masking::kMasked);
  table_.SetLine(IntxLine::kUp);

  table_.Reset();

  EXPECT_EQ(table_.line(), IntxLine::kDown);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0u);
  table_.Trigger(IrqIndex::kMsix, 0);
  EXPECT_EQ(DueSignals(0), 0u);
  table_.Trigger(IrqIndex::kMsix, 1);
  EXPECT_EQ(Signals(1), 1u);
}

TEST_F(InterruptTableTest, RefusesWhatTheDeviceDoesNotHave) {
  const SetIrqsRequest wrong[] = {
      // A type that is no PCI device's, and one that this device lacks.
      Request(IrqIndex{5}, IrqData::kNone, IrqAction::kTrigger, 0, 1),
      Request(IrqIndex::kReq, IrqData::kNone, IrqAction::kTrigger, 0, 1),
      Request(IrqIndex::kReq, IrqData::kNone, IrqAction::kTrigger, 0, 0),
      // Vectors past the last one, each way to get there.
      BindRequest(IrqIndex::kMsix, 4, 1),
      BindRequest(IrqIndex::kMsix, 3, 2),
      BindRequest(IrqIndex::kMsix, 1, UINT32_MAX - 1),
      // What the types do not do.
      Request(IrqIndex::kErr, IrqData::kNone, IrqAction::kMask, 0, 1),
      Request(IrqIndex::kErr, IrqData::kNone, IrqAction::kUnmask, 0, 1),
  };

  for (const SetIrqsRequest& request : wrong) {
    EXPECT_THAT(table_.Apply(request, {}), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(table_.Check(request, 0), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST_F(InterruptTableTest, RefusesTheWrongNumberOfDescriptorsAndClosesThem) {
  const int before = OpenFdCount();
  for (const uint32_t count : {1u, 3u}) {
    std::vector<UniqueFd> fds;
    for (uint32_t i = 0; i < count; ++i) fds.push_back(CopyOf(events_[i]));
    EXPECT_THAT(table_.Apply(BindRequest(IrqIndex::kMsix, 0, 2), std::move(fds)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("descriptors, want 2")));
  }
  std::vector<UniqueFd> stray;
  stray.push_back(CopyOf(events_[0]));
  EXPECT_THAT(table_.Apply(Request(IrqIndex::kMsix, IrqData::kNone, IrqAction::kTrigger, 0, 1),
                           std::move(stray)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("descriptors, want 0")));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(InterruptTableTest, ChangesNothingWhenOneDescriptorIsNoEventfd) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 2), IsOk());
  std::vector<UniqueFd> fds;
  fds.push_back(CopyOf(events_[3]));
  fds.push_back(Memfd("no eventfd"));

  const auto result = table_.Apply(BindRequest(IrqIndex::kMsix, 0, 2), std::move(fds));

  EXPECT_THAT(result, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("eventfd")));
  table_.Trigger(IrqIndex::kMsix, 0);
  EXPECT_EQ(Signals(0), 1u);
  EXPECT_EQ(Signals(3), 0u);
}

TEST_F(InterruptTableTest, HoldsOneDescriptorForEachBoundVectorHoweverOftenItIsBound) {
  const int before = OpenFdCount();

  for (int i = 0; i < 200; ++i) ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());

  EXPECT_EQ(OpenFdCount(), before + 4);
  table_.DropAll();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(InterruptTableTest, ForgetsMasksAndPendingInterruptsWithTheClientButNotTheDevices) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 2), IsOk());
  Mask(IrqIndex::kMsix, 0, 1);
  const Masking masked[] = {Masking::kMasked};
  table_.MaskVectors(IrqIndex::kMsix, 1, masked);
  table_.SetLine(IntxLine::kUp);
  table_.Trigger(IrqIndex::kMsix, 0);

  table_.DropAll();

  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 2), IsOk());
  EXPECT_EQ(DueSignals(0), 0u);
  table_.Trigger(IrqIndex::kMsix, 0);
  EXPECT_EQ(Signals(0), 1u);
  table_.Trigger(IrqIndex::kMsix, 1);
  EXPECT_EQ(Signals(1), 0u);
  EXPECT_EQ(table_.line(), IntxLine::kUp);
}

// A client that fills its blocking eventfd between the look at it and the write, and does not
// read it again. A client of ill will; which of the two threads is first does not matter.
TEST(InterruptTableBlockedTest, DropAllEndsASignalThatBlocks) {
  InterruptTable table(kInterruptTypes, [] {});
  const UniqueFd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::vector<UniqueFd> fds;
  fds.emplace_back(::fcntl(event.get(), F_DUPFD_CLOEXEC, 0));
  ASSERT_THAT(table.Apply(BindRequest(IrqIndex::kMsix, 0, 1), std::move(fds)), IsOk());
  // The flag is shared with the client, which takes it back after it was looked at.
  ASSERT_EQ(::fcntl(event.get(), F_SETFL, 0), 0);
  const uint64_t most = UINT64_MAX - 1;
  ASSERT_EQ(::write(event.get(), &most, sizeof(most)), 8);
  std::promise<void> begun;
  std::thread device([&] {
    begun.set_value();
    table.Trigger(IrqIndex::kMsix, 0);
  });
  begun.get_future().wait();

  table.DropAll();

  device.join();
}

}  // namespace
}  // namespace vfio_user
