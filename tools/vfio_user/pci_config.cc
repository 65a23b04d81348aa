#include "tools/vfio_user/pci_config.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "fmt/format.h"

namespace vfio_user {
namespace {

constexpr size_t kConventionalBytes = 256;
constexpr size_t kExtendedBytes = 4096;

using Bytes = std::span<const std::byte>;
using Name = std::pair<uint16_t, std::string_view>;

constexpr std::array kClasses = {
    Name{0x00, "Unclassified device"},
    Name{0x01, "Mass storage controller"},
    Name{0x02, "Network controller"},
    Name{0x03, "Display controller"},
    Name{0x04, "Multimedia controller"},
    Name{0x05, "Memory controller"},
    Name{0x06, "Bridge"},
    Name{0x07, "Communication controller"},
    Name{0x08, "Generic system peripheral"},
    Name{0x09, "Input device controller"},
    Name{0x0a, "Docking station"},
    Name{0x0b, "Processor"},
    Name{0x0c, "Serial bus controller"},
    Name{0x0d, "Wireless controller"},
    Name{0x0e, "Intelligent controller"},
    Name{0x0f, "Satellite communications controller"},
    Name{0x10, "Encryption controller"},
    Name{0x11, "Signal processing controller"},
    Name{0x12, "Processing accelerator"},
    Name{0x13, "Non-essential instrumentation"},
};

constexpr std::array kCapabilities = {
    Name{PCI_CAP_ID_PM, "Power Management"},
    Name{PCI_CAP_ID_AGP, "AGP"},
    Name{PCI_CAP_ID_VPD, "Vital Product Data"},
    Name{PCI_CAP_ID_SLOTID, "Slot ID"},
    Name{PCI_CAP_ID_MSI, "MSI"},
    Name{PCI_CAP_ID_PCIX, "PCI-X"},
    Name{PCI_CAP_ID_HT, "HyperTransport"},
    Name{PCI_CAP_ID_VNDR, "Vendor Specific"},
    Name{PCI_CAP_ID_SSVID, "Bridge Subsystem"},
    Name{PCI_CAP_ID_EXP, "PCI Express"},
    Name{PCI_CAP_ID_MSIX, "MSI-X"},
    Name{PCI_CAP_ID_SATA, "SATA"},
    Name{PCI_CAP_ID_AF, "Advanced Features"},
    Name{PCI_CAP_ID_EA, "Enhanced Allocation"},
};

constexpr std::array kExtendedCapabilities = {
    Name{PCI_EXT_CAP_ID_ERR, "Advanced Error Reporting"},
    Name{PCI_EXT_CAP_ID_VC, "Virtual Channel"},
    Name{PCI_EXT_CAP_ID_DSN, "Device Serial Number"},
    Name{PCI_EXT_CAP_ID_VNDR, "Vendor Specific"},
    Name{PCI_EXT_CAP_ID_ACS, "Access Control Services"},
    Name{PCI_EXT_CAP_ID_ARI, "Alternative Routing-ID"},
    Name{PCI_EXT_CAP_ID_ATS, "Address Translation Services"},
    Name{PCI_EXT_CAP_ID_SRIOV, "Single Root I/O Virtualization"},
    Name{PCI_EXT_CAP_ID_PRI, "Page Request Interface"},
    Name{PCI_EXT_CAP_ID_LTR, "Latency Tolerance Reporting"},
    Name{PCI_EXT_CAP_ID_PASID, "Process Address Space ID"},
};

std::string_view NameOf(uint16_t id, std::span<const Name> names) {
  for (const auto& [number, name] : names) {
    if (number == id) return name;
  }
  return "unknown";
}

// Config space is little endian on every machine.
uint64_t Little(Bytes bytes, size_t offset, size_t width) {
  uint64_t value = 0;
  for (size_t i = 0; i < width && offset + i < bytes.size(); ++i) {
    value |= static_cast<uint64_t>(bytes[offset + i]) << (8 * i);
  }
  return value;
}
uint8_t Byte(Bytes bytes, size_t offset) { return static_cast<uint8_t>(Little(bytes, offset, 1)); }
uint16_t Word(Bytes bytes, size_t offset) {
  return static_cast<uint16_t>(Little(bytes, offset, 2));
}
uint32_t Long(Bytes bytes, size_t offset) {
  return static_cast<uint32_t>(Little(bytes, offset, 4));
}

std::string Place(uint32_t bir_and_offset) {
  return fmt::format("bar{}+0x{:x}", bir_and_offset & PCI_MSIX_TABLE_BIR,
                     bir_and_offset & PCI_MSIX_TABLE_OFFSET);
}

std::string MsixText(Bytes bytes, size_t at) {
  const uint16_t flags = Word(bytes, at + PCI_MSIX_FLAGS);
  return fmt::format("{}, vectors {}, table {}, pending bits {}",
                     (flags & PCI_MSIX_FLAGS_ENABLE) != 0 ? "enabled" : "disabled",
                     (flags & PCI_MSIX_FLAGS_QSIZE) + 1, Place(Long(bytes, at + PCI_MSIX_TABLE)),
                     Place(Long(bytes, at + PCI_MSIX_PBA)));
}

std::string MsiText(Bytes bytes, size_t at) {
  const uint16_t flags = Word(bytes, at + PCI_MSI_FLAGS);
  return fmt::format("{}, vectors {}, {}-bit address{}",
                     (flags & PCI_MSI_FLAGS_ENABLE) != 0 ? "enabled" : "disabled",
                     1u << ((flags & PCI_MSI_FLAGS_QMASK) >> 1),
                     (flags & PCI_MSI_FLAGS_64BIT) != 0 ? 64 : 32,
                     (flags & PCI_MSI_FLAGS_MASKBIT) != 0 ? ", maskable" : "");
}

std::string CapabilityDetail(Bytes bytes, uint16_t id, size_t at) {
  switch (id) {
    case PCI_CAP_ID_MSIX:
      return MsixText(bytes, at);
    case PCI_CAP_ID_MSI:
      return MsiText(bytes, at);
    case PCI_CAP_ID_PM:
      return fmt::format("version {}, D{}", Word(bytes, at + PCI_PM_PMC) & PCI_PM_CAP_VER_MASK,
                         Word(bytes, at + PCI_PM_CTRL) & PCI_PM_CTRL_STATE_MASK);
    case PCI_CAP_ID_EXP:
      return fmt::format("version {}", Word(bytes, at + PCI_EXP_FLAGS) & PCI_EXP_FLAGS_VERS);
    case PCI_CAP_ID_VNDR:
      return fmt::format("{} bytes", Byte(bytes, at + PCI_CAP_FLAGS));
    default:
      return "";
  }
}

// The list that starts at byte 0x34: id u8 @0, next u8 @1. The lowest two bits of a pointer are
// reserved and to be ignored.
void WalkCapabilities(Bytes bytes, PciConfig& config) {
  const Bytes space = bytes.first(std::min(bytes.size(), kConventionalBytes));
  std::bitset<kConventionalBytes> visited;
  size_t at = Byte(space, PCI_CAPABILITY_LIST) & 0xfcu;
  while (at != 0) {
    if (at < PCI_STD_HEADER_SIZEOF || at + PCI_CAP_SIZEOF > space.size()) {
      config.problems.push_back(
          fmt::format("a capability pointer of 0x{:02x} leaves config space", at));
      return;
    }
    if (visited.test(at)) {
      config.problems.push_back(fmt::format("the capability list loops at 0x{:02x}", at));
      return;
    }
    visited.set(at);
    const uint16_t id = Byte(space, at + PCI_CAP_LIST_ID);
    config.capabilities.push_back({static_cast<uint16_t>(at), id,
                                   std::string(NameOf(id, kCapabilities)),
                                   CapabilityDetail(space, id, at)});
    at = Byte(space, at + PCI_CAP_LIST_NEXT) & 0xfcu;
  }
}

// The list that starts at byte 0x100, if there is one: id 16 bits, version 4 bits, next 12 bits.
void WalkExtendedCapabilities(Bytes bytes, PciConfig& config) {
  const Bytes space = bytes.first(std::min(bytes.size(), kExtendedBytes));
  if (space.size() < kConventionalBytes + 4) return;
  std::bitset<kExtendedBytes> visited;
  size_t at = kConventionalBytes;
  while (at != 0) {
    if (at < kConventionalBytes || at + 4 > space.size()) {
      config.problems.push_back(
          fmt::format("an extended capability pointer of 0x{:03x} leaves its space", at));
      return;
    }
    if (visited.test(at)) {
      config.problems.push_back(fmt::format("the extended capability list loops at 0x{:03x}", at));
      return;
    }
    visited.set(at);
    const uint32_t header = Long(space, at);
    // All zeros, or all ones where nothing answers, is the way to say that there is none.
    if (header == 0 || header == UINT32_MAX) return;
    const auto id = static_cast<uint16_t>(PCI_EXT_CAP_ID(header));
    config.capabilities.push_back({static_cast<uint16_t>(at), id,
                                   std::string(NameOf(id, kExtendedCapabilities)),
                                   fmt::format("version {}", PCI_EXT_CAP_VER(header))});
    at = PCI_EXT_CAP_NEXT(header);
  }
}

}  // namespace

PciConfig ParsePciConfig(std::span<const std::byte> bytes) {
  PciConfig config;
  config.vendor_id = Word(bytes, PCI_VENDOR_ID);
  config.device_id = Word(bytes, PCI_DEVICE_ID);
  config.subsystem_vendor_id = Word(bytes, PCI_SUBSYSTEM_VENDOR_ID);
  config.subsystem_id = Word(bytes, PCI_SUBSYSTEM_ID);
  config.class_code = Long(bytes, PCI_CLASS_REVISION) >> 8;
  config.revision = Byte(bytes, PCI_REVISION_ID);
  config.command = Word(bytes, PCI_COMMAND);
  config.status = Word(bytes, PCI_STATUS);
  config.interrupt_pin = Byte(bytes, PCI_INTERRUPT_PIN);
  if ((config.status & PCI_STATUS_CAP_LIST) != 0) WalkCapabilities(bytes, config);
  WalkExtendedCapabilities(bytes, config);
  return config;
}

std::string PciClassName(uint32_t class_code) {
  const auto base = static_cast<uint16_t>(class_code >> 16);
  const std::string_view name = NameOf(base, kClasses);
  return std::string(name == "unknown" ? "unknown class" : name);
}

std::string PciCommandText(uint16_t command) {
  const auto sign = [command](uint16_t bit) { return (command & bit) != 0 ? '+' : '-'; };
  return fmt::format("I/O{} Mem{} BusMaster{} DisINTx{}", sign(PCI_COMMAND_IO),
                     sign(PCI_COMMAND_MEMORY), sign(PCI_COMMAND_MASTER),
                     sign(PCI_COMMAND_INTX_DISABLE));
}

std::string PciBarText(std::span<const std::byte> bytes, size_t bar) {
  const uint32_t value = Long(bytes, PCI_BASE_ADDRESS_0 + 4 * bar);
  if ((value & PCI_BASE_ADDRESS_SPACE_IO) != 0) return "I/O ports";
  const bool wide = (value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;
  const bool prefetchable = (value & PCI_BASE_ADDRESS_MEM_PREFETCH) != 0;
  return fmt::format("{}-bit memory{}", wide ? 64 : 32, prefetchable ? ", prefetchable" : "");
}

}  // namespace vfio_user
