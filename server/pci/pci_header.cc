#include "server/pci/pci_header.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "server/interrupts/interrupt_types.h"

namespace vfio_user {
namespace {

// Nothing here sets them, but software clears them at its start and expects that it may.
constexpr uint16_t kErrorBits = PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT |
                                PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT |
                                PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY;

// The register of a BAR, or of the expansion ROM, which is not next to them.
size_t BarRegister(RegionIndex index) {
  if (index == RegionIndex::kRom) return PCI_ROM_ADDRESS;
  return PCI_BASE_ADDRESS_0 + sizeof(uint32_t) * static_cast<size_t>(index);
}

// The low bits, that are not address.
uint32_t BarTypeBits(const BarDescription& bar) {
  if (bar.type == BarType::kIoPorts) return PCI_BASE_ADDRESS_SPACE_IO;
  const uint32_t width =
      bar.type == BarType::kMemory64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : PCI_BASE_ADDRESS_MEM_TYPE_32;
  return width | (bar.prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
}

void DefineBar(const BarDescription& bar, PciRegisters& registers) {
  const size_t at = BarRegister(bar.index);
  const uint64_t address_bits = ~(bar.size - 1);
  const auto low = static_cast<uint32_t>(address_bits);
  if (bar.index == RegionIndex::kRom) {
    registers.LetWrite(at, low | static_cast<uint32_t>(PCI_ROM_ADDRESS_ENABLE));
    return;
  }
  registers.Define(at, BarTypeBits(bar));
  registers.LetWrite(at, low);
  if (bar.type != BarType::kMemory64) return;
  registers.LetWrite(at + sizeof(uint32_t), static_cast<uint32_t>(address_bits >> 32));
}

uint16_t CommandBits(const DeviceDescription& description) {
  const bool ports = std::ranges::any_of(
      description.bars, [](const auto& bar) { return bar.type == BarType::kIoPorts; });
  return static_cast<uint16_t>(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                               PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE |
                               (ports ? PCI_COMMAND_IO : 0));
}

}  // namespace

void DefineHeader(const DeviceDescription& description, PciRegisters& registers) {
  const PciIdentity& pci = description.pci;
  registers.Define(PCI_VENDOR_ID, pci.vendor_id);
  registers.Define(PCI_DEVICE_ID, pci.device_id);
  registers.Define(PCI_CLASS_REVISION, pci.class_code << 8 | pci.revision);
  registers.Define(PCI_SUBSYSTEM_VENDOR_ID, pci.subsystem_vendor_id);
  registers.Define(PCI_SUBSYSTEM_ID, pci.subsystem_id);
  registers.LetWrite(PCI_COMMAND, CommandBits(description));
  registers.LetClear(PCI_STATUS, kErrorBits);
  // Without a meaning to the device: firmware keeps things there.
  registers.LetWrite(PCI_CACHE_LINE_SIZE, uint8_t{0xff});
  registers.LetWrite(PCI_LATENCY_TIMER, uint8_t{0xff});
  registers.LetWrite(PCI_INTERRUPT_LINE, uint8_t{0xff});
  if (VectorCount(description, IrqIndex::kIntx) > 0) {
    registers.Define(PCI_INTERRUPT_PIN, uint8_t{1});  // INTA#.
  }
  for (const BarDescription& bar : description.bars) DefineBar(bar, registers);
}

}  // namespace vfio_user
