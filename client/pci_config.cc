#include "client/pci_config.h"

#include <linux/pci_regs.h>

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "client/pci_bytes.h"
#include "client/pci_capability_registers.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

constexpr size_t kConventionalBytes = 256;
constexpr size_t kExtendedBytes = 4096;
constexpr size_t kBars = 6;

// The lowest two bits of a pointer are reserved, and to be ignored.
size_t Aligned(size_t pointer) { return pointer & ~size_t{3}; }

// What the capabilities of one list take, byte by byte.
using Taken = std::bitset<kExtendedBytes>;

// Notes that the capability has `length` bytes at its offset, and a problem where others have them.
void Take(const PciCapability& capability, size_t length, Taken& taken, PciConfig& config) {
  bool overlaps = false;
  const size_t end = std::min(capability.offset + length, kExtendedBytes);
  for (size_t i = capability.offset; i < end; ++i) {
    overlaps = overlaps || taken.test(i);
    taken.set(i);
  }
  if (overlaps) {
    config.problems.push_back(
        fmt::format("the capability at 0x{:02x} overlaps another one", capability.offset));
  }
}

// Decodes the registers, of which all must lie in `space`.
void Decode(PciBytes space, PciCapability& capability, Taken& taken, PciConfig& config) {
  const size_t length = CapabilityLength(space, capability);
  if (capability.offset + length > space.size()) {
    config.problems.push_back(fmt::format("the capability at 0x{:02x} is cut off: it has {} bytes",
                                          capability.offset, length));
    return;
  }
  capability.registers = DecodeCapability(space, capability);
  Take(capability, length, taken, config);
}

// The list that starts at byte 0x34: id u8 @0, next u8 @1.
void WalkCapabilities(PciBytes bytes, PciConfig& config) {
  const PciBytes space = bytes.First(kConventionalBytes);
  std::bitset<kConventionalBytes> visited;
  Taken taken;
  size_t at = Aligned(space.Byte(PCI_CAPABILITY_LIST));
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
    PciCapability capability = {.offset = static_cast<uint16_t>(at),
                                .id = space.Byte(at + PCI_CAP_LIST_ID)};
    Decode(space, capability, taken, config);
    config.capabilities.push_back(capability);
    at = Aligned(space.Byte(at + PCI_CAP_LIST_NEXT));
  }
}

// The list that starts at byte 0x100, if there is one: id 16 bits, version 4 bits, next 12 bits.
void WalkExtendedCapabilities(PciBytes bytes, PciConfig& config) {
  const PciBytes space = bytes.First(kExtendedBytes);
  if (space.size() < kConventionalBytes + 4) return;
  std::bitset<kExtendedBytes> visited;
  Taken taken;
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
    const uint32_t header = space.Long(at);
    // All zeros, or all ones where nothing answers, is the way to say that there is none.
    if (header == 0 || header == UINT32_MAX) return;
    PciCapability capability = {.offset = static_cast<uint16_t>(at),
                                .id = static_cast<uint16_t>(PCI_EXT_CAP_ID(header)),
                                .version = static_cast<uint8_t>(PCI_EXT_CAP_VER(header)),
                                .extended = true};
    Decode(space, capability, taken, config);
    config.capabilities.push_back(capability);
    at = Aligned(PCI_EXT_CAP_NEXT(header));
  }
}

PciBar ReadBar(PciBytes bytes, size_t number) {
  const size_t at = PCI_BASE_ADDRESS_0 + 4 * number;
  const uint32_t value = bytes.Long(at);
  PciBar bar = {.index = RegionIndex{static_cast<uint32_t>(number)}};
  if ((value & PCI_BASE_ADDRESS_SPACE_IO) != 0) {
    bar.kind = PciBarKind::kIoPorts;
    bar.address = value & ~uint32_t{3};
    return bar;
  }
  bar.prefetchable = (value & PCI_BASE_ADDRESS_MEM_PREFETCH) != 0;
  bar.address = value & ~uint32_t{0xf};
  // The last one has no register after it for the upper half.
  if ((value & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64 &&
      number + 1 < kBars) {
    bar.kind = PciBarKind::kMemory64;
    bar.address |= uint64_t{bytes.Long(at + 4)} << 32;
  }
  return bar;
}

}  // namespace

PciConfig ParsePciConfig(std::span<const std::byte> space) {
  const PciBytes bytes(space);
  PciConfig config;
  config.identity = {.vendor_id = bytes.Word(PCI_VENDOR_ID),
                     .device_id = bytes.Word(PCI_DEVICE_ID),
                     .subsystem_vendor_id = bytes.Word(PCI_SUBSYSTEM_VENDOR_ID),
                     .subsystem_id = bytes.Word(PCI_SUBSYSTEM_ID),
                     .class_code = bytes.Long(PCI_CLASS_REVISION) >> 8,
                     .revision = bytes.Byte(PCI_REVISION_ID)};
  config.command = bytes.Word(PCI_COMMAND);
  config.status = bytes.Word(PCI_STATUS);
  config.header_type = bytes.Byte(PCI_HEADER_TYPE) & 0x7f;
  config.interrupt_pin = bytes.Byte(PCI_INTERRUPT_PIN);
  for (size_t i = 0; i < kBars; ++i) {
    config.bars.push_back(ReadBar(bytes, i));
    if (config.bars.back().kind == PciBarKind::kMemory64) ++i;
  }
  if ((config.status & PCI_STATUS_CAP_LIST) != 0) WalkCapabilities(bytes, config);
  WalkExtendedCapabilities(bytes, config);
  return config;
}

}  // namespace vfio_user
