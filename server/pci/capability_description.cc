#include "server/pci/capability_description.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/interrupts/interrupt_types.h"
#include "server/pci/pci_layout.h"

namespace vfio_user {
namespace {

constexpr uint32_t kMostMsiVectors = 32;
constexpr uint8_t kMostVersion = 15;  // Four bits.

absl::Status CheckMsi(const DeviceDescription& description) {
  const uint32_t vectors = VectorCount(description, IrqIndex::kMsi);
  if (vectors == 0 || (std::has_single_bit(vectors) && vectors <= kMostMsiVectors)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("MSI: {} vectors, want a power of two up to {}", vectors, kMostMsiVectors));
}

absl::Status CheckContent(const CapabilityContent& content) {
  const size_t masks = std::max(content.writable.size(), content.cleared_by_one.size());
  if (masks > content.bytes.size()) {
    return absl::InvalidArgumentError(
        fmt::format("a mask of {} bytes, the capability has {}", masks, content.bytes.size()));
  }
  const size_t both = std::min(content.writable.size(), content.cleared_by_one.size());
  for (size_t i = 0; i < both; ++i) {
    if ((content.writable[i] & content.cleared_by_one[i]) == 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("a bit of byte {} can be written and is cleared by 1, want one of them", i));
  }
  return absl::OkStatus();
}

absl::Status CheckExtended(const ExtendedCapabilityDescription& capability) {
  if (capability.id == 0) return absl::InvalidArgumentError("id is 0, which ends the list");
  if (capability.version == 0 || capability.version > kMostVersion) {
    return absl::InvalidArgumentError(
        fmt::format("version is {}, want 1 to {}", capability.version, kMostVersion));
  }
  return CheckContent(capability.content);
}

absl::Status CheckEnd(std::string_view list, size_t end, size_t most) {
  if (end <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("the {} end at {:#x}, want {:#x} at most", list, end, most));
}

}  // namespace

absl::Status CheckCapabilities(const DeviceDescription& description) {
  VFIO_USER_RETURN_IF_ERROR(CheckMsi(description));
  for (const CapabilityContent& content : description.vendor_capabilities) {
    VFIO_USER_RETURN_IF_ERROR(Annotate(CheckContent(content), "vendor capability"));
  }
  for (const ExtendedCapabilityDescription& capability : description.extended_capabilities) {
    VFIO_USER_RETURN_IF_ERROR(Annotate(CheckExtended(capability),
                                       fmt::format("extended capability {:#x}", capability.id)));
  }
  if (!description.extended_capabilities.empty() && !description.express.has_value()) {
    return absl::InvalidArgumentError("extended capabilities without PCI Express");
  }
  const PciLayout layout(description);
  VFIO_USER_RETURN_IF_ERROR(CheckEnd("capabilities", layout.end, PCI_CFG_SPACE_SIZE));
  return CheckEnd("extended capabilities", layout.extended_end, PCI_CFG_SPACE_EXP_SIZE);
}

}  // namespace vfio_user
