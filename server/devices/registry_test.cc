#include "server/devices/registry.h"

#include <memory>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/device.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

TEST(RegistryTest, ListsTheDevicesByName) {
  std::vector<std::string_view> names;
  for (const DeviceEntry& entry : KnownDevices()) names.push_back(entry.name);

  EXPECT_THAT(names, ElementsAre("dma-copy", "null"));
}

TEST(RegistryTest, MakesDevicesThatHaveTheNamesTheyAreListedUnder) {
  for (const DeviceEntry& entry : KnownDevices()) {
    const std::unique_ptr<Device> device = entry.create();

    ASSERT_NE(device, nullptr);
    EXPECT_EQ(device->description().name, entry.name);
    EXPECT_FALSE(entry.description.empty());
  }
}

}  // namespace
}  // namespace vfio_user
