#include "server/region_description.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kPage = 4096;

std::shared_ptr<const UniqueFd> File(uint64_t bytes) {
  return std::make_shared<const UniqueFd>(Memfd(std::string(bytes, '\0')));
}

// The same file, for reading.
std::shared_ptr<const UniqueFd> ReadOnly(const UniqueFd& file) {
  const std::string name = fmt::format("/proc/self/fd/{}", file.get());
  return std::make_shared<const UniqueFd>(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
}

// Four pages: registers with doorbells, MSI-X, and two pages to map.
DeviceDescription Good() {
  DeviceDescription description;
  description.bars = {{.index = RegionIndex::kBar2,
                       .size = 4 * kPage,
                       .memory = MappableMemory{.file = File(5 * kPage),
                                                .file_offset = kPage,
                                                .areas = {{.offset = 2 * kPage, .size = kPage},
                                                          {.offset = 3 * kPage, .size = kPage}}},
                       .doorbells = {{.offset = 0, .size = 4}, {.offset = 4, .size = 2}}}};
  description.irqs = {{.index = IrqIndex::kMsix, .count = 64}};
  description.msix = {
      .bar = RegionIndex::kBar2, .table_offset = kPage, .pba_offset = 2 * kPage - 8};
  return description;
}

absl::Status Check(const DeviceDescription& description) {
  const absl::Status memory = CheckMappableMemory(description);
  return memory.ok() ? CheckDoorbells(description) : memory;
}

TEST(RegionDescriptionTest, AcceptsMemoryAndDoorbellsBesideMsix) {
  EXPECT_THAT(Check(Good()), IsOk());
  EXPECT_THAT(Check(DeviceDescription()), IsOk());
}

TEST(RegionDescriptionTest, AcceptsABarForReadingWithAFileForReading) {
  DeviceDescription description = Good();
  BarDescription& bar = description.bars[0];
  bar.flags = RegionFlag::kRead;
  bar.memory->file = ReadOnly(*bar.memory->file);
  bar.doorbells.clear();

  EXPECT_THAT(Check(description), IsOk());
}

struct Wrong {
  const char* name;
  std::function<void(BarDescription&)> spoil;
  const char* complaint;
};

class RegionDescriptionWrongTest : public testing::TestWithParam<Wrong> {};

TEST_P(RegionDescriptionWrongTest, IsRefused) {
  DeviceDescription description = Good();
  GetParam().spoil(description.bars[0]);

  EXPECT_THAT(Check(description),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().complaint)));
}

INSTANTIATE_TEST_SUITE_P(
    Memory, RegionDescriptionWrongTest,
    testing::Values(
        Wrong{"NoFile", [](auto& b) { b.memory->file = nullptr; }, "no file"},
        Wrong{"FileClosed", [](auto& b) { b.memory->file = std::make_shared<const UniqueFd>(); },
              "no file"},
        Wrong{"FileShort", [](auto& b) { b.memory->file_offset = 2 * kPage; }, "want 0x4000"},
        Wrong{"FileMissed", [](auto& b) { b.memory->file_offset = 6 * kPage; }, "want 0x4000"},
        Wrong{"FileOffsetOdd", [](auto& b) { b.memory->file_offset = 8; }, "whole pages"},
        Wrong{"WritesToReadOnly", [](auto& b) { b.flags = RegionFlag::kRead; }, "same rights"},
        Wrong{"ReadOnlyFile", [](auto& b) { b.memory->file = ReadOnly(*b.memory->file); },
              "same rights"},
        Wrong{"WriteOnlyBar", [](auto& b) { b.flags = RegionFlag::kWrite; }, "same rights"},
        Wrong{"AreaOdd", [](auto& b) { b.memory->areas[0].offset += 8; }, "whole pages"},
        Wrong{"AreaOddSize", [](auto& b) { b.memory->areas[0].size = 8; }, "whole pages"},
        Wrong{"AreaEmpty", [](auto& b) { b.memory->areas[0].size = 0; }, "whole pages"},
        Wrong{"AreaBeyond", [](auto& b) { b.memory->areas[1].size = 2 * kPage; }, "whole pages"},
        Wrong{"AreaWraps", [](auto& b) { b.memory->areas[1].size = UINT64_MAX - kPage + 1; },
              "whole pages"},
        Wrong{"AreaTwice", [](auto& b) { b.memory->areas[1].offset = 2 * kPage; }, "another area"},
        Wrong{"AreaOverTable", [](auto& b) { b.memory->areas[0].offset = kPage; }, "MSI-X"},
        Wrong{"WholeBarOverTable", [](auto& b) { b.memory->areas.clear(); }, "MSI-X"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Doorbells, RegionDescriptionWrongTest,
    testing::Values(
        Wrong{"DoorbellSize3", [](auto& b) { b.doorbells[0].size = 3; }, "want 1, 2, 4 or 8"},
        Wrong{"DoorbellSize0", [](auto& b) { b.doorbells[0].size = 0; }, "want 1, 2, 4 or 8"},
        Wrong{"DoorbellUnaligned", [](auto& b) { b.doorbells[0].offset = 2; }, "multiple of that"},
        Wrong{"DoorbellBeyond", [](auto& b) { b.doorbells[0].offset = 4 * kPage; }, "within"},
        Wrong{"DoorbellTwice", [](auto& b) { b.doorbells[1].offset = 2; }, "another doorbell"},
        Wrong{"DoorbellInMemory", [](auto& b) { b.doorbells[0].offset = 3 * kPage; }, "memory"},
        Wrong{"DoorbellInTable", [](auto& b) { b.doorbells[0].offset = kPage + 12; }, "MSI-X"},
        Wrong{"DoorbellInPba", [](auto& b) { b.doorbells[0].offset = 2 * kPage - 4; }, "MSI-X"},
        Wrong{"ManyDoorbells", [](auto& b) { b.doorbells.resize(254); }, "254 doorbells"}),
    [](const auto& wrong) { return std::string(wrong.param.name); });

TEST(RegionDescriptionTest, RefusesDoorbellsThatCannotBeWritten) {
  DeviceDescription description = Good();
  description.bars[0].memory.reset();
  description.bars[0].flags = RegionFlag::kRead;

  EXPECT_THAT(Check(description),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cannot be written")));
}

TEST(RegionDescriptionTest, NamesTheWholeBarWhereNoAreasAreNamed) {
  const BarDescription bar = {.index = RegionIndex::kBar0,
                              .size = 2 * kPage,
                              .memory = MappableMemory{.file = File(2 * kPage)}};

  EXPECT_THAT(MappableAreas(bar), ElementsAre(SparseArea{.offset = 0, .size = 2 * kPage}));
}

TEST(RegionDescriptionTest, FindsABarByItsIndex) {
  const DeviceDescription description = Good();

  EXPECT_EQ(FindBar(description, RegionIndex::kBar2), &description.bars[0]);
  EXPECT_EQ(FindBar(description, RegionIndex::kBar0), nullptr);
}

}  // namespace
}  // namespace vfio_user
