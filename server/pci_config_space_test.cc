#include "server/pci_config_space.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

DeviceDescription Description() {
  DeviceDescription description;
  description.pci = {.vendor_id = 0x1234,
                     .device_id = 0xdc01,
                     .subsystem_vendor_id = 0x5678,
                     .subsystem_id = 0x9abc,
                     .class_code = 0x088000,
                     .revision = 3};
  description.bars = {{.index = RegionIndex::kBar0, .size = 0x1000},
                      {.index = RegionIndex::kBar2, .size = 0x10},
                      {.index = RegionIndex::kRom, .size = 0x800}};
  description.irqs = {{.index = IrqIndex::kIntx, .count = 1},
                      {.index = IrqIndex::kMsix, .count = 5}};
  description.msix = {.bar = RegionIndex::kBar0, .table_offset = 0x800, .pba_offset = 0xc00};
  return description;
}

class PciConfigSpaceTest : public testing::Test {
 protected:
  std::vector<uint8_t> Read(size_t offset, size_t count) const {
    std::vector<uint8_t> bytes(count);
    config_.Read(offset, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }
  void Write(size_t offset, std::vector<uint8_t> bytes) {
    config_.Write(offset, std::as_bytes(std::span(bytes)));
  }

  PciConfigSpace config_{Description()};
};

TEST_F(PciConfigSpaceTest, ShowsTheIdentity) {
  EXPECT_THAT(Read(0x00, 4), ElementsAre(0x34, 0x12, 0x01, 0xdc));
  // Revision, then programming interface, subclass, base class; then header type 0.
  EXPECT_THAT(Read(0x08, 4), ElementsAre(3, 0x00, 0x80, 0x08));
  EXPECT_THAT(Read(0x0e, 1), ElementsAre(0));
  EXPECT_THAT(Read(0x2c, 4), ElementsAre(0x78, 0x56, 0xbc, 0x9a));
}

TEST_F(PciConfigSpaceTest, KeepsTheIdentityWhateverIsWritten) {
  const std::vector<uint8_t> before = Read(0x00, 4);

  Write(0x00, {0xff, 0xff, 0xff, 0xff});
  Write(0x08, {0xff, 0xff, 0xff, 0xff});

  EXPECT_EQ(Read(0x00, 4), before);
  EXPECT_THAT(Read(0x08, 4), ElementsAre(3, 0x00, 0x80, 0x08));
}

TEST_F(PciConfigSpaceTest, LetsMemoryBusMasterAndIntxDisableBeSwitched) {
  EXPECT_THAT(Read(0x04, 2), ElementsAre(0, 0));

  Write(0x04, {0xff, 0xff});

  EXPECT_THAT(Read(0x04, 2), ElementsAre(0x06, 0x04));
}

TEST_F(PciConfigSpaceTest, HasACapabilityListInItsStatusWhichCannotBeWritten) {
  Write(0x06, {0xff, 0xff});
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0x10, 0x00));

  Write(0x06, {0x00, 0x00});
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0x10, 0x00));
}

TEST_F(PciConfigSpaceTest, ReadsBackTheSizeOfABarWhenAllOnesWereWritten) {
  Write(0x10, {0xff, 0xff, 0xff, 0xff});
  Write(0x14, {0xff, 0xff, 0xff, 0xff});
  Write(0x18, {0xff, 0xff, 0xff, 0xff});

  EXPECT_THAT(Read(0x10, 4), ElementsAre(0x00, 0xf0, 0xff, 0xff));
  EXPECT_THAT(Read(0x14, 4), Each(0));  // Not there.
  EXPECT_THAT(Read(0x18, 4), ElementsAre(0xf0, 0xff, 0xff, 0xff));
}

TEST_F(PciConfigSpaceTest, KeepsTheAddressOfABar) {
  Write(0x10, {0x00, 0x50, 0x43, 0x21});

  EXPECT_THAT(Read(0x10, 4), ElementsAre(0x00, 0x50, 0x43, 0x21));
}

TEST_F(PciConfigSpaceTest, SizesTheRomAndLetsItBeEnabled) {
  Write(0x30, {0x00, 0xf8, 0xff, 0xff});
  EXPECT_THAT(Read(0x30, 4), ElementsAre(0x00, 0xf8, 0xff, 0xff));

  Write(0x30, {0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(Read(0x30, 4), ElementsAre(0x01, 0xf8, 0xff, 0xff));
}

TEST_F(PciConfigSpaceTest, NamesInterruptPinAOnlyWithIntx) {
  EXPECT_THAT(Read(0x3d, 1), ElementsAre(1));

  DeviceDescription without = Description();
  without.irqs.erase(without.irqs.begin());
  config_ = PciConfigSpace(without);

  EXPECT_THAT(Read(0x3d, 1), ElementsAre(0));
}

TEST_F(PciConfigSpaceTest, DescribesMsix) {
  EXPECT_THAT(Read(0x34, 1), ElementsAre(0x40));
  // Id 0x11, no next, table size 5 - 1.
  EXPECT_THAT(Read(0x40, 4), ElementsAre(0x11, 0x00, 0x04, 0x00));
  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x00, 0x08, 0x00, 0x00));
  EXPECT_THAT(Read(0x48, 4), ElementsAre(0x00, 0x0c, 0x00, 0x00));
}

TEST_F(PciConfigSpaceTest, LetsOnlyEnableAndFunctionMaskOfMsixBeWritten) {
  Write(0x40, std::vector<uint8_t>(12, 0xff));

  EXPECT_THAT(Read(0x40, 4), ElementsAre(0x11, 0x00, 0x04, 0xc0));
  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x00, 0x08, 0x00, 0x00));
}

TEST_F(PciConfigSpaceTest, HasNoCapabilitiesWithoutMsix) {
  DeviceDescription without = Description();
  without.msix.reset();
  config_ = PciConfigSpace(without);

  EXPECT_THAT(Read(0x06, 2), ElementsAre(0, 0));
  EXPECT_THAT(Read(0x34, 1), ElementsAre(0));
  EXPECT_THAT(Read(0x40, 12), Each(0));
}

TEST_F(PciConfigSpaceTest, TakesWritesOfOneByteAndAcrossRegisters) {
  Write(0x3c, {0x0b});
  EXPECT_THAT(Read(0x3c, 1), ElementsAre(0x0b));

  // The high half of one BAR and the low half of the next, which is not there.
  Write(0x12, {0xaa, 0xbb, 0xcc, 0xdd});
  EXPECT_THAT(Read(0x10, 8), ElementsAre(0, 0, 0xaa, 0xbb, 0, 0, 0, 0));
}

TEST_F(PciConfigSpaceTest, IsReadWhole) { EXPECT_EQ(Read(0, 256).size(), 256u); }

TEST_F(PciConfigSpaceTest, GoesBackToPowerOnWhenReset) {
  const std::vector<uint8_t> before = Read(0, 256);
  Write(0, std::vector<uint8_t>(256, 0xff));
  ASSERT_NE(Read(0, 256), before);

  config_.Reset();

  EXPECT_EQ(Read(0, 256), before);
}

}  // namespace
}  // namespace vfio_user
