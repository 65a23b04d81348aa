#include "server/pci/pci_config_space.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_config_fixture.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

// Power management at 0x40, MSI at 0x48, MSI-X at 0x60, PCI Express at 0x6c.
DeviceDescription Description() {
  DeviceDescription description;
  description.bars = {{.index = RegionIndex::kBar0, .size = 0x1000}};
  description.irqs = {{.index = IrqIndex::kIntx, .count = 1},
                      {.index = IrqIndex::kMsi, .count = 8},
                      {.index = IrqIndex::kMsix, .count = 5}};
  description.power_management = true;
  description.msi.per_vector_mask = true;
  description.msix = {.bar = RegionIndex::kBar0, .table_offset = 0x800, .pba_offset = 0xc00};
  description.express = PciExpressDescription();
  return description;
}

class PciConfigSpaceTest : public PciConfigFixture {
 protected:
  PciConfigSpaceTest() { Make(Description()); }
};

TEST_F(PciConfigSpaceTest, StartsWithEverythingOff) {
  EXPECT_FALSE(config_.may_master());
  EXPECT_FALSE(config_.intx_disabled());
  EXPECT_FALSE(config_.msi_enabled());
  EXPECT_EQ(config_.msi_mask(), 0u);
  EXPECT_FALSE(config_.msix_enabled());
  EXPECT_FALSE(config_.msix_masked());
}

TEST_F(PciConfigSpaceTest, LetsTheDeviceMasterByTheCommandRegisterAndInD0) {
  Write(0x04, {0x04});
  EXPECT_TRUE(config_.may_master());

  Write(0x44, {3});
  EXPECT_FALSE(config_.may_master());

  Write(0x44, {0});
  EXPECT_TRUE(config_.may_master());
  Write(0x04, {0x02});
  EXPECT_FALSE(config_.may_master());
}

TEST_F(PciConfigSpaceTest, SaysThatIntxIsDisabled) {
  Write(0x05, {0x04});

  EXPECT_TRUE(config_.intx_disabled());
}

TEST_F(PciConfigSpaceTest, TellsMsiAndMsixApart) {
  Write(0x4a, {0x01});
  EXPECT_TRUE(config_.msi_enabled());
  EXPECT_FALSE(config_.msix_enabled());

  Write(0x4a, {0x00});
  Write(0x62, {0x00, 0x80});
  EXPECT_FALSE(config_.msi_enabled());
  EXPECT_TRUE(config_.msix_enabled());
  EXPECT_FALSE(config_.msix_masked());

  Write(0x62, {0x00, 0x40});
  EXPECT_FALSE(config_.msix_enabled());
  EXPECT_TRUE(config_.msix_masked());
}

TEST_F(PciConfigSpaceTest, SaysWhichVectorsOfMsiAreMasked) {
  Write(0x58, {0xa5, 0xff});

  EXPECT_EQ(config_.msi_mask(), 0xa5u);
}

TEST_F(PciConfigSpaceTest, HasNothingToSwitchWithoutCapabilities) {
  Make(DeviceDescription());

  Write(0, std::vector<uint8_t>(256, 0xff));

  EXPECT_TRUE(config_.may_master());
  EXPECT_FALSE(config_.msi_enabled());
  EXPECT_EQ(config_.msi_mask(), 0u);
  EXPECT_FALSE(config_.msix_enabled());
  EXPECT_FALSE(config_.msix_masked());
}

TEST_F(PciConfigSpaceTest, ShowsTheIntxLineInItsStatus) {
  config_.ShowIntx(IntxLine::kUp);
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0x18, 0x00));

  Write(0x06, {0xff, 0xff});
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0x18, 0x00));

  config_.ShowIntx(IntxLine::kDown);
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0x10, 0x00));
}

TEST_F(PciConfigSpaceTest, ShowsPendingVectorsOfMsiWhereThereIsARegisterForThem) {
  config_.ShowMsiPending(0x81);
  EXPECT_THAT(Read(0x5c, 4), ElementsAre(0x81, 0, 0, 0));

  DeviceDescription without = Description();
  without.msi.per_vector_mask = false;
  Make(without);
  const std::vector<uint8_t> before = Read(0, 256);
  config_.ShowMsiPending(0x81);
  EXPECT_EQ(Read(0, 256), before);
}

TEST_F(PciConfigSpaceTest, TellsOfAFunctionResetHoweverItIsWritten) {
  const auto reset = PciWriteEffect::kFunctionReset;
  EXPECT_EQ(Write(0x74, {0x10, 0xa8}), reset);
  EXPECT_EQ(Write(0x75, {0x80}), reset);
  EXPECT_EQ(Write(0x74, {0x10, 0xa8, 0, 0}), reset);
  EXPECT_EQ(Write(0x70, std::vector<uint8_t>(8, 0xff)), reset);

  const auto none = PciWriteEffect::kNone;
  EXPECT_EQ(Write(0x74, {0x10, 0x28}), none);
  EXPECT_EQ(Write(0x74, {0xff}), none);
  EXPECT_EQ(Write(0x76, {0xff, 0xff}), none);
  EXPECT_EQ(Write(0x75, {}), none);
}

TEST_F(PciConfigSpaceTest, IgnoresTheResetBitOfADeviceThatLacksIt) {
  DeviceDescription without = Description();
  without.express->function_level_reset = false;
  Make(without);

  EXPECT_EQ(Write(0x74, {0x10, 0xa8}), PciWriteEffect::kNone);
}

TEST_F(PciConfigSpaceTest, GoesBackToPowerOnWhenReset) {
  const std::vector<uint8_t> before = Read(0, 4096);
  Write(0, std::vector<uint8_t>(4096, 0xff));
  ASSERT_NE(Read(0, 4096), before);

  config_.Reset();

  EXPECT_EQ(Read(0, 4096), before);
}

TEST_F(PciConfigSpaceTest, IsRestoredToWhatItWas) {
  Write(0, std::vector<uint8_t>(256, 0xff));
  const std::vector<uint8_t> before = Read(0, 4096);
  config_.ShowIntx(IntxLine::kUp);
  config_.ShowMsiPending(3);
  const std::vector<std::byte> saved = config_.Save();
  config_.Reset();

  ASSERT_THAT(config_.Restore(saved), IsOk());

  EXPECT_EQ(Read(0, 4096), before);
}

TEST_F(PciConfigSpaceTest, IsNotRestoredToWhatItCannotBe) {
  std::vector<std::byte> saved = config_.Save();
  const std::vector<uint8_t> before = Read(0, 4096);
  saved[0x10] = std::byte{0x01};  // A BAR of ports.

  EXPECT_THAT(config_.Restore(saved), StatusIs(absl::StatusCode::kInvalidArgument));
  saved = config_.Save();
  saved[0x44] |= std::byte{2};  // D2.
  EXPECT_THAT(config_.Restore(saved), StatusIs(absl::StatusCode::kInvalidArgument));
  saved.resize(256);
  EXPECT_THAT(config_.Restore(saved), StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_EQ(Read(0, 4096), before);
}

}  // namespace
}  // namespace vfio_user
