#include "proto_defs/wire/region_access.h"

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kWriteMulti = "REGION_WRITE_MULTI";

RegionAccess ReadAccess(WireReader& in) {
  RegionAccess out;
  out.offset = in.Read<uint64_t>();
  out.region = RegionIndex{in.Read<uint32_t>()};
  out.count = in.Read<uint32_t>();
  return out;
}

absl::Status CheckAccess(const RegionAccess& access, std::string_view message) {
  return CheckNoWrap(message, {"offset", access.offset, "count", access.count});
}

}  // namespace

absl::StatusOr<RegionAccess> RegionAccess::Parse(std::span<const uint8_t> body,
                                                 std::string_view message) {
  WireReader in(body);
  const RegionAccess out = ReadAccess(in);
  VFIO_USER_RETURN_IF_ERROR(in.Finish(message));
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(out, message));
  return out;
}

absl::StatusOr<RegionAccess> RegionAccess::ParsePrefix(std::span<const uint8_t> body,
                                                       std::string_view message) {
  WireReader in(body);
  const RegionAccess out = ReadAccess(in);
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(message));
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(out, message));
  return out;
}

void RegionAccess::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(offset);
  out.Write<uint32_t>(static_cast<uint32_t>(region));
  out.Write<uint32_t>(count);
}

std::array<uint8_t, RegionAccess::kBytes> RegionAccess::ToBytes() const {
  std::array<uint8_t, kBytes> bytes;
  std::memcpy(&bytes[0], &offset, sizeof(offset));
  std::memcpy(&bytes[8], &region, sizeof(region));
  std::memcpy(&bytes[12], &count, sizeof(count));
  return bytes;
}

absl::StatusOr<RegionAccessWithData> RegionAccessWithData::Parse(std::span<const uint8_t> body,
                                                                 std::string_view message) {
  RegionAccessWithData out;
  VFIO_USER_ASSIGN_OR_RETURN(out.access, RegionAccess::ParsePrefix(body, message));
  out.data = body.subspan(RegionAccess::kBytes);
  if (out.data.size() != out.access.count) {
    return absl::InvalidArgumentError(fmt::format("{}: data is {} bytes, want count, {}", message,
                                                  out.data.size(), out.access.count));
  }
  return out;
}

void RegionAccessWithData::AppendTo(WireWriter& out) const {
  access.AppendTo(out);
  out.WriteBytes(data);
}

absl::StatusOr<WriteMultiRequest> WriteMultiRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  const auto count = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(kWriteMulti));
  if (count > kMaxWriteMultiEntries) {
    return absl::InvalidArgumentError(fmt::format("{}: wr_cnt is {}, want at most {}", kWriteMulti,
                                                  count, kMaxWriteMultiEntries));
  }
  if (in.remaining() != count * WriteMultiEntry::kBytes) {
    return absl::InvalidArgumentError(fmt::format("{}: {} bytes of entries, want {}", kWriteMulti,
                                                  in.remaining(), count * WriteMultiEntry::kBytes));
  }
  WriteMultiRequest out;
  out.entries.resize(count);
  for (WriteMultiEntry& entry : out.entries) {
    entry.access = ReadAccess(in);
    if (entry.access.count > kWriteMultiDataBytes) {
      return absl::InvalidArgumentError(fmt::format("{}: count is {}, want at most {}", kWriteMulti,
                                                    entry.access.count, kWriteMultiDataBytes));
    }
    VFIO_USER_RETURN_IF_ERROR(CheckAccess(entry.access, kWriteMulti));
    std::ranges::copy(in.Take(kWriteMultiDataBytes), entry.data.begin());
  }
  return out;
}

void WriteMultiRequest::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(entries.size());
  for (const WriteMultiEntry& entry : entries) {
    entry.access.AppendTo(out);
    out.WriteBytes(entry.data);
  }
}

absl::StatusOr<WriteMultiReply> WriteMultiReply::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  WriteMultiReply out;
  out.done = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("REGION_WRITE_MULTI reply"));
  return out;
}

void WriteMultiReply::AppendTo(WireWriter& out) const { out.Write<uint64_t>(done); }

}  // namespace vfio_user
