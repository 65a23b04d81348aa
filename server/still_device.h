// What tests derive their devices from, and then say only what is special about these.
#ifndef SERVER_STILL_DEVICE_H_
#define SERVER_STILL_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "server/device.h"

namespace vfio_user {

// Does nothing, whatever it is asked.
class StillDevice : public Device {
 public:
  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost&) override {}
  absl::Status ReadRegion(RegionIndex, uint64_t, std::span<std::byte>) override {
    return absl::OkStatus();
  }
  absl::Status WriteRegion(RegionIndex, uint64_t, std::span<const std::byte>) override {
    return absl::OkStatus();
  }
  void Reset() override {}

 protected:
  DeviceDescription description_;
};

}  // namespace vfio_user

#endif  // SERVER_STILL_DEVICE_H_
