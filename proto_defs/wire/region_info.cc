#include "proto_defs/wire/region_info.h"

#include <cstddef>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kReply = "DEVICE_GET_REGION_INFO reply";
constexpr uint16_t kSparseId = 1;
constexpr uint16_t kTypeId = 2;
constexpr uint16_t kVersion = 1;
constexpr uint32_t kCapHeaderBytes = 8;
constexpr uint32_t kSparseFixedBytes = 16;  // Capability header, number of areas, reserved.
constexpr uint32_t kAreaBytes = 16;
constexpr uint32_t kTypeBytes = 16;

uint32_t SparseBytes(const std::vector<SparseArea>& areas) {
  return kSparseFixedBytes + static_cast<uint32_t>(areas.size()) * kAreaBytes;
}

absl::Status ParseSparse(WireReader& in, RegionInfo& info) {
  const auto count = in.Read<uint32_t>();
  in.Skip(sizeof(uint32_t));
  // Before anything is allocated: the count is the peer's.
  if (count > in.remaining() / kAreaBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} sparse areas in {} bytes, want at most {}", kReply, count,
                    in.remaining(), in.remaining() / kAreaBytes));
  }
  std::vector<SparseArea> areas(count);
  for (SparseArea& area : areas) {
    area.offset = in.Read<uint64_t>();
    area.size = in.Read<uint64_t>();
    if (area.offset > info.size || area.size > info.size - area.offset) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: sparse area at {:#x} of size {:#x}, want it inside a region of size {:#x}", kReply,
          area.offset, area.size, info.size));
    }
  }
  info.sparse_areas = std::move(areas);
  return absl::OkStatus();
}

void ParseType(WireReader& in, RegionInfo& info) {
  info.type.emplace();
  info.type->type = in.Read<uint32_t>();
  info.type->subtype = in.Read<uint32_t>();
}

// What follows a capability's header, for the ids that are known.
absl::Status ParseKnownCap(uint16_t id, WireReader& in, RegionInfo& info) {
  if (id == kSparseId ? info.sparse_areas.has_value() : info.type.has_value()) {
    return absl::InvalidArgumentError(fmt::format("{}: capability {} is there twice", kReply, id));
  }
  if (id == kSparseId) return ParseSparse(in, info);
  ParseType(in, info);
  return absl::OkStatus();
}

// Reads the capability that starts at `offset` and returns where the next one does; 0 for none.
absl::StatusOr<uint32_t> ParseCap(std::span<const uint8_t> body, uint32_t offset,
                                  RegionInfo& info) {
  if (offset < RegionInfo::kBytes || offset > body.size()) {
    return absl::InvalidArgumentError(fmt::format("{}: capability at {}, want {} to {}", kReply,
                                                  offset, RegionInfo::kBytes, body.size()));
  }
  WireReader in(body.subspan(offset));
  const auto id = in.Read<uint16_t>();
  const auto version = in.Read<uint16_t>();
  const auto next = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(fmt::format("{}: capability at {}", kReply, offset)));
  if (id != kSparseId && id != kTypeId) return next;
  // Not skipped: a region whose sparse areas were not understood would pass for one that may be
  // mapped whole.
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        fmt::format("{}: capability {} has version {}, want {}", kReply, id, version, kVersion));
  }
  VFIO_USER_RETURN_IF_ERROR(ParseKnownCap(id, in, info));
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(fmt::format("{}: capability {}", kReply, id)));
  return next;
}

absl::Status ParseCaps(std::span<const uint8_t> body, uint32_t first, RegionInfo& info) {
  // Headers do not overlap, so a chain with more of them than the body holds goes in circles.
  size_t left = (body.size() - RegionInfo::kBytes) / kCapHeaderBytes + 1;
  for (uint32_t offset = first; offset != 0; --left) {
    if (left == 0) {
      return absl::InvalidArgumentError(
          fmt::format("{}: the chain of capabilities does not end", kReply));
    }
    VFIO_USER_ASSIGN_OR_RETURN(offset, ParseCap(body, offset, info));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RegionInfoRequest> RegionInfoRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  RegionInfoRequest out;
  out.argsz = in.Read<uint32_t>();
  in.Skip(sizeof(uint32_t));
  out.index = RegionIndex{in.Read<uint32_t>()};
  in.Skip(kBytes - 3 * sizeof(uint32_t));
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_GET_REGION_INFO"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DEVICE_GET_REGION_INFO", out.argsz, kBytes));
  return out;
}

void RegionInfoRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.WriteZeros(sizeof(uint32_t));
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.WriteZeros(kBytes - 3 * sizeof(uint32_t));
}

absl::StatusOr<RegionInfo> RegionInfo::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  RegionInfo out;
  out.argsz = in.Read<uint32_t>();
  out.flags = RegionFlags::KnownOf(in.Read<uint32_t>(), kKnownRegionFlags);
  out.index = RegionIndex{in.Read<uint32_t>()};
  const auto cap_offset = in.Read<uint32_t>();
  out.size = in.Read<uint64_t>();
  out.file_offset = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kReply));
  if (out.flags.Has(RegionFlag::kMmap)) {
    VFIO_USER_RETURN_IF_ERROR(CheckNoWrap(kReply, {"offset", out.file_offset, "size", out.size}));
  }
  if (out.flags.Has(RegionFlag::kCaps)) {
    VFIO_USER_RETURN_IF_ERROR(ParseCaps(body, cap_offset, out));
  }
  return out;
}

uint32_t RegionInfo::FullSize() const {
  return kBytes + (sparse_areas ? SparseBytes(*sparse_areas) : 0) + (type ? kTypeBytes : 0);
}

void RegionInfo::AppendTo(WireWriter& out, uint32_t max_bytes) const {
  const uint32_t full = FullSize();
  const bool caps = full > kBytes && full <= max_bytes;
  const uint32_t plain_flags = flags.ToWire() & ~static_cast<uint32_t>(RegionFlag::kCaps);
  out.Write<uint32_t>(full);
  out.Write<uint32_t>(plain_flags | (caps ? static_cast<uint32_t>(RegionFlag::kCaps) : 0));
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(caps ? kBytes : 0);
  out.Write<uint64_t>(size);
  out.Write<uint64_t>(file_offset);
  if (!caps) return;
  if (sparse_areas) {
    out.Write<uint16_t>(kSparseId);
    out.Write<uint16_t>(kVersion);
    out.Write<uint32_t>(type ? kBytes + SparseBytes(*sparse_areas) : 0);
    out.Write<uint32_t>(static_cast<uint32_t>(sparse_areas->size()));
    out.WriteZeros(sizeof(uint32_t));
    for (const SparseArea& area : *sparse_areas) {
      out.Write<uint64_t>(area.offset);
      out.Write<uint64_t>(area.size);
    }
  }
  if (type) {
    out.Write<uint16_t>(kTypeId);
    out.Write<uint16_t>(kVersion);
    out.Write<uint32_t>(0);
    out.Write<uint32_t>(type->type);
    out.Write<uint32_t>(type->subtype);
  }
}

}  // namespace vfio_user
