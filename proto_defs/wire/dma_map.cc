#include "proto_defs/wire/dma_map.h"

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

// Bits of a DMA_UNMAP message that were read but not judged.
struct UnmapFields {
  DmaUnmapRequest request;
  uint32_t wire_flags = 0;
};

UnmapFields ReadUnmap(WireReader& in) {
  UnmapFields out;
  out.request.argsz = in.Read<uint32_t>();
  out.wire_flags = in.Read<uint32_t>();
  out.request.flags = DmaUnmapFlags::KnownOf(out.wire_flags, kKnownDmaUnmapFlags);
  out.request.address = Iova{in.Read<uint64_t>()};
  out.request.size = in.Read<uint64_t>();
  if (out.request.flags.Has(DmaUnmapFlag::kGetDirtyBitmap)) {
    out.request.bitmap.emplace();
    out.request.bitmap->page_size = in.Read<uint64_t>();
    out.request.bitmap->size_bytes = in.Read<uint64_t>();
  }
  return out;
}

absl::Status CheckUnmapRange(const DmaUnmapRequest& request) {
  if (!request.flags.Has(DmaUnmapFlag::kAll)) {
    return CheckRange("DMA_UNMAP", {"address", ToU64(request.address), "size", request.size});
  }
  if (request.flags.Has(DmaUnmapFlag::kGetDirtyBitmap)) {
    return absl::InvalidArgumentError(
        "DMA_UNMAP: flags are get-dirty-bitmap|all, want at most one of them");
  }
  if (request.address != Iova{} || request.size != 0) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_UNMAP: flag all with address {:#x} and size {:#x}, want 0 and 0",
                    ToU64(request.address), request.size));
  }
  return absl::OkStatus();
}

absl::Status CheckUnmapBitmap(uint32_t argsz, const DirtyBitmapHeader& bitmap) {
  constexpr uint32_t kFixedBytes = DmaUnmapRequest::kBytes + DirtyBitmapHeader::kBytes;
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DMA_UNMAP", argsz, kFixedBytes));
  if (bitmap.size_bytes > argsz - kFixedBytes) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_UNMAP: bitmap is {} bytes, want at most {}, the rest of argsz",
                    bitmap.size_bytes, argsz - kFixedBytes));
  }
  return CheckPageSize("DMA_UNMAP", bitmap.page_size);
}

}  // namespace

absl::StatusOr<DmaMapRequest> DmaMapRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  DmaMapRequest out;
  out.argsz = in.Read<uint32_t>();
  const auto flags = in.Read<uint32_t>();
  out.file_offset = in.Read<uint64_t>();
  out.address = Iova{in.Read<uint64_t>()};
  out.size = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("DMA_MAP"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DMA_MAP", out.argsz, kBytes));
  const auto known = DmaMapFlags::FromWire(flags, kKnownDmaMapFlags);
  if (!known) return UnknownFlags("DMA_MAP", flags, kKnownDmaMapFlags.ToWire());
  out.flags = *known;
  if (out.flags.HasAll(DmaMapFlags(DmaMapFlag::kMmap) | DmaMapFlag::kFileIo)) {
    return absl::InvalidArgumentError(
        fmt::format("DMA_MAP: flags are {:#x}, want at most one of mmap and file-io", flags));
  }
  VFIO_USER_RETURN_IF_ERROR(
      CheckRange("DMA_MAP", {"address", ToU64(out.address), "size", out.size}));
  VFIO_USER_RETURN_IF_ERROR(CheckNoWrap("DMA_MAP", {"offset", out.file_offset, "size", out.size}));
  return out;
}

void DmaMapRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags.ToWire());
  out.Write<uint64_t>(file_offset);
  out.Write<uint64_t>(ToU64(address));
  out.Write<uint64_t>(size);
}

absl::StatusOr<DmaUnmapRequest> DmaUnmapRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  const UnmapFields fields = ReadUnmap(in);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("DMA_UNMAP"));
  const DmaUnmapRequest& out = fields.request;
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DMA_UNMAP", out.argsz, kBytes));
  if (!DmaUnmapFlags::FromWire(fields.wire_flags, kKnownDmaUnmapFlags)) {
    return UnknownFlags("DMA_UNMAP", fields.wire_flags, kKnownDmaUnmapFlags.ToWire());
  }
  VFIO_USER_RETURN_IF_ERROR(CheckUnmapRange(out));
  if (out.bitmap) VFIO_USER_RETURN_IF_ERROR(CheckUnmapBitmap(out.argsz, *out.bitmap));
  return out;
}

void DmaUnmapRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags.ToWire());
  out.Write<uint64_t>(ToU64(address));
  out.Write<uint64_t>(size);
  if (bitmap) {
    out.Write<uint64_t>(bitmap->page_size);
    out.Write<uint64_t>(bitmap->size_bytes);
  }
}

absl::StatusOr<DmaUnmapReply> DmaUnmapReply::Parse(std::span<const uint8_t> body) {
  DmaUnmapReply out;
  if (body.empty()) return out;
  WireReader in(body);
  out.echo = ReadUnmap(in).request;
  // Take() yields nothing, and Finish says so, for a size beyond the body.
  const std::span<const uint8_t> bitmap =
      in.Take(out.echo->bitmap ? out.echo->bitmap->size_bytes : 0);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("DMA_UNMAP reply"));
  out.bitmap.assign(bitmap.begin(), bitmap.end());
  return out;
}

void DmaUnmapReply::AppendTo(WireWriter& out) const {
  if (!echo) return;
  echo->AppendTo(out);
  out.WriteBytes(bitmap);
}

}  // namespace vfio_user
