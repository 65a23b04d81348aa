#include "server/devices/null.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
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

}  // namespace
}  // namespace vfio_user
