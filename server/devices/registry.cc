#include "server/devices/registry.h"

#include <array>

#include "absl/status/status.h"
#include "proto_defs/base/status_macros.h"
#include "server/devices/dma_copy.h"
#include "server/devices/edu.h"
#include "server/devices/edu_registers.h"
#include "server/devices/null.h"

namespace vfio_user {
namespace {

absl::Status RefuseDmaMask(const DeviceOptions& options) {
  if (!options.dma_mask.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError("this device has no DMA mask");
}

absl::StatusOr<std::unique_ptr<Device>> CreateDmaCopy(const DeviceOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(RefuseDmaMask(options));
  return std::make_unique<DmaCopyDevice>();
}

absl::StatusOr<std::unique_ptr<Device>> CreateEdu(const DeviceOptions& options) {
  return std::make_unique<EduDevice>(options.dma_mask.value_or(EduRegisters::kUsualDmaMask));
}

absl::StatusOr<std::unique_ptr<Device>> CreateNull(const DeviceOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(RefuseDmaMask(options));
  return NullDevice::Create();
}

constexpr std::array kDevices = {
    DeviceEntry{"dma-copy", "copies, fills and sums up the client's memory, by a descriptor ring",
                CreateDmaCopy},
    DeviceEntry{"edu", "QEMU's educational device: factorials, interrupts and a small DMA engine",
                CreateEdu},
    DeviceEntry{"null", "4 KiB of memory behind BAR0, and nothing else", CreateNull},
};

}  // namespace

std::span<const DeviceEntry> KnownDevices() { return kDevices; }

}  // namespace vfio_user
