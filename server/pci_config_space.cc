#include "server/pci_config_space.h"

#include <linux/pci_regs.h>

#include "server/device_description.h"

namespace vfio_user {
namespace {

static_assert(PciConfigSpace::kBytes == PCI_CFG_SPACE_SIZE);

constexpr size_t kFirstCapability = PCI_STD_HEADER_SIZEOF;

// The register of a BAR, or of the expansion ROM, which is not next to them.
size_t BarRegister(RegionIndex index) {
  if (index == RegionIndex::kRom) return PCI_ROM_ADDRESS;
  return PCI_BASE_ADDRESS_0 + sizeof(uint32_t) * static_cast<size_t>(index);
}

}  // namespace

PciConfigSpace::PciConfigSpace(const DeviceDescription& description) {
  AddHeader(description);
  for (const BarDescription& bar : description.bars) AddBar(bar);
  if (description.msix.has_value()) {
    AddMsix(*description.msix, VectorCount(description, IrqIndex::kMsix));
  }
  Reset();
}

void PciConfigSpace::AddHeader(const DeviceDescription& description) {
  const PciIdentity& pci = description.pci;
  Set16(PCI_VENDOR_ID, pci.vendor_id);
  Set16(PCI_DEVICE_ID, pci.device_id);
  Set32(PCI_CLASS_REVISION, pci.class_code << 8 | pci.revision);
  Set16(PCI_SUBSYSTEM_VENDOR_ID, pci.subsystem_vendor_id);
  Set16(PCI_SUBSYSTEM_ID, pci.subsystem_id);
  LetWrite16(PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
  // Without a meaning to the device: firmware keeps things there.
  LetWrite16(PCI_CACHE_LINE_SIZE, 0xffff);  // And the latency timer.
  LetWrite16(PCI_INTERRUPT_LINE, 0x00ff);
  if (VectorCount(description, IrqIndex::kIntx) > 0) Set8(PCI_INTERRUPT_PIN, 1);  // INTA#.
}

void PciConfigSpace::AddBar(const BarDescription& bar) {
  const auto address_bits = ~static_cast<uint32_t>(bar.size - 1);
  const uint32_t enable = bar.index == RegionIndex::kRom ? PCI_ROM_ADDRESS_ENABLE : 0;
  // 32 bits, memory, not prefetchable: the bits that are not address are all 0.
  LetWrite32(BarRegister(bar.index), address_bits | enable);
}

void PciConfigSpace::AddMsix(const MsixDescription& msix, uint32_t vectors) {
  const size_t at = kFirstCapability;
  const auto bar = static_cast<uint32_t>(msix.bar);
  Set16(PCI_STATUS, PCI_STATUS_CAP_LIST);
  Set8(PCI_CAPABILITY_LIST, kFirstCapability);
  Set8(at + PCI_CAP_LIST_ID, PCI_CAP_ID_MSIX);
  Set8(at + PCI_CAP_LIST_NEXT, 0);
  // The register has the number of the last vector.
  Set16(at + PCI_MSIX_FLAGS, static_cast<uint16_t>((vectors - 1) & PCI_MSIX_FLAGS_QSIZE));
  LetWrite16(at + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
  Set32(at + PCI_MSIX_TABLE, msix.table_offset | bar);
  Set32(at + PCI_MSIX_PBA, msix.pba_offset | bar);
}

void PciConfigSpace::Read(size_t offset, std::span<std::byte> into) const {
  for (std::byte& byte : into) byte = std::byte{value_.at(offset++)};
}

void PciConfigSpace::Write(size_t offset, std::span<const std::byte> from) {
  for (const std::byte byte : from) {
    const uint8_t bits = writable_.at(offset);
    value_[offset] =
        static_cast<uint8_t>((value_[offset] & ~bits) | (std::to_integer<uint8_t>(byte) & bits));
    ++offset;
  }
}

void PciConfigSpace::Set8(size_t offset, uint8_t value) { initial_.at(offset) = value; }

void PciConfigSpace::Set16(size_t offset, uint16_t value) {
  Set8(offset, static_cast<uint8_t>(value & 0xff));
  Set8(offset + 1, static_cast<uint8_t>(value >> 8));
}

void PciConfigSpace::Set32(size_t offset, uint32_t value) {
  Set16(offset, static_cast<uint16_t>(value & 0xffff));
  Set16(offset + 2, static_cast<uint16_t>(value >> 16));
}

void PciConfigSpace::LetWrite16(size_t offset, uint16_t bits) {
  writable_.at(offset) = static_cast<uint8_t>(bits & 0xff);
  writable_.at(offset + 1) = static_cast<uint8_t>(bits >> 8);
}

void PciConfigSpace::LetWrite32(size_t offset, uint32_t bits) {
  LetWrite16(offset, static_cast<uint16_t>(bits & 0xffff));
  LetWrite16(offset + 2, static_cast<uint16_t>(bits >> 16));
}

}  // namespace vfio_user
