#include "server/pci/pci_endpoint.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/interrupts/interrupt_table.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_config_space.h"
#include "server/probe_device.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

class PciEndpointTest : public testing::Test {
 protected:
  std::vector<uint8_t> Read(RegionIndex region, uint64_t offset, size_t count) {
    std::vector<uint8_t> bytes(count);
    EXPECT_THAT(endpoint_.Read(region, offset, std::as_writable_bytes(std::span(bytes))), IsOk());
    return bytes;
  }
  PciWriteEffect Write(RegionIndex region, uint64_t offset, std::vector<uint8_t> bytes) {
    const auto effect = endpoint_.Write(region, offset, std::as_bytes(std::span(bytes)));
    EXPECT_THAT(effect, IsOk());
    return effect.value_or(PciWriteEffect::kNone);
  }
  PciWriteEffect WriteConfig(uint64_t offset, std::vector<uint8_t> bytes) {
    return Write(RegionIndex::kConfig, offset, std::move(bytes));
  }

  // Whether a vector is held back: then it becomes, and stays, pending.
  bool HeldBack(IrqIndex index, uint32_t vector) {
    interrupts_.Trigger(index, vector);
    return (interrupts_.Pending(index, 0) >> vector & 1) != 0;
  }
  // What a transfer ends with where there is no client: EPERM comes before that.
  int TransferErrno() { return ErrnoOf(dma_.Read(Iova{0}, byte_)); }

  std::byte byte_[1] = {};
  ProbeDevice device_;
  ClientDmaSpace dma_{ClientDmaSpace::Options()};
  InterruptTable interrupts_{device_.description().irqs, [] {}};
  PciEndpoint endpoint_{device_, interrupts_, dma_};
};

TEST_F(PciEndpointTest, LetsTheDeviceTransferOnlyWhileBusMasteringIsOn) {
  EXPECT_EQ(TransferErrno(), EPERM);

  WriteConfig(0x04, {0x04, 0});
  EXPECT_NE(TransferErrno(), EPERM);

  WriteConfig(0x04, {0x02, 0});
  EXPECT_EQ(TransferErrno(), EPERM);
}

TEST_F(PciEndpointTest, LetsTheDeviceTransferOnlyInD0) {
  WriteConfig(0x04, {0x04, 0});

  WriteConfig(kProbePowerManagement + 4, {3});
  EXPECT_EQ(TransferErrno(), EPERM);

  WriteConfig(kProbePowerManagement + 4, {0});
  EXPECT_NE(TransferErrno(), EPERM);
}

TEST_F(PciEndpointTest, DisablesIntxAndShowsItsLineAllTheSame) {
  WriteConfig(0x05, {0x04});
  interrupts_.SetLine(IntxLine::kUp);

  EXPECT_TRUE(HeldBack(IrqIndex::kIntx, 0));
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x06, 1), ElementsAre(0x18));

  interrupts_.SetLine(IntxLine::kDown);
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x06, 1), ElementsAre(0x10));
}

TEST_F(PciEndpointTest, MasksVectorsOfMsiAndShowsThemPending) {
  WriteConfig(kProbeMsi + 0x10, {0x02});

  EXPECT_TRUE(HeldBack(IrqIndex::kMsi, 1));
  EXPECT_FALSE(HeldBack(IrqIndex::kMsi, 0));
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 1));
  EXPECT_THAT(Read(RegionIndex::kConfig, kProbeMsi + 0x14, 4), ElementsAre(0x02, 0, 0, 0));

  WriteConfig(kProbeMsi + 0x10, {0x00});
  EXPECT_FALSE(HeldBack(IrqIndex::kMsi, 1));
}

TEST_F(PciEndpointTest, MasksAllVectorsOfMsixByTheFunctionMask) {
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 3));

  WriteConfig(kProbeMsix + 2, {0x03, 0x40});
  EXPECT_TRUE(HeldBack(IrqIndex::kMsix, 3));

  WriteConfig(kProbeMsix + 2, {0x03, 0x80});
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 3));
}

TEST_F(PciEndpointTest, MasksAVectorOfMsixByItsEntryAndShowsItPending) {
  Write(RegionIndex::kBar1, 0x1c, {1, 0, 0, 0});

  EXPECT_TRUE(HeldBack(IrqIndex::kMsix, 1));
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 0));
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 8), ElementsAre(2, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x804, 4), Each(0));

  Write(RegionIndex::kBar1, 0x1c, {0, 0, 0, 0});
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 1));
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 8), Each(0));
}

TEST_F(PciEndpointTest, LetsNobodyWritePendingBits) {
  Write(RegionIndex::kBar1, 0x800, {0xff, 0xff, 0xff, 0xff});

  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 4), Each(0));
}

TEST_F(PciEndpointTest, GivesTheDeviceWhatIsNotTheTableOfAnAccessThatSpansBoth) {
  std::vector<uint8_t> bytes(0x1000, 0x5a);
  Write(RegionIndex::kBar1, 0, bytes);

  const std::vector<uint8_t> read = Read(RegionIndex::kBar1, 0, 0x1000);

  EXPECT_THAT(std::span(read).first(16),
              ElementsAre(0x58, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a,  //
                          0x5a, 0x5a, 0x5a, 0x5a, 0, 0, 0, 0));
  EXPECT_THAT(std::span(read).subspan(0x40, 0x7c0), Each(0x5a));
  EXPECT_THAT(std::span(read).subspan(0x800, 8), Each(0));
  EXPECT_THAT(std::span(read).subspan(0x808), Each(0x5a));
  // The device's memory is that of all its BARs: nothing of the table is in it.
  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 0x40), Each(0));
}

TEST_F(PciEndpointTest, TellsWhichInterruptsAreEnabled) {
  EXPECT_EQ(endpoint_.enabled_interrupts(), IrqIndex::kIntx);

  WriteConfig(kProbeMsi + 2, {0x01});
  EXPECT_EQ(endpoint_.enabled_interrupts(), IrqIndex::kMsi);

  WriteConfig(kProbeMsix + 2, {0x00, 0x80});
  EXPECT_EQ(endpoint_.enabled_interrupts(), IrqIndex::kMsix);
}

TEST_F(PciEndpointTest, TellsOfAFunctionReset) {
  EXPECT_EQ(WriteConfig(kProbeExpress + 9, {0x80}), PciWriteEffect::kFunctionReset);
  EXPECT_EQ(WriteConfig(kProbeExpress + 8, {0x00}), PciWriteEffect::kNone);
}

TEST_F(PciEndpointTest, IsOffAndUnmaskedAfterAReset) {
  WriteConfig(0x04, {0x04, 0x04});
  WriteConfig(kProbeMsix + 2, {0x00, 0xc0});
  WriteConfig(kProbeMsi + 0x10, {0x0f});
  Write(RegionIndex::kBar1, 0x0c, {1, 0, 0, 0});
  EXPECT_TRUE(HeldBack(IrqIndex::kMsix, 0));

  endpoint_.Reset();

  EXPECT_EQ(TransferErrno(), EPERM);
  EXPECT_EQ(endpoint_.enabled_interrupts(), IrqIndex::kIntx);
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 8), Each(0));
  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 0));
  EXPECT_FALSE(HeldBack(IrqIndex::kMsi, 0));
  EXPECT_FALSE(HeldBack(IrqIndex::kIntx, 0));
}

TEST_F(PciEndpointTest, MovesWithEverythingThatItKeeps) {
  WriteConfig(0x04, {0x04, 0});
  WriteConfig(kProbeMsi + 0x10, {0x08});
  Write(RegionIndex::kBar1, 0x1c, {1, 0, 0, 0});
  ASSERT_TRUE(HeldBack(IrqIndex::kMsix, 1));
  ASSERT_TRUE(HeldBack(IrqIndex::kMsi, 3));
  const std::vector<std::byte> config = endpoint_.SaveConfig();
  const std::vector<std::byte> interrupts = endpoint_.SaveInterrupts();
  endpoint_.Reset();

  ASSERT_THAT(endpoint_.CheckSaved(config, interrupts), IsOk());
  endpoint_.Restore(config, interrupts);

  EXPECT_NE(TransferErrno(), EPERM);
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 4), ElementsAre(2, 0, 0, 0));
  EXPECT_THAT(Read(RegionIndex::kConfig, kProbeMsi + 0x14, 4), ElementsAre(8, 0, 0, 0));
}

TEST_F(PciEndpointTest, MovesOverWhatWasPendingThere) {
  Write(RegionIndex::kBar1, 0x1c, {1, 0, 0, 0});
  const std::vector<std::byte> config = endpoint_.SaveConfig();
  const std::vector<std::byte> interrupts = endpoint_.SaveInterrupts();
  ASSERT_TRUE(HeldBack(IrqIndex::kMsix, 1));

  ASSERT_THAT(endpoint_.CheckSaved(config, interrupts), IsOk());
  endpoint_.Restore(config, interrupts);

  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 8), Each(0));
}

TEST_F(PciEndpointTest, DoesNotMoveToWhatIsNotItself) {
  const std::vector<std::byte> config = endpoint_.SaveConfig();
  std::vector<std::byte> interrupts = endpoint_.SaveInterrupts();
  WriteConfig(0x04, {0x04, 0});
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);

  EXPECT_THAT(endpoint_.CheckSaved(std::span(config).first(256), interrupts), refused);
  interrupts[13] = std::byte{1};  // Reserved bits of a vector's control.
  EXPECT_THAT(endpoint_.CheckSaved(config, interrupts), refused);
  interrupts.pop_back();
  EXPECT_THAT(endpoint_.CheckSaved(config, interrupts), refused);

  EXPECT_NE(TransferErrno(), EPERM);
}

TEST_F(PciEndpointTest, ForgetsTheMasksOfTheTableWithTheClient) {
  Write(RegionIndex::kBar1, 0x0c, {1, 0, 0, 0});
  ASSERT_TRUE(HeldBack(IrqIndex::kMsix, 0));

  endpoint_.ClientGone();

  EXPECT_FALSE(HeldBack(IrqIndex::kMsix, 0));
}

}  // namespace
}  // namespace vfio_user
