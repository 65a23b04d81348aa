// The devices that this server has.
#ifndef SERVER_DEVICES_REGISTRY_H_
#define SERVER_DEVICES_REGISTRY_H_

#include <memory>
#include <span>
#include <string_view>

#include "server/device.h"

namespace vfio_user {

struct DeviceEntry {
  std::string_view name;         // As in the device's description.
  std::string_view description;  // One line, for people who choose.
  std::unique_ptr<Device> (*create)();
};

// By name.
std::span<const DeviceEntry> KnownDevices();

}  // namespace vfio_user

#endif  // SERVER_DEVICES_REGISTRY_H_
