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
#include "proto_defs/wire/irq.h"
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
  RegionIndex index{};  // kBar0 to kBar5, or kRom.
  uint64_t size = 0;    // In bytes; a power of two from 16 on.
  RegionFlags flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
  BarType type = BarType::kMemory32;
  bool prefetchable = false;
  std::optional<MappableMemory> memory = std::nullopt;
  std::vector<DoorbellDescription> doorbells = {};
};

struct IrqDescription {
  IrqIndex index{};
  uint32_t count = 0;  // Of vectors.
  IrqInfoFlags flags = IrqInfoFlag::kEventfd;
};

// Where a device keeps its MSI-X table and pending bits; both are 8-byte aligned. The server works
// them: the device does not see accesses to those bytes.
struct MsixDescription {
  RegionIndex bar{};
  uint32_t table_offset = 0;
  uint32_t pba_offset = 0;
};

// What does not change while a device lives.
struct DeviceDescription {
  std::string name;
  PciIdentity pci;
  std::vector<BarDescription> bars;
  std::vector<IrqDescription> irqs;
  std::optional<MsixDescription> msix;
};

}  // namespace vfio_user

#endif  // SERVER_PCI_DESCRIPTION_H_
