#include "proto_defs/wire/region_io_fds.h"

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kRequest = "DEVICE_GET_REGION_IO_FDS";
constexpr std::string_view kReply = "DEVICE_GET_REGION_IO_FDS reply";

IoFdEntry ReadEntry(WireReader& in, uint32_t entry_bytes) {
  IoFdEntry out;
  out.offset = in.Read<uint64_t>();
  out.size = in.Read<uint64_t>();
  out.fd_index = in.Read<uint32_t>();
  out.type = IoFdType{in.Read<uint32_t>()};
  out.flags = in.Read<uint32_t>();
  const auto shadow_fd_index = in.Read<uint32_t>();
  if (entry_bytes == IoFdEntry::kLongBytes) {
    out.shadow = ShadowMemory{.fd_index = shadow_fd_index, .offset = in.Read<uint64_t>()};
  }
  out.value = in.Read<uint64_t>();
  return out;
}

// Bytes of one entry, for a reply that says that it has `count` of them in `argsz` bytes.
absl::StatusOr<uint32_t> EntryBytes(uint32_t argsz, uint32_t count) {
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz(kReply, argsz, RegionIoFdsReply::kBytes));
  if (count == 0) {
    return absl::InvalidArgumentError(fmt::format("{}: entries with a count of 0", kReply));
  }
  const uint32_t entry_bytes = (argsz - RegionIoFdsReply::kBytes) / count;
  if (entry_bytes != IoFdEntry::kBytes && entry_bytes != IoFdEntry::kLongBytes) {
    return absl::InvalidArgumentError(
        fmt::format("{}: argsz {} and count {} make entries of {} bytes, want {} or {}", kReply,
                    argsz, count, entry_bytes, IoFdEntry::kBytes, IoFdEntry::kLongBytes));
  }
  return entry_bytes;
}

}  // namespace

absl::StatusOr<RegionIoFdsRequest> RegionIoFdsRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  RegionIoFdsRequest out;
  out.argsz = in.Read<uint32_t>();
  const auto flags = in.Read<uint32_t>();
  out.index = RegionIndex{in.Read<uint32_t>()};
  const auto count = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish(kRequest));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz(kRequest, out.argsz, kBytes));
  if (flags != 0) return UnknownFlags(kRequest, flags, 0);
  if (count != 0) {
    return absl::InvalidArgumentError(fmt::format("{}: count is {}, want 0", kRequest, count));
  }
  return out;
}

void RegionIoFdsRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(0);
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(0);
}

absl::StatusOr<RegionIoFdsReply> RegionIoFdsReply::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  RegionIoFdsReply out;
  out.argsz = in.Read<uint32_t>();
  in.Skip(sizeof(uint32_t));
  out.index = RegionIndex{in.Read<uint32_t>()};
  out.count = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kReply));
  if (in.remaining() == 0) return out;
  VFIO_USER_ASSIGN_OR_RETURN(const uint32_t entry_bytes, EntryBytes(out.argsz, out.count));
  const uint32_t want = out.count * entry_bytes;  // Does not wrap: it is at most argsz.
  if (in.remaining() != want) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} bytes of entries, want {}", kReply, in.remaining(), want));
  }
  out.entries.reserve(out.count);
  for (uint32_t i = 0; i < out.count; ++i) {
    out.entries.push_back(ReadEntry(in, entry_bytes));
    const IoFdEntry& entry = out.entries.back();
    VFIO_USER_RETURN_IF_ERROR(CheckNoWrap(kReply, {"offset", entry.offset, "size", entry.size}));
  }
  return out;
}

uint32_t RegionIoFdsReply::FullSize() const {
  return kBytes + static_cast<uint32_t>(entries.size()) * IoFdEntry::kBytes;
}

void RegionIoFdsReply::AppendTo(WireWriter& out, uint32_t max_bytes) const {
  const uint32_t full = FullSize();
  out.Write<uint32_t>(full);
  out.Write<uint32_t>(0);
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(static_cast<uint32_t>(entries.size()));
  if (full > max_bytes) return;
  for (const IoFdEntry& entry : entries) {
    out.Write<uint64_t>(entry.offset);
    out.Write<uint64_t>(entry.size);
    out.Write<uint32_t>(entry.fd_index);
    out.Write<uint32_t>(static_cast<uint32_t>(entry.type));
    out.Write<uint32_t>(entry.flags);
    out.WriteZeros(sizeof(uint32_t));
    out.Write<uint64_t>(entry.value);
  }
}

}  // namespace vfio_user
