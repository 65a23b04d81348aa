// The devices that this server has.
#ifndef SERVER_DEVICES_REGISTRY_H_
#define SERVER_DEVICES_REGISTRY_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/device.h"

namespace vfio_user {

// What can be said of a device when it is made; each is one device's.
struct DeviceOptions {
  std::optional<uint64_t> dma_mask;  // edu: the address bits that its DMA has.
};

struct DeviceEntry {
  std::string_view name;         // As in the device's description.
  std::string_view description;  // One line, for people who choose.
  absl::StatusOr<std::unique_ptr<Device>> (*create)(const DeviceOptions& options);

  // InvalidArgument for an option that is not this device's, and ResourceExhausted where what it is
  // made of is not to be had.
  absl::StatusOr<std::unique_ptr<Device>> Create(const DeviceOptions& options = {}) const {
    return create(options);
  }
};

// By name.
std::span<const DeviceEntry> KnownDevices();

}  // namespace vfio_user

#endif  // SERVER_DEVICES_REGISTRY_H_
