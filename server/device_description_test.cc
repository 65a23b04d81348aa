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
      {.index = RegionIndex::kBar1, .size = 0x1000, .flags = RegionFlags(RegionFlag::kRead)}};
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
        Wrong{"TableNowhere", [](auto& d) { d.msix->bar = RegionIndex::kBar4; }, "table at"},
        Wrong{"TableUnaligned", [](auto& d) { d.msix->table_offset = 4; }, "table at"},
        Wrong{"TableTooLong", [](auto& d) { d.msix->table_offset = 0x9c8; }, "table at"},
        Wrong{"PbaTooLong", [](auto& d) { d.msix->pba_offset = 0xff8; }, "pending bits at"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

TEST(DeviceDescriptionTest, ListsEveryRegionWithTheConfigSpaceOfTheServer) {
  const std::array<RegionInfo, kPciRegionCount> regions = RegionsOf(Good());

  EXPECT_EQ(regions[0].size, 0x1000u);
  EXPECT_EQ(regions[0].flags, RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite);
  EXPECT_EQ(regions[1].flags, RegionFlags(RegionFlag::kRead));
  EXPECT_EQ(regions[2].size, 0u);
  EXPECT_TRUE(regions[2].flags.empty());
  EXPECT_EQ(regions[7].size, 256u);
  EXPECT_EQ(regions[7].flags, RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite);
  for (uint32_t i = 0; i < kPciRegionCount; ++i) EXPECT_EQ(regions[i].index, RegionIndex{i});
}

TEST(DeviceDescriptionTest, CountsTheVectorsOfAType) {
  EXPECT_EQ(VectorCount(Good(), IrqIndex::kMsix), 100u);
  EXPECT_EQ(VectorCount(Good(), IrqIndex::kIntx), 0u);
}

}  // namespace
}  // namespace vfio_user
