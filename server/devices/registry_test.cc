#include "server/devices/registry.h"

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/device.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

TEST(RegistryTest, ListsTheDevicesByName) {
  std::vector<std::string_view> names;
  for (const DeviceEntry& entry : KnownDevices()) names.push_back(entry.name);

  EXPECT_THAT(names, ElementsAre("dma-copy", "edu", "null"));
}

TEST(RegistryTest, MakesDevicesThatHaveTheNamesTheyAreListedUnder) {
  for (const DeviceEntry& entry : KnownDevices()) {
    const absl::StatusOr<std::unique_ptr<Device>> device = entry.Create();

    ASSERT_THAT(device, IsOk());
    EXPECT_EQ((*device)->description().name, entry.name);
    EXPECT_FALSE(entry.description.empty());
  }
}

TEST(RegistryTest, RefusesADmaMaskForADeviceThatHasNone) {
  for (const DeviceEntry& entry : KnownDevices()) {
    EXPECT_EQ(entry.Create({.dma_mask = 0xffff}).status().code(),
              entry.name == "edu" ? absl::StatusCode::kOk : absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace vfio_user
