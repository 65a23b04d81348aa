#include "server/devices/null.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "server/migratable.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::SizeIs;

TEST(NullDeviceTest, HasOneBarOfOnePage) {
  const std::unique_ptr<NullDevice> made = *NullDevice::Create();
  const NullDevice& device = *made;

  EXPECT_EQ(device.description().name, "null");
  EXPECT_EQ(device.description().pci.vendor_id, 0x1234);
  ASSERT_THAT(device.description().bars, SizeIs(1));
  EXPECT_EQ(device.description().bars[0].size, 4096u);
}

TEST(NullDeviceTest, TakesAccessesOfAnyLengthAndAlignment) {
  const std::unique_ptr<NullDevice> made = *NullDevice::Create();
  NullDevice& device = *made;
  for (size_t bytes = 1; bytes <= 9; ++bytes) {
    const std::vector<std::byte> written(bytes, static_cast<std::byte>(bytes));
    ASSERT_THAT(device.WriteRegion(RegionIndex::kBar0, 4096 - bytes, written), IsOk());

    std::vector<std::byte> read(bytes);
    ASSERT_THAT(device.ReadRegion(RegionIndex::kBar0, 4096 - bytes, read), IsOk());

    EXPECT_EQ(read, written);
  }
}

TEST(NullDeviceTest, IsZeroAgainAfterAReset) {
  const std::unique_ptr<NullDevice> made = *NullDevice::Create();
  NullDevice& device = *made;
  ASSERT_THAT(device.WriteRegion(RegionIndex::kBar0, 0, std::array{std::byte{1}}), IsOk());

  device.Reset();

  std::vector<std::byte> all(4096, std::byte{1});
  ASSERT_THAT(device.ReadRegion(RegionIndex::kBar0, 0, all), IsOk());
  EXPECT_THAT(all, Each(std::byte{0}));
}

TEST(NullDeviceTest, MovesTheBytesOfItsBar) {
  const std::unique_ptr<NullDevice> source = *NullDevice::Create();
  const std::unique_ptr<NullDevice> target = *NullDevice::Create();
  const std::vector<std::byte> written(4096, std::byte{7});
  ASSERT_THAT(source->WriteRegion(RegionIndex::kBar0, 0, written), IsOk());

  const auto state = source->migratable()->Save();
  ASSERT_THAT(state, IsOk());
  ASSERT_THAT(target->migratable()->Restore(*state), IsOk());

  std::vector<std::byte> read(4096);
  ASSERT_THAT(target->ReadRegion(RegionIndex::kBar0, 0, read), IsOk());
  EXPECT_EQ(read, written);
}

TEST(NullDeviceTest, RejectsStateThatIsNotItsOwnAndStaysAsItIs) {
  const std::unique_ptr<NullDevice> device = *NullDevice::Create();
  std::vector<std::byte> state = *device->migratable()->Save();
  ASSERT_THAT(device->WriteRegion(RegionIndex::kBar0, 0, std::array{std::byte{1}}), IsOk());

  for (const size_t bytes : {size_t{0}, size_t{3}, size_t{4}, state.size() - 1}) {
    EXPECT_THAT(device->migratable()->Restore(std::span(state).first(bytes)),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  state[0] = std::byte{2};
  EXPECT_THAT(device->migratable()->Restore(state), StatusIs(absl::StatusCode::kInvalidArgument));

  std::array<std::byte, 1> first = {};
  ASSERT_THAT(device->ReadRegion(RegionIndex::kBar0, 0, first), IsOk());
  EXPECT_EQ(first[0], std::byte{1});
}

}  // namespace
}  // namespace vfio_user
