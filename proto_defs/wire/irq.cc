#include "proto_defs/wire/irq.h"

#include <bit>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/field_check.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr uint32_t kDataMask = 7;
constexpr uint32_t kActionMask = 56;

absl::Status CheckSetIrqsFlags(uint32_t flags) {
  if ((flags & ~(kDataMask | kActionMask)) != 0) {
    return UnknownFlags("DEVICE_SET_IRQS", flags, kDataMask | kActionMask);
  }
  if (!std::has_single_bit(flags & kDataMask) || !std::has_single_bit(flags & kActionMask)) {
    return absl::InvalidArgumentError(
        fmt::format("DEVICE_SET_IRQS: flags are {:#x}, want one bit of {:#x} and one of {:#x}",
                    flags, kDataMask, kActionMask));
  }
  return absl::OkStatus();
}

absl::Status CheckVectors(const SetIrqsRequest& request) {
  if (request.count > UINT32_MAX - request.start) {
    return absl::InvalidArgumentError(fmt::format(
        "DEVICE_SET_IRQS: start {} with count {} passes 2^32 - 1", request.start, request.count));
  }
  const bool disables =
      request.data == IrqData::kNone && request.action == IrqAction::kTrigger && request.start == 0;
  if (request.count == 0 && !disables) {
    return absl::InvalidArgumentError(
        "DEVICE_SET_IRQS: count is 0, want at least 1, or none|trigger and start 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<IrqInfoRequest> IrqInfoRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  IrqInfoRequest out;
  out.argsz = in.Read<uint32_t>();
  in.Skip(sizeof(uint32_t));
  out.index = IrqIndex{in.Read<uint32_t>()};
  in.Skip(sizeof(uint32_t));
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_GET_IRQ_INFO"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DEVICE_GET_IRQ_INFO", out.argsz, kBytes));
  return out;
}

void IrqInfoRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(0);
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(0);
}

absl::StatusOr<IrqInfo> IrqInfo::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  IrqInfo out;
  out.argsz = in.Read<uint32_t>();
  out.flags = IrqInfoFlags::KnownOf(in.Read<uint32_t>(), kKnownIrqInfoFlags);
  out.index = IrqIndex{in.Read<uint32_t>()};
  out.count = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_GET_IRQ_INFO reply"));
  return out;
}

void IrqInfo::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags.ToWire());
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(count);
}

absl::StatusOr<SetIrqsRequest> SetIrqsRequest::Parse(std::span<const uint8_t> body) {
  WireReader in(body);
  SetIrqsRequest out;
  out.argsz = in.Read<uint32_t>();
  const auto flags = in.Read<uint32_t>();
  out.index = IrqIndex{in.Read<uint32_t>()};
  out.start = in.Read<uint32_t>();
  out.count = in.Read<uint32_t>();
  VFIO_USER_RETURN_IF_ERROR(in.FinishPrefix("DEVICE_SET_IRQS"));
  VFIO_USER_RETURN_IF_ERROR(CheckArgsz("DEVICE_SET_IRQS", out.argsz, kBytes));
  VFIO_USER_RETURN_IF_ERROR(CheckSetIrqsFlags(flags));
  out.data = IrqData{flags & kDataMask};
  out.action = IrqAction{flags & kActionMask};
  VFIO_USER_RETURN_IF_ERROR(CheckVectors(out));
  const std::span<const uint8_t> bools = in.Take(out.data == IrqData::kBool ? out.count : 0);
  VFIO_USER_RETURN_IF_ERROR(in.Finish("DEVICE_SET_IRQS"));
  out.bools.assign(bools.begin(), bools.end());
  return out;
}

void SetIrqsRequest::AppendTo(WireWriter& out) const {
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(static_cast<uint32_t>(data) | static_cast<uint32_t>(action));
  out.Write<uint32_t>(static_cast<uint32_t>(index));
  out.Write<uint32_t>(start);
  out.Write<uint32_t>(count);
  out.WriteBytes(bools);
}

}  // namespace vfio_user
