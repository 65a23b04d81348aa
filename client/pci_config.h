// A PCI device's config space, decoded. Pure: bytes in, values out. The bytes are a server's word,
// of which nothing is believed that was not checked.
#ifndef CLIENT_PCI_CONFIG_H_
#define CLIENT_PCI_CONFIG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "proto_defs/wire/device_info.h"

namespace vfio_user {

struct PciDeviceIdentity {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface.
  uint8_t revision = 0;

  friend bool operator==(const PciDeviceIdentity&, const PciDeviceIdentity&) = default;
};

enum class PciBarKind { kMemory32, kMemory64, kIoPorts };

// What the registers of a BAR say. A BAR that the device does not have says that it is a 32-bit
// one: the size is the server's to tell, as RegionInfo.
struct PciBar {
  RegionIndex index{};  // kBar0 to kBar5.
  PciBarKind kind = PciBarKind::kMemory32;
  bool prefetchable = false;
  uint64_t address = 0;  // On the bus; 0 before software has given it one.
  uint64_t size = 0;     // In bytes; 0 where only config space was read.

  friend bool operator==(const PciBar&, const PciBar&) = default;
};

struct MsixCapability {
  bool enabled = false;
  bool function_masked = false;
  uint32_t vectors = 0;
  RegionIndex table_bar{};
  uint32_t table_offset = 0;  // In bytes, from the start of the BAR; so is pba_offset.
  RegionIndex pba_bar{};
  uint32_t pba_offset = 0;
};

struct MsiCapability {
  bool enabled = false;
  uint32_t vectors = 0;          // That the device can use.
  uint32_t enabled_vectors = 0;  // That software lets it use.
  bool wide_address = false;     // 64 bits.
  bool maskable = false;         // Each vector by itself.
  uint64_t address = 0;
  uint16_t data = 0;
};

struct PowerCapability {
  uint8_t version = 0;
  bool d1 = false;  // Whether the device has that state; so is d2.
  bool d2 = false;
  uint8_t state = 0;           // 0 to 3: D0 to D3hot.
  bool no_soft_reset = false;  // Going from D3hot to D0 keeps the registers.
};

struct PciExpressCapability {
  uint8_t version = 0;
  uint8_t type = 0;  // PCI_EXP_TYPE_*: 0 is an endpoint.
  uint32_t max_payload_bytes = 0;
  bool function_level_reset = false;
};

struct VendorCapability {
  uint8_t bytes = 0;  // Of the capability, as it says of itself.
};

// A vendor-specific one of the extended list.
struct ExtendedVendorCapability {
  uint16_t id = 0;  // As the vendor numbers them.
  uint8_t revision = 0;
  uint16_t bytes = 0;  // Of the capability, as it says of itself.
};

using PciCapabilityRegisters =
    std::variant<std::monostate, MsixCapability, MsiCapability, PowerCapability,
                 PciExpressCapability, VendorCapability, ExtendedVendorCapability>;

struct PciCapability {
  uint16_t offset = 0;    // In config space, in bytes; 0x100 and above for extended ones.
  uint16_t id = 0;        // PCI_CAP_ID_*, or PCI_EXT_CAP_ID_* for extended ones.
  uint8_t version = 0;    // Of extended ones.
  bool extended = false;  // From the list that starts at 0x100.
  // What it says; std::monostate for an id that is not known here, or where it is cut off.
  PciCapabilityRegisters registers = {};
};

struct PciConfig {
  PciDeviceIdentity identity;
  uint16_t command = 0;
  uint16_t status = 0;
  uint8_t header_type = 0;                  // Without the bit for several functions.
  uint8_t interrupt_pin = 0;                // 0: none; 1 to 4: INTA to INTD.
  std::vector<PciBar> bars;                 // Six of them, or fewer where some are 64-bit ones.
  std::vector<PciCapability> capabilities;  // In the order of the lists, the extended ones last.
  // What is wrong with the capabilities, one line each: what broke off the walk, is cut off or
  // overlaps. Empty when all is well.
  std::vector<std::string> problems;

  // The first capability of that kind; nullptr without one. Find<MsixCapability>(), for example.
  template <typename Registers>
  const Registers* Find() const {
    const PciCapability* const found = FindCapability<Registers>();
    return found == nullptr ? nullptr : std::get_if<Registers>(&found->registers);
  }
  template <typename Registers>
  const PciCapability* FindCapability() const {
    for (const PciCapability& capability : capabilities) {
      if (std::holds_alternative<Registers>(capability.registers)) return &capability;
    }
    return nullptr;
  }
};

// `bytes` is config space from its start, of which 256 or 4,096 bytes are of use; bytes that are
// not there read as 0. Every capability is visited once at most, whatever the pointers say.
PciConfig ParsePciConfig(std::span<const std::byte> bytes);

}  // namespace vfio_user

#endif  // CLIENT_PCI_CONFIG_H_
