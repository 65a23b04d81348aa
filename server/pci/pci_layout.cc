#include "server/pci/pci_layout.h"

#include <linux/pci_regs.h>

#include "server/interrupts/interrupt_types.h"

namespace vfio_user {
namespace {

// Of version 2, up to and with the slot registers that an endpoint reserves.
constexpr size_t kExpressBytes = 60;
// The id, the next one, and the length.
constexpr size_t kVendorHeaderBytes = 3;

size_t MsiBytes(const MsiDescription& msi) {
  return msi.per_vector_mask ? PCI_MSI_PENDING_64 + sizeof(uint32_t)
                             : PCI_MSI_DATA_64 + sizeof(uint16_t);
}

// Takes `bytes` at `end`, which moves on to where the next capability may begin.
size_t Take(size_t& end, size_t bytes) {
  const size_t at = end;
  end += (bytes + 3) / 4 * 4;
  return at;
}

}  // namespace

PciLayout::PciLayout(const DeviceDescription& description)
    : end(PCI_STD_HEADER_SIZEOF), extended_end(PCI_CFG_SPACE_SIZE) {
  if (description.power_management) power_management = Take(end, PCI_PM_SIZEOF);
  if (VectorCount(description, IrqIndex::kMsi) > 0) msi = Take(end, MsiBytes(description.msi));
  if (description.msix.has_value()) msix = Take(end, PCI_CAP_MSIX_SIZEOF);
  if (description.express.has_value()) express = Take(end, kExpressBytes);
  for (const CapabilityContent& content : description.vendor_capabilities) {
    vendor.push_back(Take(end, kVendorHeaderBytes + content.bytes.size()));
  }
  for (const ExtendedCapabilityDescription& capability : description.extended_capabilities) {
    extended.push_back(Take(extended_end, sizeof(uint32_t) + capability.content.bytes.size()));
  }
}

size_t ConfigSpaceBytes(const DeviceDescription& description) {
  return description.express.has_value() ? PCI_CFG_SPACE_EXP_SIZE : PCI_CFG_SPACE_SIZE;
}

SparseArea MsixTableArea(const DeviceDescription& description) {
  const uint64_t vectors = VectorCount(description, IrqIndex::kMsix);
  return {.offset = description.msix->table_offset, .size = vectors * PCI_MSIX_ENTRY_SIZE};
}

SparseArea MsixPendingArea(const DeviceDescription& description) {
  return {.offset = description.msix->pba_offset,
          .size = MsixPendingBytes(VectorCount(description, IrqIndex::kMsix))};
}

}  // namespace vfio_user
