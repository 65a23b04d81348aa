// The ends of mappings: one by one, with a report of what was written, and all at once.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma_mapper.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

// The smallest page, of `least` bytes or more, for which the bitmap of a range of `length` bytes
// fits into `max_bytes`.
DirtyBitmapHeader BitmapThatFits(uint64_t length, uint64_t least, uint64_t max_bytes) {
  constexpr uint64_t kPagesPerWord = 64;
  const uint64_t max_words = std::max<uint64_t>(1, max_bytes / sizeof(uint64_t));
  DirtyBitmapHeader bitmap = {.page_size = least};
  while ((length - 1) / bitmap.page_size / kPagesPerWord >= max_words) bitmap.page_size *= 2;
  const uint64_t words = (length - 1) / bitmap.page_size / kPagesPerWord + 1;
  bitmap.size_bytes = words * sizeof(uint64_t);
  return bitmap;
}

}  // namespace

absl::Status DmaMapper::Unmap(LiveMappings::Id id) {
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  const std::optional<LiveMapping> mapping = live_.Claim(id);
  if (!mapping) return absl::OkStatus();
  const absl::Status unmapped = UnmapAtServer(*mapping);
  Forget(id, *mapping);
  return unmapped;
}

absl::StatusOr<uint64_t> DmaMapper::CheckLogging() const {
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  const std::optional<uint64_t> page_size = session_->write_record().page_size();
  if (page_size) return *page_size;
  return absl::FailedPreconditionError(
      "nothing is known of what the device wrote: StartDmaLogging before it writes");
}

absl::Status DmaMapper::UnmapAndReport(LiveMappings::Id id, uint64_t log_page_size,
                                       DirtyPages& pages) {
  const std::optional<LiveMapping> mapping = live_.Claim(id);
  if (!mapping) return absl::FailedPreconditionError("this mapping is unmapped already");
  const absl::Status unmapped = UnmapAtServer(*mapping, log_page_size, pages);
  Forget(id, *mapping);
  if (!unmapped.ok()) {
    // For a later report of the log.
    session_->write_record().Keep(pages);
    return unmapped;
  }
  // Not before: until then messages write.
  session_->write_record().TakeInto(pages);
  return absl::OkStatus();
}

absl::Status DmaMapper::UnmapAtServer(const LiveMapping& mapping) {
  const IovaRange& range = mapping.range;
  return Annotate(session_->UnmapDma(range.first, range.length),
                  fmt::format("unmapping [{:#x}, +{:#x})", ToU64(range.first), range.length));
}

absl::Status DmaMapper::UnmapAtServer(const LiveMapping& mapping, uint64_t log_page_size,
                                      DirtyPages& pages) {
  // The client wrote it all itself. libvfio-user refuses to report such memory.
  if (mapping.path == DmaPath::kMessage) return UnmapAtServer(mapping);
  constexpr uint32_t kFixedBytes = DmaUnmapRequest::kBytes + DirtyBitmapHeader::kBytes;
  // In the log's own page size, because libvfio-user loses pages when it is to convert them.
  const uint64_t room = session_->max_data_xfer_bytes();
  const DirtyBitmapHeader bitmap = BitmapThatFits(mapping.range.length, log_page_size,
                                                  room - std::min<uint64_t>(room, kFixedBytes));
  const absl::StatusOr<std::vector<uint8_t>> bits =
      session_->UnmapDma({.argsz = kFixedBytes + static_cast<uint32_t>(bitmap.size_bytes),
                          .flags = DmaUnmapFlag::kGetDirtyBitmap,
                          .address = mapping.range.first,
                          .size = mapping.range.length,
                          .bitmap = bitmap});
  if (!bits.ok()) {
    VFIO_USER_RETURN_IF_ERROR(session_->status());
    VFIO_USER_RETURN_IF_ERROR(UnmapAtServer(mapping));
    return Annotate(WithCode(bits.status(), absl::StatusCode::kUnimplemented),
                    "unmapped, but the server does not say what was written");
  }
  VFIO_USER_ASSIGN_OR_RETURN(DirtyPages reported,
                             DirtyPages::Create(mapping.range, bitmap.page_size));
  reported.MarkBitmap(*bits);
  pages.Mark(reported);
  return absl::OkStatus();
}

absl::Status DmaMapper::UnmapAll() {
  VFIO_USER_RETURN_IF_ERROR(session_->status());
  const std::vector<LiveMappings::Entry> all = live_.BeginClaimAll();
  const absl::Cleanup end = [this] { live_.EndClaimAll(); };
  // Whatever comes of it: without a connection there is no access by message either.
  const absl::Cleanup forget = [this, &all] {
    for (const auto& [id, mapping] : all) Forget(id, mapping);
  };
  if (all.empty()) return absl::OkStatus();
  const absl::Status unmapped = session_->UnmapDma({.flags = DmaUnmapFlag::kAll}).status();
  if (unmapped.ok()) return unmapped;
  // A server that does not know the flag is told of each.
  for (const auto& [id, mapping] : all) VFIO_USER_RETURN_IF_ERROR(UnmapAtServer(mapping));
  return absl::OkStatus();
}

void DmaMapper::Forget(LiveMappings::Id id, const LiveMapping& mapping) {
  session_->dma_table().Erase(mapping.range.first);
  live_.Remove(id);
}

}  // namespace vfio_user
