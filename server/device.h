// What a device is, for those who write one. server/server.h serves it, server/devices has
// examples.
#ifndef SERVER_DEVICE_H_
#define SERVER_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "server/dma_space.h"

namespace vfio_user {

struct PciIdentity {
  uint16_t vendor_id = 0;
  uint16_t device_id = 0;
  uint16_t subsystem_vendor_id = 0;
  uint16_t subsystem_id = 0;
  uint32_t class_code = 0;  // 24 bits: base class, subclass, programming interface.
  uint8_t revision = 0;
};

struct BarDescription {
  RegionIndex index{};  // kBar0 to kBar5, or kRom.
  uint64_t size = 0;    // In bytes; a power of two from 16 on. 32-bit memory.
  RegionFlags flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
};

struct IrqDescription {
  IrqIndex index{};
  uint32_t count = 0;  // Of vectors.
  IrqInfoFlags flags = IrqInfoFlag::kEventfd;
};

// Where a device keeps its MSI-X table and pending bits; both are 8-byte aligned. To the server
// they are bytes of a BAR: the vectors are bound, and masked, by SET_IRQS.
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

// What the server does for a device. Thread-safe. Lives longer than the device's last call.
class DeviceHost {
 public:
  virtual ~DeviceHost() = default;

  // The memory that the client lent. Never to be used in ReadRegion or WriteRegion: see Post.
  virtual DmaSpace& dma() = 0;

  // Runs `work` on the device's worker thread, after what was posted before. Work that is posted
  // while a register access is handled begins after that access was answered: a client that waits
  // for the answer could not serve the DMA that the work does.
  virtual void Post(std::function<void()> work) = 0;

  // Signals a vector, if the client has bound it.
  virtual void TriggerInterrupt(IrqIndex index, uint32_t vector) = 0;
};

// A device. One object serves one socket, and client after client; its state outlives them.
//
// ReadRegion and WriteRegion run on the protocol thread, one at a time, and must not wait for the
// client. Posted work and Reset run on the worker thread, one at a time, but alongside register
// accesses: what both use needs a lock.
class Device {
 public:
  virtual ~Device() = default;

  virtual const DeviceDescription& description() const = 0;

  // Called once, before anything else. `host` is borrowed.
  virtual void Attach(DeviceHost& host) = 0;

  // An access within a BAR and allowed by its flags, of any length from 1 byte on; the server has
  // checked both, and runs config space itself. The errno of an error is what the client gets
  // (ErrnoStatus of proto_defs/base/errno_status.h); a plain absl::InvalidArgumentError is EINVAL.
  virtual absl::Status ReadRegion(RegionIndex index, uint64_t offset,
                                  std::span<std::byte> data) = 0;
  virtual absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                                   std::span<const std::byte> data) = 0;

  // Back to the state after power-on. DMA that is under way has been cancelled: DmaSpace returns
  // Cancelled to work that was posted before the reset, so that it ends soon.
  virtual void Reset() = 0;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICE_H_
