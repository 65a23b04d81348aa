// Where the capabilities of a device are in its config space.
#ifndef SERVER_PCI_PCI_LAYOUT_H_
#define SERVER_PCI_PCI_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/device.h"

namespace vfio_user {

// Offsets in config space; 0 for a capability that the device lacks.
struct PciLayout {
  explicit PciLayout(const DeviceDescription& description);

  size_t power_management = 0;
  size_t msi = 0;
  size_t msix = 0;
  size_t express = 0;
  std::vector<size_t> vendor;    // In the order of the description.
  std::vector<size_t> extended;  // Likewise.

  // Where the last one ends. CheckDescription sees to it that both are within the space.
  size_t end = 0;
  size_t extended_end = 0;
};

// 4,096 with PCI Express, else 256.
size_t ConfigSpaceBytes(const DeviceDescription& description);

// Bytes of the pending bits of MSI-X, one for each vector, in words of 64.
constexpr uint64_t MsixPendingBytes(uint32_t vectors) { return (uint64_t{vectors} + 63) / 64 * 8; }

// Where the table and the pending bits of MSI-X, which the device must have, are in their BAR.
SparseArea MsixTableArea(const DeviceDescription& description);
SparseArea MsixPendingArea(const DeviceDescription& description);

}  // namespace vfio_user

#endif  // SERVER_PCI_PCI_LAYOUT_H_
