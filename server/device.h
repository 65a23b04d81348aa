// What a device is, for those who write one. server/server.h serves it, server/devices has
// examples.
#ifndef SERVER_DEVICE_H_
#define SERVER_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "server/dma_space.h"
#include "server/migratable.h"
#include "server/pci_description.h"

namespace vfio_user {

// The INTx line as a device drives it: a level, not a signal.
enum class IntxLine { kDown, kUp };

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

  // Signals a vector of MSI or MSI-X, ERR or REQ, if the client has bound it. One that is masked is
  // signalled when it is unmasked.
  virtual void TriggerInterrupt(IrqIndex index, uint32_t vector) = 0;

  // Drives the INTx line, which is a level: the client is signalled for as long as it is up, once
  // for each time that it unmasks. The server keeps the bit of it in PCI_STATUS.
  virtual void SetIntx(IntxLine line) = 0;

  // By which kind of interrupt the client wants to be told: kMsix or kMsi where it has enabled one
  // of these, in the capability or by binding a vector, and kIntx otherwise.
  virtual IrqIndex enabled_interrupts() = 0;
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

  // A client rang the doorbell at `offset` through its eventfd, `count` times since the last call:
  // signals add up. Runs on the worker thread. Only for devices that describe doorbells.
  virtual void RingDoorbell(RegionIndex /*index*/, uint64_t /*offset*/, uint64_t /*count*/) {}

  // How its state moves to another process; nullptr for a device whose state stays where it is.
  // Borrowed from the device.
  virtual Migratable* migratable() { return nullptr; }

  // Back to the state after power-on. DMA that is under way has been cancelled: DmaSpace returns
  // Cancelled to work that was posted before the reset, so that it ends soon.
  virtual void Reset() = 0;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICE_H_
