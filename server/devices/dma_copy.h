// A device that copies, fills and sums up memory of its client, by a ring of descriptors.
//
// PCI 1234:dc01, class 08 80 00. One MSI-X vector.
//
// Registers. BAR0, 4 KiB, little endian. Accesses have 4 or 8 bytes, at a multiple of their length;
// any other is EINVAL. What is not in the table reads as 0; writes there, and to what is read only,
// change nothing.
//
//   0x00  4  MAGIC         read only   0x59504344
//   0x04  4  REVISION      read only   1
//   0x08  4  STATUS        read only   bit 0: busy, that is, CONSUMER is not DOORBELL
//   0x10  8  RING_IOVA                 where the ring is
//   0x18  4  RING_ENTRIES              descriptors in it: a power of two, 2 to 4096
//   0x1c  4  DOORBELL                  the index after the last descriptor that may be run
//   0x20  4  CONSUMER      read only   the index of the next descriptor to be run
//   0x28  4  KICK          write only  adds what is written to DOORBELL; has an eventfd
//
// Indexes run freely through 32 bits; index i is entry i modulo RING_ENTRIES. All registers are 0
// after power-on and after a reset. A client that goes leaves them as they are, and the next one
// finds CONSUMER where it was.
//
// Writing RING_IOVA or RING_ENTRIES while the device is busy has no effect. A value that they
// cannot have is EINVAL and has none either; so is a DOORBELL before RING_ENTRIES, one for a ring
// that passes the end of the address space, one that is more than RING_ENTRIES ahead of CONSUMER,
// and one that takes back what was rung before. A DOORBELL while busy adds to what is to be run.
//
// Writing n to KICK is writing DOORBELL + n to DOORBELL, with the same errors. So is adding n to
// its eventfd (DEVICE_GET_REGION_IO_FDS), which costs no message; but nobody is told of an error
// there, and it has no effect.
//
// Descriptors. 64 bytes, little endian:
//
//   0x00  4  opcode        0 nop, 1 copy, 2 fill, 3 CRC-32
//   0x04  4  flags         bit 0: interrupt when done; others must be 0
//   0x08  8  source        an address, or the 8 bytes to fill with
//   0x10  8  destination   an address
//   0x18  8  length        in bytes, 0 to 2^30
//   0x20  4  status        by the device: 0 not yet, 1 done, 2 failed
//   0x24  4  errno         by the device, when it failed
//   0x28  8  result        by the device: the CRC-32 as zlib computes it, else 0
//   0x30     0
//
// They run in order. The device writes errno and result first and status last; then CONSUMER moves
// on; then, if bit 0 of flags says so, MSI-X vector 0 is signalled, for a failure too. So a status
// is seen before the device ceases to be busy: whoever wants to move the ring waits for STATUS.
//
// What is wrong with a descriptor fails it and not the ring: EINVAL for an unknown opcode or flag
// and for too great a length, EFAULT for what is not mapped, EACCES against the direction of a
// mapping, and whatever else reaching the memory met with. Part of it may have been done then.
// Length 0 is done at once, whatever the addresses. Copying between ranges that overlap gives what
// it would if the source had been read first. A fill that is no multiple of 8 long ends within the
// pattern. A descriptor that itself cannot be read is passed over.
//
// A reset ends what is under way; the descriptors that were not done keep the status that they
// have.
//
// BAR1, 4 KiB, is memory that holds the MSI-X table at 0 and its pending bits at 0x800.
#ifndef SERVER_DEVICES_DMA_COPY_H_
#define SERVER_DEVICES_DMA_COPY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/iova.h"
#include "server/device.h"
#include "server/devices/bar_memory.h"
#include "server/devices/dma_copy_engine.h"
#include "server/devices/dma_copy_registers.h"
#include "server/migratable.h"

namespace vfio_user {

class DmaCopyDevice final : public Device, private Migratable {
 public:
  static constexpr uint64_t kBarBytes = 4096;

  DmaCopyDevice();

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost& host) override { host_ = &host; }
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> data) override;
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override;
  void RingDoorbell(RegionIndex index, uint64_t offset, uint64_t count) override;
  Migratable* migratable() override { return this; }
  void Reset() override;

 private:
  // Migratable. The descriptor that runs is finished, and the ring goes on after it.
  void Pause() override ABSL_LOCKS_EXCLUDED(mu_);
  void Resume() override ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<std::vector<std::byte>> Save() override ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Restore(std::span<const std::byte> state) override ABSL_LOCKS_EXCLUDED(mu_);

  // Posts RunRing where there is something to be run, nothing in the way, and it does not run.
  void RunIfBusy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The worker's: runs descriptors until there are none left, or until Pause().
  void RunRing() ABSL_LOCKS_EXCLUDED(mu_);
  // Where the next one is. Without one, the next doorbell has to post the work again.
  std::optional<Iova> NextDescriptor() ABSL_LOCKS_EXCLUDED(mu_);
  void RunDescriptor(Iova at) ABSL_LOCKS_EXCLUDED(mu_);
  void Report(Iova at, const absl::StatusOr<uint64_t>& result);

  DeviceDescription description_;
  DeviceHost* host_ = nullptr;
  DmaCopyEngine engine_;  // The worker's.
  BarMemory msix_{kBarBytes};

  Mutex mu_;
  DmaCopyRegisters registers_ ABSL_GUARDED_BY(mu_);
  bool running_ ABSL_GUARDED_BY(mu_) = false;  // RunRing was posted and has not ended.
  bool paused_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_DMA_COPY_H_
