// What dma-copy does for one descriptor.
#ifndef SERVER_DEVICES_DMA_COPY_ENGINE_H_
#define SERVER_DEVICES_DMA_COPY_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/iova.h"
#include "server/device.h"

namespace vfio_user {

// The client's part of a descriptor, as dma_copy.h draws it.
struct DmaCopyDescriptor {
  static constexpr size_t kBytes = 32;

  uint32_t opcode = 0;
  uint32_t flags = 0;
  uint64_t source = 0;  // An address, or what to fill with.
  Iova destination{};
  uint64_t length = 0;  // In bytes.

  bool interrupts() const;

  // Any bytes are a descriptor; the engine judges it.
  static DmaCopyDescriptor Parse(std::span<const uint8_t, kBytes> bytes);
};

// Thread-compatible.
class DmaCopyEngine {
 public:
  // Does it and returns its result. InvalidArgument (EINVAL) for a descriptor that is wrong in
  // itself, OutOfRange (EFAULT) for a range that passes the end of the address space, and what
  // `dma` returned. On an error, part of it may be done.
  absl::StatusOr<uint64_t> Run(const DmaCopyDescriptor& descriptor, DmaSpace& dma);

 private:
  absl::Status Copy(const DmaCopyDescriptor& descriptor, DmaSpace& dma);
  absl::Status Fill(const DmaCopyDescriptor& descriptor, DmaSpace& dma);
  absl::StatusOr<uint64_t> Crc32(const DmaCopyDescriptor& descriptor, DmaSpace& dma);

  // The first `bytes` of what all data goes through, allocated when it is first needed.
  std::span<std::byte> Buffer(uint64_t bytes);

  std::vector<std::byte> buffer_;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_DMA_COPY_ENGINE_H_
