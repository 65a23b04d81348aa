// The requests of session.h: what is sent, and what is looked at in the reply.
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kRegionInfoReply = "DEVICE_GET_REGION_INFO reply";
constexpr std::string_view kIrqInfoReply = "DEVICE_GET_IRQ_INFO reply";

absl::Status WrongEcho(std::string_view reply, std::string_view field, uint64_t got,
                       uint64_t want) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {:#x}, want {:#x} as in the request", reply, field, got, want));
}

absl::Status AboveLimit(std::string_view reply, std::string_view field, uint64_t got,
                        uint64_t limit) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {}, want at most {}", reply, field, got, limit));
}

absl::Status NoSuch(std::string_view what, uint32_t index, uint32_t count) {
  return absl::NotFoundError(
      fmt::format("the device has no {} {}: its {} are numbered from 0", what, index, count));
}

absl::Status CheckCount(std::string_view message, size_t bytes, uint32_t max_bytes) {
  if (bytes <= max_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "{} of {} bytes, want at most the {} negotiated for a message", message, bytes, max_bytes));
}

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

absl::StatusOr<RegionInfo> Session::GetRegionInfo(RegionIndex index) {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo device, KnownDeviceInfo());
  const auto number = static_cast<uint32_t>(index);
  if (number >= device.num_regions) return NoSuch("region", number, device.num_regions);

  VFIO_USER_ASSIGN_OR_RETURN(RegionInfo info, AskRegionInfo(index, RegionInfo::kBytes));
  if (info.argsz <= RegionInfo::kBytes || info.FullSize() > RegionInfo::kBytes) return info;
  return AskRegionInfo(index, info.argsz);
}

absl::StatusOr<RegionInfo> Session::AskRegionInfo(RegionIndex index, uint32_t argsz) {
  const std::vector<uint8_t> request = Serialize(RegionInfoRequest{.argsz = argsz, .index = index});
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kDeviceGetRegionInfo, {.body = request, .payload = {}, .fds = {}}, call));
  if (call.body().size() > kMaxRegionInfoBytes) {
    return CloseBroken(
        AboveLimit(kRegionInfoReply, "size of the body", call.body().size(), kMaxRegionInfoBytes));
  }
  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(call.body());
  if (!info.ok()) return CloseBroken(info.status());
  if (info->index != index) {
    return CloseBroken(WrongEcho(kRegionInfoReply, "index", static_cast<uint32_t>(info->index),
                                 static_cast<uint32_t>(index)));
  }
  if (info->argsz > kMaxRegionInfoBytes) {
    return CloseBroken(AboveLimit(kRegionInfoReply, "argsz", info->argsz, kMaxRegionInfoBytes));
  }
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

// The replies to the next three have no body. Bytes that come all the same mean nothing to us, and
// nothing depends on them.

absl::Status Session::SetIrqs(const SetIrqsRequest& request, std::span<const FdView> fds) {
  const std::vector<uint8_t> body = Serialize(request);
  PendingCall call;
  return Call(Command::kDeviceSetIrqs, {.body = body, .payload = {}, .fds = fds}, call);
}

absl::Status Session::Reset() {
  PendingCall call;
  return Call(Command::kDeviceReset, {}, call);
}

uint64_t Session::NoteBinding(IrqIndex index, uint32_t vector) {
  MutexLock lock(mu_);
  return bindings_[{index, vector}] = next_binding_++;
}

bool Session::IsLastBinding(IrqIndex index, uint32_t vector, uint64_t binding) {
  MutexLock lock(mu_);
  const auto last = bindings_.find({index, vector});
  return last != bindings_.end() && last->second == binding;
}

void Session::ForgetBindings(IrqIndex index) {
  MutexLock lock(mu_);
  absl::erase_if(bindings_, [index](const auto& entry) { return entry.first.first == index; });
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

absl::Status Session::ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> into) {
  VFIO_USER_RETURN_IF_ERROR(CheckCount("REGION_READ", into.size(), max_read_bytes()));
  const RegionAccess access = {
      .offset = offset, .region = index, .count = static_cast<uint32_t>(into.size())};
  const std::vector<uint8_t> body = Serialize(access);
  // Received where it belongs, without a copy in between.
  PendingCall call(RegionAccess::kBytes, {&into, 1});
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kRegionRead, {.body = body, .payload = {}, .fds = {}}, call));
  VFIO_USER_RETURN_IF_ERROR(CheckEcho("REGION_READ reply", call.body(), access));
  if (call.scattered_bytes() != into.size()) {
    return CloseBroken(absl::InvalidArgumentError(fmt::format(
        "REGION_READ reply: {} bytes of data, want {}", call.scattered_bytes(), into.size())));
  }
  return absl::OkStatus();
}

absl::Status Session::WriteRegion(RegionIndex index, uint64_t offset,
                                  std::span<const std::byte> from) {
  VFIO_USER_RETURN_IF_ERROR(CheckCount("REGION_WRITE", from.size(), max_write_bytes()));
  const RegionAccess access = {
      .offset = offset, .region = index, .count = static_cast<uint32_t>(from.size())};
  const std::vector<uint8_t> body = Serialize(access);
  PendingCall call;
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kRegionWrite, {.body = body, .payload = {&from, 1}, .fds = {}}, call));
  return CheckEcho("REGION_WRITE reply", call.body(), access);
}

absl::Status Session::CheckEcho(std::string_view reply, std::span<const uint8_t> body,
                                const RegionAccess& want) {
  const absl::StatusOr<RegionAccess> got = RegionAccess::Parse(body, reply);
  if (!got.ok()) return CloseBroken(got.status());
  if (got->offset != want.offset) {
    return CloseBroken(WrongEcho(reply, "offset", got->offset, want.offset));
  }
  if (got->region != want.region) {
    return CloseBroken(WrongEcho(reply, "region", static_cast<uint32_t>(got->region),
                                 static_cast<uint32_t>(want.region)));
  }
  if (got->count != want.count) {
    return CloseBroken(WrongEcho(reply, "count", got->count, want.count));
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
