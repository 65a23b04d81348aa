// DMA_MAP and DMA_UNMAP: which memory of the client the device may reach, and how.
#ifndef PROTO_DEFS_WIRE_DMA_MAP_H_
#define PROTO_DEFS_WIRE_DMA_MAP_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/flag_set.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

class WireWriter;

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
  DmaMapFlags flags{};
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

// Both are libvfio-user's and QEMU's; the specification calls the field unused.
enum class DmaUnmapFlag : uint32_t {
  kGetDirtyBitmap = 1,  // The reply tells which pages the device wrote.
  kAll = 2,             // Everything that is mapped; address and size are 0.
};
using DmaUnmapFlags = FlagSet<DmaUnmapFlag>;

inline constexpr DmaUnmapFlags kKnownDmaUnmapFlags =
    DmaUnmapFlags(DmaUnmapFlag::kGetDirtyBitmap) | DmaUnmapFlag::kAll;

// Comes before a bitmap of dirty pages. 16 bytes: page size u64 @0 | bitmap bytes u64 @8
// Source: libvfio-user include/vfio-user.h, "struct vfio_user_bitmap".
struct DirtyBitmapHeader {
  static constexpr uint32_t kBytes = 16;

  uint64_t page_size = 0;   // In bytes; what one bit stands for.
  uint64_t size_bytes = 0;  // Of the bitmap.

  friend bool operator==(const DirtyBitmapHeader&, const DirtyBitmapHeader&) = default;
};

// Body of DMA_UNMAP (command 3), client to server, without descriptors; a server closes stray ones,
// because SPDK sends one. 24 bytes, or 40 with kGetDirtyBitmap:
//   argsz u32 @0 | flags u32 @4 | address u64 @8 | size u64 @16 | DirtyBitmapHeader @24
// Source: QEMU docs/interop/vfio-user.rst, "VFIO_USER_DMA_UNMAP".
struct DmaUnmapRequest {
  static constexpr uint32_t kBytes = 24;

  uint32_t argsz = kBytes;  // Of the longest reply that the client takes.
  DmaUnmapFlags flags{};
  Iova address{};
  uint64_t size = 0;  // In bytes.
  // Present exactly with kGetDirtyBitmap.
  std::optional<DirtyBitmapHeader> bitmap{};

  // InvalidArgument for a body of another length, an argsz that does not hold the reply, an unknown
  // flag, both flags, kAll with an address or a size, size 0 without kAll, a range that passes
  // 2^64 - 1, and a page size that is no power of two. Does not look at what is mapped.
  static absl::StatusOr<DmaUnmapRequest> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DmaUnmapRequest&, const DmaUnmapRequest&) = default;
};

// The reply: the request again and, with kGetDirtyBitmap, the bitmap after it.
struct DmaUnmapReply {
  // nullopt for an empty body, which is what libvfio-user sends for a device without DMA.
  std::optional<DmaUnmapRequest> echo{};
  // A bit per page, the lowest address in the lowest bit of the first byte; echo->bitmap's
  // size_bytes of them.
  std::vector<uint8_t> bitmap{};

  // InvalidArgument only for a body that is neither empty nor of the length that its flags and
  // bitmap header say; whether the echo is the request is for the caller to compare. Flags that are
  // unknown are dropped.
  static absl::StatusOr<DmaUnmapReply> Parse(std::span<const uint8_t> body);
  void AppendTo(WireWriter& out) const;

  friend bool operator==(const DmaUnmapReply&, const DmaUnmapReply&) = default;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_DMA_MAP_H_
