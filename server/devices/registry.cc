#include "server/devices/registry.h"

#include <array>

#include "server/devices/dma_copy.h"
#include "server/devices/null.h"

namespace vfio_user {
namespace {

template <typename T>
std::unique_ptr<Device> Create() {
  return std::make_unique<T>();
}

constexpr std::array kDevices = {
    DeviceEntry{"dma-copy", "copies, fills and sums up the client's memory, by a descriptor ring",
                Create<DmaCopyDevice>},
    DeviceEntry{"null", "4 KiB of memory behind BAR0, and nothing else", Create<NullDevice>},
};

}  // namespace

std::span<const DeviceEntry> KnownDevices() { return kDevices; }

}  // namespace vfio_user
