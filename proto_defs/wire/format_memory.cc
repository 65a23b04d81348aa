// Messages about memory: DMA, regions, migration data.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "fmt/format.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/format_internal.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"

namespace vfio_user {

std::string DataText(std::span<const uint8_t> data) {
  if (data.empty()) return "data none";
  std::string out = "data ";
  for (const uint8_t byte : data.first(std::min(data.size(), kShownDataBytes))) {
    out += fmt::format("{:02x}", byte);
  }
  if (data.size() > kShownDataBytes) out += fmt::format("... ({} bytes)", data.size());
  return out;
}

std::string ToText(const DirtyBitmapHeader& header) {
  return fmt::format("page size {:#x} bitmap bytes {}", header.page_size, header.size_bytes);
}

std::string ToText(const DmaMapRequest& request) {
  return fmt::format("DMA_MAP address {} size {:#x} offset {:#x} flags {}", request.address,
                     request.size, request.file_offset, request.flags);
}

std::string ToText(const DmaUnmapRequest& request) {
  std::string out = fmt::format("DMA_UNMAP address {} size {:#x} flags {}", request.address,
                                request.size, request.flags);
  if (request.bitmap) out += fmt::format(" {}", *request.bitmap);
  return out;
}

std::string ToText(const DmaUnmapReply& reply) {
  if (!reply.echo) return "DMA_UNMAP reply without a body";
  std::string out = fmt::format("DMA_UNMAP reply address {} size {:#x} flags {}",
                                reply.echo->address, reply.echo->size, reply.echo->flags);
  if (reply.echo->bitmap) {
    out += fmt::format(" {} {}", *reply.echo->bitmap, DataText(reply.bitmap));
  }
  return out;
}

std::string ToText(const DmaAccess& access) {
  return fmt::format("address {} count {}", access.address, access.count);
}

std::string ToText(const DmaAccessWithData& access) {
  return fmt::format("{} {}", access.access, DataText(access.data));
}

std::string ToText(const RegionAccess& access) {
  return fmt::format("region {} offset {:#x} count {}", access.region, access.offset, access.count);
}

std::string ToText(const RegionAccessWithData& access) {
  return fmt::format("{} {}", access.access, DataText(access.data));
}

std::string ToText(const WriteMultiEntry& entry) {
  // The count may be above the array's size in an entry that no Parse made.
  const size_t count = std::min<size_t>(entry.access.count, entry.data.size());
  return fmt::format("{} {}", entry.access, DataText(std::span(entry.data).first(count)));
}

std::string ToText(const WriteMultiRequest& request) {
  return fmt::format("REGION_WRITE_MULTI {}",
                     ListText(std::span<const WriteMultiEntry>(request.entries)));
}

std::string ToText(const WriteMultiReply& reply) {
  return fmt::format("REGION_WRITE_MULTI reply done {}", reply.done);
}

std::string ToText(const MigDataReadRequest& request) {
  return fmt::format("MIG_DATA_READ argsz {} size {}", request.argsz, request.size);
}

std::string ToText(const MigDataReadReply& reply) {
  return fmt::format("MIG_DATA_READ reply size {} {}", reply.data.size(), DataText(reply.data));
}

std::string ToText(const MigDataWriteRequest& request) {
  return fmt::format("MIG_DATA_WRITE size {} {}", request.data.size(), DataText(request.data));
}

}  // namespace vfio_user
