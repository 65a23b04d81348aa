// What an application sees that serves a device of its own: one header, whichever way it links.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gtest/gtest.h"
#include "vfio_user/server.h"

namespace {

class OneByte final : public vfio_user::Device {
 public:
  OneByte() {
    description_.name = "one-byte";
    description_.bars = {{.index = vfio_user::RegionIndex::kBar0, .size = 16}};
  }
  const vfio_user::DeviceDescription& description() const override { return description_; }
  void Attach(vfio_user::DeviceHost&) override {}
  absl::Status ReadRegion(vfio_user::RegionIndex, uint64_t, std::span<std::byte> data) override {
    std::ranges::fill(data, std::byte{1});
    return absl::OkStatus();
  }
  absl::Status WriteRegion(vfio_user::RegionIndex, uint64_t, std::span<const std::byte>) override {
    return absl::OkStatus();
  }
  void Reset() override {}

 private:
  vfio_user::DeviceDescription description_;
};

TEST(PublicHeaderTest, IsAllThatADeviceNeeds) {
  const absl::StatusOr<std::unique_ptr<vfio_user::Server>> server = vfio_user::Server::Create();
  ASSERT_TRUE(server.ok());

  // The path is wrong, and the device is right.
  EXPECT_EQ((*server)->Listen("", std::make_unique<OneByte>()).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PublicHeaderTest, HasMemoryThatClientsOfADeviceMayMap) {
  const absl::StatusOr<vfio_user::MappableBar> memory = vfio_user::MappableBar::Create(1 << 16);
  ASSERT_TRUE(memory.ok());

  const vfio_user::BarDescription bar = {
      .index = vfio_user::RegionIndex::kBar2, .size = memory->size(), .memory = memory->Describe()};
  EXPECT_NE(bar.memory->file, nullptr);
}

}  // namespace
