#include <cstddef>
#include <cstdint>

#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"
#include "server/interrupts/interrupt_table.h"
#include "server/interrupts/interrupt_table_fixture.h"
#include "server/interrupts/interrupt_types.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

class InterruptDeliveryTest : public InterruptTableFixture {
 protected:
  void MaskInTable(uint32_t vector, Masking mask) {
    table_.MaskVectors(IrqIndex::kMsix, vector, {&mask, 1});
  }
};

TEST_F(InterruptDeliveryTest, AnnouncesWhatIsDueOnceUntilItIsSignalled) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 1), IsOk());
  EXPECT_EQ(announced_, 0);
  const SetIrqsRequest trigger =
      Request(IrqIndex::kMsix, IrqData::kNone, IrqAction::kTrigger, 0, 1);

  ASSERT_THAT(table_.Apply(trigger, {}), IsOk());
  ASSERT_THAT(table_.Apply(trigger, {}), IsOk());
  EXPECT_EQ(announced_, 1);

  EXPECT_EQ(DueSignals(0), 1u);
  ASSERT_THAT(table_.Apply(trigger, {}), IsOk());
  EXPECT_EQ(announced_, 2);
}

TEST_F(InterruptDeliveryTest, DeliversAMaskedInterruptWhenItIsUnmasked) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  Mask(IrqIndex::kMsix, 0, 2);

  table_.Trigger(IrqIndex::kMsix, 0);
  table_.Trigger(IrqIndex::kMsix, 0);
  EXPECT_EQ(DueSignals(0), 0u);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 1u);

  Unmask(IrqIndex::kMsix, 0, 2);
  EXPECT_EQ(announced_, 1);
  EXPECT_EQ(DueSignals(0), 1u);
  EXPECT_EQ(DueSignals(1), 0u);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0u);
}

TEST_F(InterruptDeliveryTest, MasksAndUnmasksOnlyWhatBoolNames) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 3), IsOk());
  SetIrqsRequest bools = Request(IrqIndex::kMsix, IrqData::kBool, IrqAction::kMask, 0, 3);
  bools.bools = {1, 0, 1};
  ASSERT_THAT(table_.Apply(bools, {}), IsOk());
  for (uint32_t vector = 0; vector < 3; ++vector) table_.Trigger(IrqIndex::kMsix, vector);
  EXPECT_EQ(Signals(1), 1u);

  bools.action = IrqAction::kUnmask;
  bools.bools = {0, 1, 1};
  ASSERT_THAT(table_.Apply(bools, {}), IsOk());

  EXPECT_EQ(DueSignals(0), 0u);
  EXPECT_EQ(Signals(2), 1u);
}

TEST_F(InterruptDeliveryTest, MasksAreOfTheDeviceTooAndTheLastOneToGoDelivers) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  Mask(IrqIndex::kMsix, 1, 1);
  MaskInTable(1, Masking::kMasked);
  table_.MaskType(IrqIndex::kMsix, Masking::kMasked);
  table_.Trigger(IrqIndex::kMsix, 1);
  table_.Trigger(IrqIndex::kMsix, 2);

  Unmask(IrqIndex::kMsix, 1, 1);
  EXPECT_EQ(DueSignals(1), 0u);
  table_.MaskType(IrqIndex::kMsix, Masking::kUnmasked);
  EXPECT_EQ(DueSignals(1), 0u);
  EXPECT_EQ(Signals(2), 1u);
  MaskInTable(1, Masking::kUnmasked);
  EXPECT_EQ(DueSignals(1), 1u);
}

TEST_F(InterruptDeliveryTest, MasksManyVectorsAtOnceAndDeliversThemAtOnce) {
  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  const Masking masked[] = {Masking::kMasked, Masking::kMasked};
  const Masking mixed[] = {Masking::kUnmasked, Masking::kMasked};
  table_.MaskVectors(IrqIndex::kMsix, 1, masked);
  for (uint32_t vector = 0; vector < 4; ++vector) table_.Trigger(IrqIndex::kMsix, vector);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0x6u);
  EXPECT_EQ(announced_, 0);

  table_.MaskVectors(IrqIndex::kMsix, 1, mixed);

  EXPECT_EQ(announced_, 1);
  EXPECT_EQ(DueSignals(1), 1u);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0x4u);
}

TEST_F(InterruptDeliveryTest, RestoredVectorsWaitToBeBoundAndOldOnesAreForgotten) {
  Mask(IrqIndex::kMsix, 0, 1);
  table_.Trigger(IrqIndex::kMsix, 0);

  const std::byte bits[] = {std::byte{0x0a}};
  table_.RestorePending(IrqIndex::kMsix, bits);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0x0au);
  table_.Trigger(IrqIndex::kMsix, 1);
  Unmask(IrqIndex::kMsix, 0, 4);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0x0au);

  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 4), IsOk());
  EXPECT_EQ(DueSignals(0), 0u);
  EXPECT_EQ(Signals(1), 1u);
  EXPECT_EQ(Signals(3), 1u);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0u);
}

TEST_F(InterruptDeliveryTest, SignalsWhatIsRestoredAndBoundAlready) {
  ASSERT_THAT(Bind(IrqIndex::kMsi, 0, 2), IsOk());

  const std::byte bits[] = {std::byte{2}};
  table_.RestorePending(IrqIndex::kMsi, bits);

  EXPECT_EQ(announced_, 1);
  EXPECT_EQ(DueSignals(1), 1u);
  EXPECT_EQ(Signals(0), 0u);
}

TEST_F(InterruptDeliveryTest, KeepsPendingWhatIsMaskedAndNotBound) {
  Mask(IrqIndex::kMsix, 0, 1);
  table_.Trigger(IrqIndex::kMsix, 0);

  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 1), IsOk());
  Unmask(IrqIndex::kMsix, 0, 1);

  EXPECT_EQ(DueSignals(0), 1u);
}

TEST_F(InterruptDeliveryTest, LosesWhatIsNeitherMaskedNorBound) {
  table_.Trigger(IrqIndex::kMsix, 0);
  ASSERT_THAT(table_.Apply(Request(IrqIndex::kMsix, IrqData::kNone, IrqAction::kTrigger, 0, 4), {}),
              IsOk());
  EXPECT_EQ(announced_, 0);
  EXPECT_EQ(table_.Pending(IrqIndex::kMsix, 0), 0u);

  ASSERT_THAT(Bind(IrqIndex::kMsix, 0, 1), IsOk());

  EXPECT_EQ(DueSignals(0), 0u);
}

TEST_F(InterruptDeliveryTest, ShowsPendingVectorsInWordsOf64) {
  const IrqDescription many[] = {{.index = IrqIndex::kMsix, .count = 130}};
  InterruptTable table(many, [] {});
  table.MaskType(IrqIndex::kMsix, Masking::kMasked);

  for (const uint32_t vector : {0u, 63u, 64u, 129u}) table.Trigger(IrqIndex::kMsix, vector);

  EXPECT_EQ(table.Pending(IrqIndex::kMsix, 0), 0x8000000000000001u);
  EXPECT_EQ(table.Pending(IrqIndex::kMsix, 64), 1u);
  EXPECT_EQ(table.Pending(IrqIndex::kMsix, 128), 2u);
  EXPECT_EQ(table.Pending(IrqIndex::kIntx, 0), 0u);
}

TEST_F(InterruptDeliveryTest, SignalsTheLineOnceForEachUnmask) {
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());

  table_.SetLine(IntxLine::kUp);
  table_.SetLine(IntxLine::kUp);
  EXPECT_EQ(Signals(0), 1u);

  Unmask(IrqIndex::kIntx, 0, 1);
  EXPECT_EQ(DueSignals(0), 1u);
  Unmask(IrqIndex::kIntx, 0, 1);
  EXPECT_EQ(DueSignals(0), 1u);

  table_.SetLine(IntxLine::kDown);
  Unmask(IrqIndex::kIntx, 0, 1);
  EXPECT_EQ(DueSignals(0), 0u);
  EXPECT_EQ(table_.line(), IntxLine::kDown);
}

TEST_F(InterruptDeliveryTest, ForgetsALineThatFellWhileItWasMasked) {
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  Mask(IrqIndex::kIntx, 0, 1);
  table_.SetLine(IntxLine::kUp);
  table_.SetLine(IntxLine::kDown);

  Unmask(IrqIndex::kIntx, 0, 1);

  EXPECT_EQ(DueSignals(0), 0u);
}

TEST_F(InterruptDeliveryTest, SignalsALineThatIsUpAlreadyWhenItIsBound) {
  table_.SetLine(IntxLine::kUp);

  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  EXPECT_EQ(DueSignals(0), 1u);

  Disable(IrqIndex::kIntx);
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  EXPECT_EQ(DueSignals(0), 1u);
}

TEST_F(InterruptDeliveryTest, HoldsTheLineBackWhileTheDeviceHasItDisabled) {
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  table_.MaskType(IrqIndex::kIntx, Masking::kMasked);

  table_.SetLine(IntxLine::kUp);
  EXPECT_EQ(DueSignals(0), 0u);
  EXPECT_EQ(table_.line(), IntxLine::kUp);

  table_.MaskType(IrqIndex::kIntx, Masking::kUnmasked);
  EXPECT_EQ(DueSignals(0), 1u);
}

TEST_F(InterruptDeliveryTest, LoopbackOfIntxNeedsNoLineAndMasksToo) {
  ASSERT_THAT(Bind(IrqIndex::kIntx, 0, 1), IsOk());
  const SetIrqsRequest trigger =
      Request(IrqIndex::kIntx, IrqData::kNone, IrqAction::kTrigger, 0, 1);

  ASSERT_THAT(table_.Apply(trigger, {}), IsOk());
  EXPECT_EQ(DueSignals(0), 1u);
  ASSERT_THAT(table_.Apply(trigger, {}), IsOk());
  EXPECT_EQ(DueSignals(0), 0u);

  Unmask(IrqIndex::kIntx, 0, 1);
  EXPECT_EQ(DueSignals(0), 1u);
}

}  // namespace
}  // namespace vfio_user
