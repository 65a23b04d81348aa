// The registers in BAR0 of dma-copy, as dma_copy.h describes them.
#ifndef SERVER_DEVICES_DMA_COPY_REGISTERS_H_
#define SERVER_DEVICES_DMA_COPY_REGISTERS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

// Pure. Thread-compatible.
class DmaCopyRegisters {
 public:
  static constexpr uint64_t kDescriptorBytes = 64;
  static constexpr uint64_t kKickOffset = 0x28;

  // `first_index` is for tests that do not want to run four billion descriptors.
  explicit DmaCopyRegisters(uint32_t first_index = 0)
      : producer_(first_index), consumer_(first_index) {}

  // An access of 4 or 8 bytes at a multiple of that. InvalidArgument for any other, and for what
  // cannot be written; then nothing is.
  absl::Status Read(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Write(uint64_t offset, std::span<const std::byte> from);

  // Lets that many descriptors more be run, like a write to KICK. InvalidArgument, and no change,
  // for more than the ring has room for.
  absl::Status Kick(uint64_t descriptors);

  // All of it, as a device's saved state has it:
  //   RING_IOVA u64 @0 | RING_ENTRIES u32 @8 | DOORBELL u32 @12 | CONSUMER u32 @16
  // Parse reads these 20 bytes; whether they were there is for `in` to say. InvalidArgument for
  // what writing registers cannot bring about.
  static absl::StatusOr<DmaCopyRegisters> Parse(WireReader& in);
  void AppendTo(WireWriter& out) const;

  bool busy() const { return consumer_ != producer_; }

  // Where the next descriptor is; nullopt when there is none to run.
  std::optional<Iova> NextDescriptor() const;
  // The next descriptor has been run.
  void Advance() { ++consumer_; }

 private:
  uint32_t ReadWord(uint64_t offset) const;
  absl::Status WriteWord(uint64_t offset, uint32_t value);
  absl::Status WriteRingEntries(uint32_t entries);
  absl::Status SetDoorbell(uint32_t producer);

  uint64_t ring_iova_ = 0;
  uint32_t ring_entries_ = 0;
  uint32_t producer_;
  uint32_t consumer_;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_DMA_COPY_REGISTERS_H_
