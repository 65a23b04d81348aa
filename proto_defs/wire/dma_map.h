// DMA_MAP and DMA_UNMAP: which memory of the client the device may reach, and how.
#ifndef PROTO_DEFS_WIRE_DMA_MAP_H_
#define PROTO_DEFS_WIRE_DMA_MAP_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "proto_defs/wire/flag_set.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

// kMmap and kFileIo are a libvfio-user extension (its include/vfio-user.h), not in the public
// specification: they say how the server reaches the memory through the descriptor.
enum class DmaMapFlag : uint32_t {
  kRead = 1,    // The server may read.
  kWrite = 2,   // The server may write.
  kMmap = 4,    // By mapping the descriptor.
  kFileIo = 8,  // By pread() and pwrite() on the descriptor, at file_offset + (iova - address).
};
using DmaMapFlags = FlagSet<DmaMapFlag>;

inline constexpr DmaMapFlags kKnownDmaMapFlags =
    DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite | DmaMapFlag::kMmap | DmaMapFlag::kFileIo;

// Body of DMA_MAP (command 2), client to server, with at most one descriptor. 32 bytes:
//   argsz u32 @0 | flags u32 @4 | file offset u64 @8 | address u64 @16 | size u64 @24
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DMA_MAP". The reply has no body.
struct DmaMapRequest {
  static constexpr uint32_t kBytes = 32;

  uint32_t argsz = kBytes;
  DmaMapFlags flags;
  uint64_t file_offset = 0;  // In bytes, into the descriptor's file.
  Iova address{};
  uint64_t size = 0;  // In bytes.

  // InvalidArgument for a body shorter than 32 bytes, an argsz below 32, an unknown flag, kMmap
  // with kFileIo, size 0, and a range or file range that passes 2^64 - 1. Does not look at the
  // descriptor, at other mappings, or at what the server can do.
  static absl::StatusOr<DmaMapRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DmaMapRequest&, const DmaMapRequest&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_DMA_MAP_H_
