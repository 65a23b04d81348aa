// QEMU's educational PCI device.
//
// PCI 1234:11e8, revision 0x10, class 00 ff 00. INTx, and MSI with one vector. A driver that was
// written for QEMU's sees no difference, but that here a transfer does not take 100 ms.
//
// Registers. BAR0, 1 MiB, little endian. Accesses have 4 bytes, from 0x80 on 4 or 8. A read of any
// other length, and of what is not in the table, gives all ones; such a write changes nothing.
//
//   0x00  identification         read only    0x010000ed
//   0x04  liveness                            reads as the inverse of what was written
//   0x08  factorial                           n written; in its place, in a while, n! modulo 2^32
//   0x20  status                              bit 0, read only: the factorial is being computed;
//                                             bit 7: interrupt 0x1 when it is done
//   0x24  interrupt status       read only    what was raised and not acknowledged
//   0x60  interrupt raise        write only   these bits are raised
//   0x64  interrupt acknowledge  write only   these bits are not raised any more
//   0x80  DMA source
//   0x88  DMA destination
//   0x90  DMA count                           in bytes
//   0x98  DMA command                         bit 0: start, and busy; bit 1: from the device to
//                                             memory, else the other way; bit 2: interrupt 0x100
//                                             when done
//
// A write to the factorial while one is computed has no effect; nor has one to 0x80 to 0x98 while a
// transfer runs, and one to the DMA command without bit 0. 4 bytes written to a register from 0x80
// on are all of its value.
//
// The device's side of a transfer is in its buffer of 4 KiB, at 0x40000 to 0x40fff; these are no
// addresses of BAR0, and only DMA reaches it. The address in memory is cut to the DMA mask. A
// transfer that would leave the buffer, and one of memory that cannot be had, moves nothing and
// ends like any other.
//
// Each raise sends an interrupt: by MSI where that is enabled, else by INTx, which is up for as
// long as the interrupt status is not 0.
#ifndef SERVER_DEVICES_EDU_H_
#define SERVER_DEVICES_EDU_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "server/device.h"
#include "server/devices/edu_registers.h"

namespace vfio_user {

class EduDevice final : public Device, private Migratable {
 public:
  static constexpr uint64_t kBarBytes = uint64_t{1} << 20;

  // `dma_mask` has the address bits that its DMA has.
  explicit EduDevice(uint64_t dma_mask = EduRegisters::kUsualDmaMask);

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost& host) override { host_ = &host; }
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> data) override;
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override;
  Migratable* migratable() override { return this; }
  void Reset() override;

 private:
  // Migratable. What is under way when it pauses is begun anew where it goes on: a factorial, and a
  // transfer that had not begun to move bytes.
  void Pause() override;
  void Resume() override;
  absl::StatusOr<std::vector<std::byte>> Save() override;
  absl::Status Restore(std::span<const std::byte> state) override;

  // Posts Work where there is something to be done and it does not wait already.
  void PostIfNeeded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The worker's, and what it consists of.
  void Work() ABSL_LOCKS_EXCLUDED(mu_);
  void Compute() ABSL_LOCKS_EXCLUDED(mu_);
  void Transfer() ABSL_LOCKS_EXCLUDED(mu_);
  void SendInterrupt() ABSL_LOCKS_EXCLUDED(mu_);

  DeviceDescription description_;
  DeviceHost* host_ = nullptr;
  std::array<std::byte, EduRegisters::kBufferBytes> buffer_ = {};  // The worker's.

  Mutex mu_;
  EduRegisters registers_ ABSL_GUARDED_BY(mu_);
  bool posted_ ABSL_GUARDED_BY(mu_) = false;  // Work was posted and has not begun.
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_EDU_H_
