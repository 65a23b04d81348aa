#include "tools/vfio_user/pci_text.h"

#include <cstdint>
#include <string>
#include <vector>

#include "client/pci_config.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/device_info.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

TEST(PciTextTest, SaysTheRegistersAsLspciDoes) {
  EXPECT_EQ(PciCommandText(0x0406),
            "I/O- Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- "
            "DisINTx+");
  EXPECT_EQ(PciStatusText(0x0018),
            "Cap+ 66MHz- UDF- FastB2B- ParErr- >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx+");
}

TEST(PciTextTest, NamesClasses) {
  EXPECT_EQ(PciClassName(0x010802), "Mass storage controller");
  EXPECT_EQ(PciClassName(0xff0000), "unknown class");
}

TEST(PciTextTest, SaysWhatABarIs) {
  EXPECT_EQ(PciBarText({.address = 0xfe000000, .size = 4096}),
            "Memory at fe000000 (32-bit, non-prefetchable) [size=4K]");
  EXPECT_EQ(PciBarText({.kind = PciBarKind::kMemory64,
                        .prefetchable = true,
                        .address = 0x110000000,
                        .size = uint64_t{3} << 30}),
            "Memory at 0000000110000000 (64-bit, prefetchable) [size=3G]");
  EXPECT_EQ(PciBarText({.kind = PciBarKind::kIoPorts, .address = 0xe080, .size = 32}),
            "I/O ports at e080 [size=32]");
}

TEST(PciTextTest, SaysWhatACapabilityIs) {
  EXPECT_THAT(PciCapabilityText({.offset = 0x40,
                                 .id = 0x11,
                                 .registers = MsixCapability{.enabled = true,
                                                             .vectors = 4,
                                                             .table_bar = RegionIndex::kBar1,
                                                             .table_offset = 0x800,
                                                             .pba_bar = RegionIndex::kBar2}}),
              ElementsAre("[40] MSI-X: Enable+ Count=4 Masked-",
                          "Vector table: BAR=1 offset=00000800", "PBA: BAR=2 offset=00000000"));
  EXPECT_THAT(PciCapabilityText({.offset = 0x50,
                                 .id = 0x05,
                                 .registers = MsiCapability{.vectors = 4,
                                                            .enabled_vectors = 1,
                                                            .wide_address = true,
                                                            .address = 0xfee00000,
                                                            .data = 0x21}}),
              ElementsAre("[50] MSI: Enable- Count=1/4 Maskable- 64bit+",
                          "Address: 00000000fee00000  Data: 0021"));
  EXPECT_THAT(
      PciCapabilityText({.offset = 0x60, .id = 0x01, .registers = PowerCapability{.version = 3}}),
      ElementsAre("[60] Power Management version 3", "Flags: D1- D2-", "Status: D0 NoSoftRst-"));
  EXPECT_THAT(PciCapabilityText({.offset = 0x70,
                                 .id = 0x10,
                                 .registers = PciExpressCapability{.version = 2,
                                                                   .max_payload_bytes = 128,
                                                                   .function_level_reset = true}}),
              ElementsAre("[70] Express (v2) Endpoint", "DevCap: MaxPayload 128 bytes FLReset+"));
  EXPECT_THAT(
      PciCapabilityText({.offset = 0x80, .id = 0x09, .registers = VendorCapability{.bytes = 0x14}}),
      ElementsAre("[80] Vendor Specific Information: Len=14"));
  EXPECT_THAT(PciCapabilityText({.offset = 0x90, .id = 0x77}), ElementsAre("[90] unknown (0x77)"));
}

TEST(PciTextTest, SaysWhatAnExtendedCapabilityIs) {
  EXPECT_THAT(PciCapabilityText({.offset = 0x100, .id = 3, .version = 1, .extended = true}),
              ElementsAre("[100 v1] Device Serial Number"));
  EXPECT_THAT(
      PciCapabilityText(
          {.offset = 0x110,
           .id = 0x0b,
           .version = 1,
           .extended = true,
           .registers = ExtendedVendorCapability{.id = 0x1234, .revision = 5, .bytes = 24}}),
      ElementsAre("[110 v1] Vendor Specific Information: ID=1234 Rev=5 Len=018"));
}

TEST(PciTextTest, SaysTheSameForPrograms) {
  const nlohmann::ordered_json json = PciCapabilityJson(
      {.offset = 0x70,
       .id = 0x10,
       .registers = PciExpressCapability{
           .version = 2, .max_payload_bytes = 128, .function_level_reset = true}});

  EXPECT_EQ(json["name"], "Express");
  EXPECT_EQ(json["offset"], 0x70);
  EXPECT_EQ(json["version"], 2);
  EXPECT_EQ(json["type"], "Endpoint");
  EXPECT_EQ(json["function_level_reset"], true);
}

}  // namespace
}  // namespace vfio_user
