// The requests of session.h: what is sent, and what is looked at in the reply.
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/reply_errors.h"
#include "client/session/session.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kIrqInfoReply = "DEVICE_GET_IRQ_INFO reply";

}  // namespace

absl::StatusOr<DeviceInfo> Session::GetDeviceInfo() {
  const std::vector<uint8_t> request = Serialize(DeviceInfoRequest{});
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kDeviceGetInfo, {.body = request, .payload = {}, .fds = {}}, call));
  const absl::StatusOr<DeviceInfo> info = DeviceInfo::Parse(call.body());
  if (!info.ok()) return CloseBroken(info.status());
  if (info->num_regions > kMaxRegions) {
    return CloseBroken(
        AboveLimit("DEVICE_GET_INFO reply", "num_regions", info->num_regions, kMaxRegions));
  }
  if (info->num_irqs > kMaxIrqTypes) {
    return CloseBroken(
        AboveLimit("DEVICE_GET_INFO reply", "num_irqs", info->num_irqs, kMaxIrqTypes));
  }
  return info;
}

absl::StatusOr<DeviceInfo> Session::KnownDeviceInfo() {
  // In a forked child the lock may belong to a thread that is not there.
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  {
    MutexLock lock(mu_);
    if (device_info_) return *device_info_;
  }
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo info, GetDeviceInfo());
  MutexLock lock(mu_);
  device_info_ = info;
  return info;
}

absl::StatusOr<IrqInfo> Session::GetIrqInfo(IrqIndex index) {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo device, KnownDeviceInfo());
  const auto number = static_cast<uint32_t>(index);
  if (number >= device.num_irqs) return NoSuch("interrupt type", number, device.num_irqs);

  const std::vector<uint8_t> request = Serialize(IrqInfoRequest{.index = index});
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kDeviceGetIrqInfo, {.body = request, .payload = {}, .fds = {}}, call));
  const absl::StatusOr<IrqInfo> info = IrqInfo::Parse(call.body());
  if (!info.ok()) return CloseBroken(info.status());
  if (info->index != index) {
    return CloseBroken(
        WrongEcho(kIrqInfoReply, "index", static_cast<uint32_t>(info->index), number));
  }
  if (info->count > kMaxIrqVectors) {
    return CloseBroken(AboveLimit(kIrqInfoReply, "count", info->count, kMaxIrqVectors));
  }
  return info;
}

// The replies to the next two have no body. Bytes that come all the same mean nothing to us, and
// nothing depends on them.

absl::Status Session::Reset() {
  PendingCall call;
  return Call(Command::kDeviceReset, {}, call);
}

absl::Status Session::MapDma(const DmaMapRequest& request, std::span<const FdView> fds) {
  const std::vector<uint8_t> body = Serialize(request);
  PendingCall call;
  const absl::Status result =
      Call(Command::kDmaMap, {.body = body, .payload = {}, .fds = fds}, call);
  if (absl::IsDeadlineExceeded(result)) return CloseUndecided(Command::kDmaMap, result);
  return result;
}

absl::Status Session::UnmapDma(Iova address, uint64_t size) {
  // Here a child would otherwise close the connection of its parent.
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  const absl::Status result = UnmapDma(DmaUnmapRequest{.address = address, .size = size}).status();
  if (result.ok() || !status().ok()) return result;
  // The server has no such mapping, which is all that was wanted.
  if (ErrnoOf(result) == ENOENT) return absl::OkStatus();
  return CloseUndecided(Command::kDmaUnmap, result);
}

absl::StatusOr<std::vector<uint8_t>> Session::UnmapDma(const DmaUnmapRequest& request) {
  VFIO_USER_RETURN_IF_ERROR(CheckProcess());
  const std::vector<uint8_t> body = Serialize(request);
  PendingCall call;
  const absl::Status result =
      Call(Command::kDmaUnmap, {.body = body, .payload = {}, .fds = {}}, call);
  if (absl::IsDeadlineExceeded(result)) return CloseUndecided(Command::kDmaUnmap, result);
  VFIO_USER_RETURN_IF_ERROR(result);

  absl::StatusOr<DmaUnmapReply> reply = DmaUnmapReply::Parse(call.body());
  if (!reply.ok()) return CloseBroken(reply.status());
  if (!reply->echo) return std::vector<uint8_t>();
  VFIO_USER_RETURN_IF_ERROR(CheckEcho(*reply->echo, request));
  return std::move(reply->bitmap);
}

absl::Status Session::CheckEcho(const DmaUnmapRequest& got, const DmaUnmapRequest& want) {
  constexpr std::string_view kReply = "DMA_UNMAP reply";
  if (got.flags != want.flags) {
    return CloseBroken(WrongEcho(kReply, "flags", got.flags.ToWire(), want.flags.ToWire()));
  }
  if (got.address != want.address) {
    return CloseBroken(WrongEcho(kReply, "address", ToU64(got.address), ToU64(want.address)));
  }
  if (got.size != want.size) return CloseBroken(WrongEcho(kReply, "size", got.size, want.size));
  // Present with the flag, which is the same in both.
  if (!want.bitmap) return absl::OkStatus();
  if (got.bitmap->page_size != want.bitmap->page_size) {
    return CloseBroken(
        WrongEcho(kReply, "page size", got.bitmap->page_size, want.bitmap->page_size));
  }
  if (got.bitmap->size_bytes != want.bitmap->size_bytes) {
    return CloseBroken(
        WrongEcho(kReply, "bitmap size", got.bitmap->size_bytes, want.bitmap->size_bytes));
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
