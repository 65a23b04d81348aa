// A driver for the reference server's dma-copy device.
//
// The device runs a ring of 64-byte descriptors in this process's memory: copy, fill, CRC-32. Its
// BAR0 has, all little endian and of 4 bytes unless said otherwise:
//   MAGIC @0x00 | REVISION @0x04 | STATUS @0x08 (bit 0: busy) | RING_IOVA @0x10 (8 bytes) |
//   RING_ENTRIES @0x18 | DOORBELL @0x1c (producer index, free running) | CONSUMER @0x20
// and it signals MSI-X vector 0 after each descriptor that asks for it.
#ifndef TOOLS_VFIO_USER_DMA_COPY_DRIVER_H_
#define TOOLS_VFIO_USER_DMA_COPY_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/interrupt.h"
#include "client/region.h"
#include "proto_defs/wire/iova.h"
#include "tools/vfio_user/dma_buffer.h"

namespace vfio_user {

inline constexpr uint16_t kDmaCopyVendorId = 0x1234;
inline constexpr uint16_t kDmaCopyDeviceId = 0xdc01;
// What one operation may cover, in bytes.
inline constexpr uint64_t kDmaCopyMaxBytes = 1 << 30;

enum class DmaCopyOpcode : uint32_t {
  kNop = 0,
  kCopy = 1,   // `length` bytes from `source` to `destination`.
  kFill = 2,   // `length` bytes at `destination` with the 8 bytes of `source`, over and over.
  kCrc32 = 3,  // The result is the CRC-32, as zlib computes it, of `length` bytes at `source`.
};

struct DmaCopyOperation {
  DmaCopyOpcode opcode = DmaCopyOpcode::kNop;
  uint64_t source = 0;  // A bus address, or kFill's pattern.
  Iova destination{};
  uint64_t length = 0;  // In bytes, at most kDmaCopyMaxBytes.

  static DmaCopyOperation Copy(Iova from, Iova to, uint64_t length) {
    return {DmaCopyOpcode::kCopy, ToU64(from), to, length};
  }
  static DmaCopyOperation Fill(uint64_t pattern, Iova to, uint64_t length) {
    return {DmaCopyOpcode::kFill, pattern, to, length};
  }
  static DmaCopyOperation Crc32(Iova from, uint64_t length) {
    return {DmaCopyOpcode::kCrc32, ToU64(from), Iova{}, length};
  }
};

struct DmaCopyOptions {
  uint32_t ring_entries = 64;     // A power of two, 2 to 4096.
  DmaPath path = DmaPath::kAuto;  // To the ring; the operations' memory has paths of its own.
  // For one operation, from when Wait is called.
  absl::Duration timeout = absl::Seconds(60);
};

// Drives one device, alone: a second driver on the same client would fight over the ring. Keeps
// the connection alive; the client must serve DMA by its background thread. Thread-compatible.
// Errors are the client's and, where an operation failed in the device, the errno that it noted.
class DmaCopyDriver {
 public:
  // Resets the device and sets it up. FailedPrecondition for another device.
  static absl::StatusOr<std::unique_ptr<DmaCopyDriver>> Open(const Client& client,
                                                             const DmaCopyOptions& options = {});

  // Hands the operation to the device and does not wait for it. Operations run one after the
  // other. ResourceExhausted when ring_entries of them were submitted and not waited for.
  absl::Status Submit(const DmaCopyOperation& operation);

  // Waits for the oldest operation that was not waited for, and gives its result: kCrc32's, 0 for
  // the others. FailedPrecondition when there is none. Whatever the error, the operation counts as
  // waited for. Unavailable soon after the server is gone. DeadlineExceeded after options.timeout;
  // the device may still be at it then, and only a new driver, which resets it, is of use.
  absl::StatusOr<uint64_t> WaitForOldest();

  // Submit, and wait for that operation. FailedPrecondition while others are in flight.
  absl::StatusOr<uint64_t> Run(const DmaCopyOperation& operation);

  // How many operations were submitted and not waited for.
  uint32_t in_flight() const { return producer_ - waited_; }

  // The device's STATUS: whether it has descriptors to run.
  absl::StatusOr<bool> IsBusy() const;

 private:
  struct Descriptor;

  DmaCopyDriver(const DmaCopyOptions& options, Region registers, DmaBuffer ring,
                Interrupt interrupt);

  absl::Status Start();
  absl::Status WaitUntilWritten(Descriptor& descriptor);

  DmaCopyOptions options_;
  Region registers_;
  DmaBuffer ring_memory_;
  Interrupt interrupt_;
  std::span<Descriptor> ring_;  // In ring_memory_.
  uint32_t producer_ = 0;       // Operations submitted; free running, as the device counts.
  uint32_t waited_ = 0;         // Operations waited for; free running.
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_DMA_COPY_DRIVER_H_
