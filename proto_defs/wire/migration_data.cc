#include "proto_defs/wire/migration_data.h"

#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

void AppendData(std::span<const uint8_t> data, WireWriter& out) {
  const auto size = static_cast<uint32_t>(data.size());
  out.Write<uint32_t>(MigDataReadReply::kBytes + size);
  out.Write<uint32_t>(size);
  out.WriteBytes(data);
}

}  // namespace

absl::StatusOr<MigDataReadRequest> MigDataReadRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  MigDataReadRequest out;
  out.argsz = in.Read<uint32_t>();
  out.size = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.Finish("MIG_DATA_READ"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("MIG_DATA_READ", out.argsz, uint64_t{kBytes} + out.size));
  return out;
}

void MigDataReadRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(size);
}

absl::StatusOr<MigDataReadReply> MigDataReadReply::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  in.Skip(sizeof(uint32_t));
  const auto size = in.Read<uint32_t>();
  MigDataReadReply out;
  out.data = in.Take(size);
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("MIG_DATA_READ reply"));
  return out;
}

void MigDataReadReply::AppendTo(WireWriter& out) const { AppendData(data, out); }

absl::StatusOr<MigDataWriteRequest> MigDataWriteRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  const auto argsz = in.Read<uint32_t>();
  const auto size = in.Read<uint32_t>();
  MigDataWriteRequest out;
  out.data = in.Take(size);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("MIG_DATA_WRITE"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("MIG_DATA_WRITE", argsz, uint64_t{kBytes} + size));
  return out;
}

void MigDataWriteRequest::AppendTo(WireWriter& out) const { AppendData(data, out); }

}  // namespace vfio_user
