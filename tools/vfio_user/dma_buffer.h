// Memory and its mapping, as one thing.
#ifndef TOOLS_VFIO_USER_DMA_BUFFER_H_
#define TOOLS_VFIO_USER_DMA_BUFFER_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Memory that the device reads and writes by a chosen path: plain memory from malloc, but with
// kMmap a memfd's, since only what has a file can be mapped by another process. Movable: the
// memory stays where it is. Thread-compatible.
class DmaBuffer {
 public:
  // `bytes` of 0 makes one of 1 byte. The bytes are zero. ResourceExhausted without the memory,
  // and what Client::Map says.
  static absl::StatusOr<DmaBuffer> Create(const Client& client, size_t bytes, DmaPath path);

  DmaBuffer(DmaBuffer&&) noexcept = default;
  // Not assignable: the members' own assignments would free the old memory while it is mapped.
  DmaBuffer& operator=(DmaBuffer&&) = delete;

  // "malloc" or "memfd": what Create takes for a path.
  static std::string_view MemoryName(DmaPath path);

  std::span<std::byte> bytes() const { return {memory_.get(), size_}; }
  Iova iova() const { return mapping_.iova(); }
  // The path that the mapping got.
  DmaPath path() const { return mapping_.path(); }

 private:
  // How the memory is given back: by munmap() where that many bytes were mapped, else by free().
  struct Release {
    size_t mapped_bytes;
    void operator()(std::byte* memory) const;
  };
  using Memory = std::unique_ptr<std::byte[], Release>;

  DmaBuffer(Memory memory, size_t size, DmaMapping mapping)
      : memory_(std::move(memory)), size_(size), mapping_(std::move(mapping)) {}

  static absl::StatusOr<DmaBuffer> CreateMalloc(const Client& client, size_t bytes, DmaPath path);
  static absl::StatusOr<DmaBuffer> CreateMemfd(const Client& client, size_t bytes);

  Memory memory_;
  size_t size_ = 0;
  DmaMapping mapping_;  // Last: the device lets go of the memory before it is given back.
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_DMA_BUFFER_H_
