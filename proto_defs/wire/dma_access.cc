#include "proto_defs/wire/dma_access.h"

#include <cstring>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kWriteReply = "DMA_WRITE reply";
constexpr size_t kShortWriteReplyBytes = 12;

absl::Status CheckAccess(const DmaAccess& access, std::string_view message) {
  return CheckNoWrap(message, {"address", ToU64(access.address), "count", access.count});
}

}  // namespace

absl::StatusOr<DmaAccess> DmaAccess::ParsePrefix(std::span<const uint8_t> body,
                                                 std::string_view message) {
  WireReader in(body);
  DmaAccess out;
  out.address = Iova{in.Read<uint64_t>()};
  out.count = in.Read<uint64_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix(message));
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(out, message));
  return out;
}

absl::StatusOr<DmaAccess> DmaAccess::Parse(std::span<const uint8_t> body,
                                           std::string_view message) {
  WireReader in(body);
  in.Skip(kBytes);
  VFIO_USER_RETURN_IF_ERROR(in.Finish(message));
  return ParsePrefix(body, message);
}

absl::StatusOr<DmaAccess> DmaAccess::ParseWriteReply(std::span<const uint8_t> body) {
  if (body.size() != kShortWriteReplyBytes) return Parse(body, kWriteReply);
  WireReader in(body);
  DmaAccess out;
  out.address = Iova{in.Read<uint64_t>()};
  out.count = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(out, kWriteReply));
  return out;
}

void DmaAccess::AppendTo(WireWriter& out) const {
  out.Write<uint64_t>(ToU64(address));
  out.Write<uint64_t>(count);
}

std::array<uint8_t, DmaAccess::kBytes> DmaAccess::ToBytes() const {
  std::array<uint8_t, kBytes> bytes;
  std::memcpy(&bytes[0], &address, sizeof(address));
  std::memcpy(&bytes[8], &count, sizeof(count));
  return bytes;
}

absl::StatusOr<DmaAccessWithData> DmaAccessWithData::Parse(std::span<const uint8_t> body,
                                                           std::string_view message) {
  DmaAccessWithData out;
  VFIO_USER_ASSIGN_OR_RETURN(out.access, DmaAccess::ParsePrefix(body, message));
  out.data = body.subspan(DmaAccess::kBytes);
  if (out.data.size() != out.access.count) {
    return absl::InvalidArgumentError(fmt::format("{}: data is {} bytes, want count, {}", message,
                                                  out.data.size(), out.access.count));
  }
  return out;
}

void DmaAccessWithData::AppendTo(WireWriter& out) const {
  access.AppendTo(out);
  out.WriteBytes(data);
}

}  // namespace vfio_user
