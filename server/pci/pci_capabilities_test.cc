#include "server/pci/pci_capabilities.h"

#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"
#include "server/pci/pci_config_fixture.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

class PciCapabilitiesTest : public PciConfigFixture {};

DeviceDescription WithMsi(uint32_t vectors, bool per_vector_mask) {
  DeviceDescription description;
  description.irqs = {{.index = IrqIndex::kMsi, .count = vectors}};
  description.msi.per_vector_mask = per_vector_mask;
  return description;
}

DeviceDescription WithMsix() {
  DeviceDescription description;
  description.bars = {{.index = RegionIndex::kBar1, .size = 0x1000}};
  description.irqs = {{.index = IrqIndex::kMsix, .count = 5}};
  description.msix = {.bar = RegionIndex::kBar1, .table_offset = 0x800, .pba_offset = 0xc00};
  return description;
}

DeviceDescription WithExpress() {
  DeviceDescription description;
  description.express = PciExpressDescription();
  return description;
}

TEST_F(PciCapabilitiesTest, ShowNoListWithoutAny) {
  EXPECT_THAT(Read(0x06, 2), ElementsAre(0, 0));
  EXPECT_THAT(Read(0x34, 1), ElementsAre(0));
  EXPECT_THAT(Read(0x40, 192), Each(0));
}

TEST_F(PciCapabilitiesTest, AreListedInTheOrderOfTheDescription) {
  DeviceDescription description = WithMsix();
  description.irqs.push_back({.index = IrqIndex::kMsi, .count = 2});
  description.power_management = true;
  description.express = PciExpressDescription();
  description.vendor_capabilities = {{.bytes = {1}}, {.bytes = {2, 3}}};
  Make(description);

  std::vector<uint8_t> ids;
  std::vector<uint8_t> offsets;
  for (uint8_t at = Read(0x34, 1)[0]; at != 0; at = Read(at + 1u, 1)[0]) {
    offsets.push_back(at);
    ids.push_back(Read(at, 1)[0]);
  }

  EXPECT_THAT(Read(0x06, 1), ElementsAre(0x10));
  // Power management, MSI, MSI-X, PCI Express, twice vendor specific.
  EXPECT_THAT(ids, ElementsAre(0x01, 0x05, 0x11, 0x10, 0x09, 0x09));
  EXPECT_THAT(offsets, ElementsAre(0x40, 0x48, 0x58, 0x64, 0xa0, 0xa4));
}

TEST_F(PciCapabilitiesTest, OfPowerManagementHaveD0AndD3hotAndKeepTheState) {
  DeviceDescription description;
  description.power_management = true;
  Make(description);

  // Version 3, no other states; No_Soft_Reset.
  EXPECT_THAT(Read(0x40, 8), ElementsAre(0x01, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x00));
  Write(0x44, {0xff, 0xff, 0xff, 0xff});
  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x0b, 0, 0, 0));
  Write(0x44, {0, 0, 0, 0});
  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x08, 0, 0, 0));
}

TEST_F(PciCapabilitiesTest, OfPowerManagementDoNotEnterD1AndD2) {
  DeviceDescription description;
  description.power_management = true;
  Make(description);

  Write(0x44, {1});
  EXPECT_THAT(Read(0x44, 1), ElementsAre(0x08));
  Write(0x44, {3});
  Write(0x44, {2});
  EXPECT_THAT(Read(0x44, 1), ElementsAre(0x0b));
}

TEST_F(PciCapabilitiesTest, OfMsiHave64BitsOfAddress) {
  Make(WithMsi(1, false));

  EXPECT_THAT(Read(0x40, 4), ElementsAre(0x05, 0x00, 0x80, 0x00));
  Write(0x40, std::vector<uint8_t>(24, 0xff));
  EXPECT_THAT(Read(0x40, 24),
              ElementsAre(0x05, 0x00, 0xf1, 0x00,  // Enable, and how many vectors are used.
                          0xfc, 0xff, 0xff, 0xff,  // The address.
                          0xff, 0xff, 0xff, 0xff,  //
                          0xff, 0xff, 0x00, 0x00,  // The data.
                          0, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(PciCapabilitiesTest, OfMsiSayHowManyVectorsThereAre) {
  Make(WithMsi(4, false));
  EXPECT_THAT(Read(0x42, 2), ElementsAre(0x84, 0x00));

  Make(WithMsi(32, false));
  EXPECT_THAT(Read(0x42, 2), ElementsAre(0x8a, 0x00));
}

TEST_F(PciCapabilitiesTest, OfMsiHaveAMaskBitForEachVector) {
  Make(WithMsi(4, true));

  EXPECT_THAT(Read(0x42, 2), ElementsAre(0x84, 0x01));
  Write(0x50, std::vector<uint8_t>(8, 0xff));
  EXPECT_THAT(Read(0x50, 8), ElementsAre(0x0f, 0, 0, 0, 0, 0, 0, 0));

  Make(WithMsi(32, true));
  Write(0x50, std::vector<uint8_t>(8, 0xff));
  EXPECT_THAT(Read(0x50, 8), ElementsAre(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0));
}

TEST_F(PciCapabilitiesTest, OfMsixSayWhereTheTableIs) {
  Make(WithMsix());

  // Table size 5 - 1; BAR 1 in the low bits of both offsets.
  EXPECT_THAT(Read(0x40, 12), ElementsAre(0x11, 0x00, 0x04, 0x00,  //
                                          0x01, 0x08, 0x00, 0x00,  //
                                          0x01, 0x0c, 0x00, 0x00));
}

TEST_F(PciCapabilitiesTest, OfMsixHaveEnableAndFunctionMaskAndNothingElseToWrite) {
  Make(WithMsix());

  Write(0x40, std::vector<uint8_t>(12, 0xff));

  EXPECT_THAT(Read(0x40, 12), ElementsAre(0x11, 0x00, 0x04, 0xc0,  //
                                          0x01, 0x08, 0x00, 0x00,  //
                                          0x01, 0x0c, 0x00, 0x00));
}

TEST_F(PciCapabilitiesTest, OfPciExpressAreAnEndpointsOfVersionTwo) {
  Make(WithExpress());

  EXPECT_THAT(Read(0x40, 4), ElementsAre(0x10, 0x00, 0x02, 0x00));
  // Role-based error reporting, function level reset.
  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x00, 0x80, 0x00, 0x10));
  // Relaxed ordering, no snoop, requests of 512 bytes.
  EXPECT_THAT(Read(0x48, 4), ElementsAre(0x10, 0x28, 0x00, 0x00));
  // One lane, 2.5 GT/s.
  EXPECT_THAT(Read(0x4c, 4), ElementsAre(0x11, 0x00, 0x00, 0x00));
  EXPECT_THAT(Read(0x52, 2), ElementsAre(0x11, 0x00));
  // The slot registers, to the end of the capability.
  EXPECT_THAT(Read(0x74, 8), Each(0));
}

TEST_F(PciCapabilitiesTest, OfPciExpressOfferAFunctionResetOnlyIfItIsDescribed) {
  DeviceDescription description = WithExpress();
  description.express->function_level_reset = false;
  Make(description);

  EXPECT_THAT(Read(0x44, 4), ElementsAre(0x00, 0x80, 0x00, 0x00));
}

TEST_F(PciCapabilitiesTest, OfPciExpressNeverShowTheResetBit) {
  Make(WithExpress());

  Write(0x48, {0xff, 0xff, 0xff, 0xff});

  EXPECT_THAT(Read(0x48, 4), ElementsAre(0xff, 0x78, 0, 0));
}

TEST_F(PciCapabilitiesTest, OfVendorsHaveTheirLengthAndTheirMasks) {
  DeviceDescription description;
  description.vendor_capabilities = {
      {.bytes = {0x11, 0x22, 0x33}, .writable = {0, 0x0f}, .cleared_by_one = {0xff}}};
  Make(description);
  EXPECT_THAT(Read(0x40, 6), ElementsAre(0x09, 0x00, 6, 0x11, 0x22, 0x33));

  Write(0x40, std::vector<uint8_t>(6, 0xff));

  EXPECT_THAT(Read(0x40, 6), ElementsAre(0x09, 0x00, 6, 0x00, 0x2f, 0x33));
}

TEST_F(PciCapabilitiesTest, MayBeExtendedWithPciExpress) {
  DeviceDescription description = WithExpress();
  description.extended_capabilities = {
      // Device serial number, and vendor specific.
      {.id = 0x0003, .version = 1, .content = {.bytes = {1, 2, 3, 4, 5, 6, 7, 8}}},
      {.id = 0x000b, .version = 2, .content = {.bytes = {9, 10}, .writable = {0xff}}}};
  Make(description);

  ASSERT_EQ(config_.size(), 4096u);
  // Id, version 1, next at 0x10c.
  EXPECT_THAT(Read(0x100, 12), ElementsAre(0x03, 0x00, 0xc1, 0x10, 1, 2, 3, 4, 5, 6, 7, 8));
  EXPECT_THAT(Read(0x10c, 8), ElementsAre(0x0b, 0x00, 0x02, 0x00, 9, 10, 0, 0));

  Write(0x10c, std::vector<uint8_t>(8, 0xaa));
  EXPECT_THAT(Read(0x10c, 8), ElementsAre(0x0b, 0x00, 0x02, 0x00, 0xaa, 10, 0, 0));
}

TEST_F(PciCapabilitiesTest, AreNotExtendedWithoutDescription) {
  Make(WithExpress());
  EXPECT_THAT(Read(0x100, 4), Each(0));

  Make(DeviceDescription());
  EXPECT_EQ(config_.size(), 256u);
}

}  // namespace
}  // namespace vfio_user
