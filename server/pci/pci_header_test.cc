#include "server/pci/pci_header.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"
#include "server/pci/pci_config_fixture.h"

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
  description.bars = {
      {.index = RegionIndex::kBar0, .size = 0x1000},
      {.index = RegionIndex::kBar2, .size = 0x10},
      {.index = RegionIndex::kRom, .size = 0x800, .flags = RegionFlags(RegionFlag::kRead)}};
  description.irqs = {{.index = IrqIndex::kIntx, .count = 1}};
  return description;
}

class PciHeaderTest : public PciConfigFixture {
 protected:
  PciHeaderTest() { Make(Description()); }

  void MakeWithBar(const BarDescription& bar) {
    DeviceDescription description;
    description.bars = {bar};
    Make(description);
  }
};

TEST_F(PciHeaderTest, ShowsTheIdentity) {
  EXPECT_THAT(Read(0x00, 4), ElementsAre(0x34, 0x12, 0x01, 0xdc));
  // Revision, then programming interface, subclass, base class; then header type 0.
  EXPECT_THAT(Read(0x08, 4), ElementsAre(3, 0x00, 0x80, 0x08));
  EXPECT_THAT(Read(0x0e, 1), ElementsAre(0));
  EXPECT_THAT(Read(0x2c, 4), ElementsAre(0x78, 0x56, 0xbc, 0x9a));
}

TEST_F(PciHeaderTest, KeepsTheIdentityWhateverIsWritten) {
  const std::vector<uint8_t> before = Read(0x00, 4);

  Write(0x00, {0xff, 0xff, 0xff, 0xff});
  Write(0x08, {0xff, 0xff, 0xff, 0xff});

  EXPECT_EQ(Read(0x00, 4), before);
  EXPECT_THAT(Read(0x08, 4), ElementsAre(3, 0x00, 0x80, 0x08));
}

TEST_F(PciHeaderTest, LetsSoftwareWriteTheCommandBitsThatItKnows) {
  EXPECT_THAT(Read(0x04, 2), ElementsAre(0, 0));

  Write(0x04, {0xff, 0xff});

  // Memory space, bus mastering, parity, SERR, INTx disable.
  EXPECT_THAT(Read(0x04, 2), ElementsAre(0x46, 0x05));
}

TEST_F(PciHeaderTest, HasTheSwitchOfPortsOnlyWithPorts) {
  MakeWithBar({.index = RegionIndex::kBar1, .size = 32, .type = BarType::kIoPorts});

  Write(0x04, {0x01, 0});

  EXPECT_THAT(Read(0x04, 2), ElementsAre(0x01, 0));
}

TEST_F(PciHeaderTest, KeepsStatusBitsThatCannotBeWritten) {
  Write(0x06, {0xff, 0xff});
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0, 0));
}

TEST_F(PciHeaderTest, ReadsBackTheSizeOfABarWhenAllOnesWereWritten) {
  Write(0x10, {0xff, 0xff, 0xff, 0xff});
  Write(0x14, {0xff, 0xff, 0xff, 0xff});
  Write(0x18, {0xff, 0xff, 0xff, 0xff});

  EXPECT_THAT(Read(0x10, 4), ElementsAre(0x00, 0xf0, 0xff, 0xff));
  EXPECT_THAT(Read(0x14, 4), Each(0));  // Not there.
  EXPECT_THAT(Read(0x18, 4), ElementsAre(0xf0, 0xff, 0xff, 0xff));
}

TEST_F(PciHeaderTest, SizesABarTwiceWithAnAddressInBetween) {
  for (const uint8_t address : {uint8_t{0x20}, uint8_t{0x40}}) {
    Write(0x10, {0xff, 0xff, 0xff, 0xff});
    EXPECT_THAT(Read(0x10, 4), ElementsAre(0x00, 0xf0, 0xff, 0xff));
    Write(0x10, {0x00, 0x50, 0x43, address});
    EXPECT_THAT(Read(0x10, 4), ElementsAre(0x00, 0x50, 0x43, address));
  }
}

TEST_F(PciHeaderTest, GivesA64BitBarBothRegisters) {
  MakeWithBar({.index = RegionIndex::kBar2,
               .size = uint64_t{1} << 33,
               .type = BarType::kMemory64,
               .prefetchable = true});
  EXPECT_THAT(Read(0x18, 8), ElementsAre(0x0c, 0, 0, 0, 0, 0, 0, 0));

  Write(0x18, {0xff, 0xff, 0xff, 0xff});
  Write(0x1c, {0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(Read(0x18, 8), ElementsAre(0x0c, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff));

  Write(0x1c, {0x08, 0x01, 0, 0});
  EXPECT_THAT(Read(0x1c, 4), ElementsAre(0x08, 0x01, 0, 0));
}

TEST_F(PciHeaderTest, SizesASmall64BitBarInItsLowRegister) {
  MakeWithBar({.index = RegionIndex::kBar4, .size = 0x4000, .type = BarType::kMemory64});

  Write(0x20, std::vector<uint8_t>(8, 0xff));

  EXPECT_THAT(Read(0x20, 8), ElementsAre(0x04, 0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff));
}

TEST_F(PciHeaderTest, MarksPrefetchableMemoryAndPorts) {
  MakeWithBar({.index = RegionIndex::kBar0, .size = 0x1000, .prefetchable = true});
  EXPECT_THAT(Read(0x10, 1), ElementsAre(0x08));

  MakeWithBar({.index = RegionIndex::kBar1, .size = 32, .type = BarType::kIoPorts});
  EXPECT_THAT(Read(0x14, 1), ElementsAre(0x01));
  Write(0x14, {0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(Read(0x14, 4), ElementsAre(0xe1, 0xff, 0xff, 0xff));
}

TEST_F(PciHeaderTest, SizesTheRomAndLetsItBeEnabled) {
  Write(0x30, {0x00, 0xf8, 0xff, 0xff});
  EXPECT_THAT(Read(0x30, 4), ElementsAre(0x00, 0xf8, 0xff, 0xff));

  Write(0x30, {0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(Read(0x30, 4), ElementsAre(0x01, 0xf8, 0xff, 0xff));

  Write(0x30, {0, 0, 0, 0});
  EXPECT_THAT(Read(0x30, 4), Each(0));
}

TEST_F(PciHeaderTest, SaysThatThereIsNoRom) {
  Make(DeviceDescription());

  Write(0x30, {0x00, 0xf8, 0xff, 0xff});

  EXPECT_THAT(Read(0x30, 4), Each(0));
}

TEST_F(PciHeaderTest, NamesInterruptPinAOnlyWithIntx) {
  EXPECT_THAT(Read(0x3d, 1), ElementsAre(1));

  Make(DeviceDescription());

  EXPECT_THAT(Read(0x3d, 1), ElementsAre(0));
}

TEST_F(PciHeaderTest, KeepsTheInterruptLineForSoftware) {
  Write(0x3c, {0x0b});

  EXPECT_THAT(Read(0x3c, 1), ElementsAre(0x0b));
}

TEST_F(PciHeaderTest, TakesWritesAcrossRegisters) {
  // The high half of one BAR and the low half of the next, which is not there.
  Write(0x12, {0xaa, 0xbb, 0xcc, 0xdd});

  EXPECT_THAT(Read(0x10, 8), ElementsAre(0, 0, 0xaa, 0xbb, 0, 0, 0, 0));
}

}  // namespace
}  // namespace vfio_user
