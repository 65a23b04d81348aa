// What a device tells of itself as a PCI function: values that do not change while it lives.
#ifndef SERVER_PCI_DESCRIPTION_H_
#define SERVER_PCI_DESCRIPTION_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"

namespace vfio_user {

struct PciIdentity {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface.
  uint8_t revision = 0;
};

enum class BarType {
  kMemory32,
  kMemory64,  // Takes the register, and the index, after its own too.
  kIoPorts,
};

// The bytes of a BAR are a file's too, which clients may map instead of sending messages. The
// device sees nothing of such accesses. It keeps the file from shrinking: a memfd with
// F_SEAL_SHRINK.
struct MappableMemory {
  std::shared_ptr<const UniqueFd> file;
  uint64_t file_offset = 0;  // Where the BAR's first byte is; a multiple of the page size.
  // Which parts may be mapped, in whole pages; empty: all of the BAR.
  std::vector<SparseArea> areas = {};
};

// A place in a BAR that can be rung through an eventfd: see Device::RingDoorbell.
struct DoorbellDescription {
  uint64_t offset = 0;  // In bytes, from the start of the BAR.
  uint32_t size = 4;    // Of the register that it stands for, in bytes: 1, 2, 4 or 8.
};

struct BarDescription {
  RegionIndex index{};  // kBar0 to kBar5, or kRom, which is kMemory32 and cannot be written.
  // In bytes, a power of two: 16 to 2 GiB, kMemory64 to 2^63, kIoPorts 4 to 256, kRom 2 KiB to
  // 16 MiB.
  uint64_t size = 0;
  RegionFlags flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
  BarType type = BarType::kMemory32;
  bool prefetchable = false;
  std::optional<MappableMemory> memory = std::nullopt;
  std::vector<DoorbellDescription> doorbells = {};
};

// A type of interrupts. The server masks all of them but kErr and kReq for clients.
struct IrqDescription {
  IrqIndex index{};
  uint32_t count = 0;  // Of vectors: kMsi 1, 2, 4 and so on to 32, kMsix 1 to 2048, the others 1.
};

// The capability of a device whose `irqs` have kMsi. Addresses have 64 bits.
struct MsiDescription {
  bool per_vector_mask = false;  // Mask and pending bits for each vector.
};

// Where a device keeps its MSI-X table and pending bits; both are 8-byte aligned. The server works
// them: the device does not see accesses to those bytes.
struct MsixDescription {
  RegionIndex bar{};
  uint32_t table_offset = 0;
  uint32_t pba_offset = 0;
};

// PCI Express, version 2: an endpoint. Config space has 4,096 bytes with it, and 256 without.
struct PciExpressDescription {
  bool function_level_reset = true;  // By software, through the capability; it is a Device::Reset.
};

// A part of config space that means something to the device's drivers, and nothing to the server.
struct CapabilityContent {
  std::vector<uint8_t> bytes;  // Behind the header.
  // Which bits can be written, and which can only be cleared, by writing 1. Not longer than
  // `bytes`; what they do not reach can only be read.
  std::vector<uint8_t> writable = {};
  std::vector<uint8_t> cleared_by_one = {};
};

struct ExtendedCapabilityDescription {
  uint16_t id = 0;      // PCI_EXT_CAP_ID_... of <linux/pci_regs.h>.
  uint8_t version = 1;  // 1 to 15.
  CapabilityContent content;
};

// What does not change while a device lives. Capabilities are listed in config space in the order
// of the members here: software finds them by walking the list.
struct DeviceDescription {
  std::string name;
  PciIdentity pci;
  std::vector<BarDescription> bars;
  std::vector<IrqDescription> irqs;

  // D0 and D3hot, and no DMA in the latter. A device that is put into it keeps its state.
  bool power_management = false;
  MsiDescription msi;
  std::optional<MsixDescription> msix;
  std::optional<PciExpressDescription> express;
  // Vendor specific ones; the server puts the length before their bytes.
  std::vector<CapabilityContent> vendor_capabilities;
  // Only with `express`.
  std::vector<ExtendedCapabilityDescription> extended_capabilities;
};

}  // namespace vfio_user

#endif  // SERVER_PCI_DESCRIPTION_H_
