#include "server/device_description.h"

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

DeviceDescription Good() {
  DeviceDescription description;
  description.bars = {
      {.index = RegionIndex::kBar0, .size = 0x1000},
      {.index = RegionIndex::kBar1, .size = 0x1000},
      {.index = RegionIndex::kBar2,
       .size = uint64_t{1} << 40,
       .flags = RegionFlags(RegionFlag::kRead),
       .type = BarType::kMemory64,
       .prefetchable = true},
      {.index = RegionIndex::kBar4, .size = 4, .type = BarType::kIoPorts},
      {.index = RegionIndex::kRom, .size = 2048, .flags = RegionFlags(RegionFlag::kRead)}};
  description.irqs = {{.index = IrqIndex::kMsix, .count = 100}};
  description.msix = {.bar = RegionIndex::kBar1, .table_offset = 0, .pba_offset = 0xff0};
  return description;
}

TEST(DeviceDescriptionTest, AcceptsADeviceWithEverythingAndOneWithNothing) {
  EXPECT_THAT(CheckDescription(Good()), IsOk());
  EXPECT_THAT(CheckDescription(DeviceDescription()), IsOk());
}

struct Wrong {
  const char* name;
  std::function<void(DeviceDescription&)> spoil;
  const char* complaint;
};

class DeviceDescriptionWrongTest : public testing::TestWithParam<Wrong> {};

TEST_P(DeviceDescriptionWrongTest, IsRefused) {
  DeviceDescription description = Good();
  GetParam().spoil(description);

  EXPECT_THAT(CheckDescription(description),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().complaint)));
}

INSTANTIATE_TEST_SUITE_P(
    Descriptions, DeviceDescriptionWrongTest,
    testing::Values(
        Wrong{"NoBar", [](auto& d) { d.bars[0].index = RegionIndex::kConfig; }, "not a BAR"},
        Wrong{"BarTwice", [](auto& d) { d.bars[0].index = RegionIndex::kBar1; }, "twice"},
        Wrong{"BarInSecondRegister", [](auto& d) { d.bars[0].index = RegionIndex::kBar3; },
              "twice"},
        Wrong{"WideLastBar", [](auto& d) { d.bars[2].index = RegionIndex::kBar5; },
              "no register after"},
        Wrong{"ManyPorts", [](auto& d) { d.bars[3].size = 512; }, "from 0x4 to 0x100"},
        Wrong{"FewPorts", [](auto& d) { d.bars[3].size = 2; }, "from 0x4 to 0x100"},
        Wrong{"PrefetchablePorts", [](auto& d) { d.bars[3].prefetchable = true; },
              "cannot be prefetchable"},
        Wrong{"SmallRom", [](auto& d) { d.bars[4].size = 1024; }, "from 0x800 to 0x1000000"},
        Wrong{"LargeRom", [](auto& d) { d.bars[4].size = 32 << 20; }, "from 0x800 to 0x1000000"},
        Wrong{"RomOfPorts", [](auto& d) { d.bars[4].type = BarType::kIoPorts; }, "32-bit memory"},
        Wrong{"WritableRom", [](auto& d) { d.bars[4].flags |= RegionFlag::kWrite; },
              "cannot be written"},
        Wrong{"SizeZero", [](auto& d) { d.bars[0].size = 0; }, "power of two"},
        Wrong{"SizeOdd", [](auto& d) { d.bars[0].size = 0x1001; }, "power of two"},
        Wrong{"SizeSmall", [](auto& d) { d.bars[0].size = 8; }, "power of two"},
        Wrong{"SizeLarge", [](auto& d) { d.bars[0].size = uint64_t{1} << 32; }, "power of two"},
        Wrong{"NoIrq", [](auto& d) { d.irqs[0].index = IrqIndex{5}; }, "no interrupt type"},
        Wrong{"IrqTwice", [](auto& d) { d.irqs.push_back(d.irqs[0]); }, "twice"},
        Wrong{"NoVectors", [](auto& d) { d.irqs[0].count = 0; }, "0 vectors"},
        Wrong{"ManyVectors", [](auto& d) { d.irqs[0].count = 2049; }, "2049 vectors"},
        Wrong{"ManyIntx", [](auto& d) { d.irqs.push_back({.index = IrqIndex::kIntx, .count = 2}); },
              "2 vectors"},
        Wrong{"NoTable", [](auto& d) { d.msix.reset(); }, "no place"},
        Wrong{"NoMsixVectors", [](auto& d) { d.irqs.clear(); }, "no vectors"},
        Wrong{"TableInRom", [](auto& d) { d.msix->bar = RegionIndex::kRom; }, "want a BAR"},
        Wrong{"TableNowhere", [](auto& d) { d.msix->bar = RegionIndex::kBar5; }, "want a BAR"},
        Wrong{"TableInPorts", [](auto& d) { d.msix->bar = RegionIndex::kBar4; }, "want a BAR"},
        Wrong{"TableReadOnly", [](auto& d) { d.msix->bar = RegionIndex::kBar2; }, "want a BAR"},
        Wrong{"PbaInTable", [](auto& d) { d.msix->pba_offset = 0x638; }, "overlaps"},
        Wrong{"OfCapabilities",
              [](auto& d) { d.irqs.push_back({.index = IrqIndex::kMsi, .count = 3}); },
              "power of two"},
        Wrong{"TableUnaligned", [](auto& d) { d.msix->table_offset = 4; }, "table at"},
        Wrong{"TableTooLong", [](auto& d) { d.msix->table_offset = 0x9c8; }, "table at"},
        Wrong{"PbaTooLong", [](auto& d) { d.msix->pba_offset = 0xff8; }, "pending bits at"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

TEST(DeviceDescriptionTest, ListsEveryRegionWithTheConfigSpaceOfTheServer) {
  const std::array<RegionInfo, kPciRegionCount> regions = RegionsOf(Good());

  EXPECT_EQ(regions[0].size, 0x1000u);
  EXPECT_EQ(regions[0].flags, RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite);
  EXPECT_EQ(regions[2].size, uint64_t{1} << 40);
  EXPECT_EQ(regions[2].flags, RegionFlags(RegionFlag::kRead));
  EXPECT_EQ(regions[3].size, 0u);
  EXPECT_TRUE(regions[3].flags.empty());
  EXPECT_EQ(regions[7].size, 256u);
  EXPECT_EQ(regions[7].flags, RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite);
  for (uint32_t i = 0; i < kPciRegionCount; ++i) EXPECT_EQ(regions[i].index, RegionIndex{i});
}

TEST(DeviceDescriptionTest, HasALongerConfigSpaceWithPciExpress) {
  DeviceDescription description = Good();
  description.express = PciExpressDescription();

  EXPECT_EQ(RegionsOf(description)[7].size, 4096u);
}

}  // namespace
}  // namespace vfio_user
