// The requests of session.h that concern regions, one at a time.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/reply_errors.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr std::string_view kRegionInfoReply = "DEVICE_GET_REGION_INFO reply";
constexpr std::string_view kIoFdsReply = "DEVICE_GET_REGION_IO_FDS reply";

// What a reply may be long that is asked for without knowing how long it is: 84 long entries.
constexpr uint32_t kFirstIoFdsBytes = 4096;

absl::Status CheckCount(std::string_view message, size_t bytes, uint32_t max_bytes) {
  if (bytes <= max_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "{} of {} bytes, want at most the {} negotiated for a message", message, bytes, max_bytes));
}

// What was answered about region `index`.
template <typename Reply>
absl::StatusOr<Reply> ParseReply(std::string_view message, std::span<const uint8_t> body,
                                 RegionIndex index) {
  if (body.size() > kMaxRegionInfoBytes) {
    return AboveLimit(message, "size of the body", body.size(), kMaxRegionInfoBytes);
  }
  absl::StatusOr<Reply> reply = Reply::Parse(body);
  if (!reply.ok()) return reply;
  if (reply->index != index) {
    return WrongEcho(message, "index", static_cast<uint32_t>(reply->index),
                     static_cast<uint32_t>(index));
  }
  if (reply->argsz > kMaxRegionInfoBytes) {
    return AboveLimit(message, "argsz", reply->argsz, kMaxRegionInfoBytes);
  }
  return reply;
}

}  // namespace

absl::StatusOr<RegionInfo> Session::GetRegionInfo(RegionIndex index) {
  VFIO_USER_ASSIGN_OR_RETURN(RegionWithFile region, GetRegion(index));
  return std::move(region.info);
}

absl::StatusOr<RegionWithFile> Session::GetRegion(RegionIndex index) {
  VFIO_USER_RETURN_IF_ERROR(CheckRegionExists(index));
  VFIO_USER_ASSIGN_OR_RETURN(RegionWithFile region, AskRegion(index, RegionInfo::kBytes));
  const RegionInfo& info = region.info;
  if (info.argsz <= RegionInfo::kBytes || info.FullSize() > RegionInfo::kBytes) return region;
  return AskRegion(index, info.argsz);
}

absl::Status Session::CheckRegionExists(RegionIndex index) {
  VFIO_USER_ASSIGN_OR_RETURN(const DeviceInfo device, KnownDeviceInfo());
  const auto number = static_cast<uint32_t>(index);
  if (number < device.num_regions) return absl::OkStatus();
  return NoSuch("region", number, device.num_regions);
}

absl::StatusOr<RegionWithFile> Session::AskRegion(RegionIndex index, uint32_t argsz) {
  const std::vector<uint8_t> request = Serialize(RegionInfoRequest{.argsz = argsz, .index = index});
  PendingCall call(ReplyFds::kKept);
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kDeviceGetRegionInfo, {.body = request, .payload = {}, .fds = {}}, call));
  absl::StatusOr<RegionInfo> info = ParseReply<RegionInfo>(kRegionInfoReply, call.body(), index);
  if (!info.ok()) return CloseBroken(info.status());
  // One descriptor is for all parts of the region; more than one are one server's mistake.
  std::vector<UniqueFd> fds = call.TakeFds();
  return RegionWithFile{*std::move(info), fds.empty() ? UniqueFd() : std::move(fds.front())};
}

absl::StatusOr<RegionIoFds> Session::GetRegionIoFds(RegionIndex index) {
  VFIO_USER_RETURN_IF_ERROR(CheckRegionExists(index));
  VFIO_USER_ASSIGN_OR_RETURN(RegionIoFds first, AskIoFds(index, kFirstIoFdsBytes));
  if (first.reply.entries.size() == first.reply.count) return first;
  VFIO_USER_ASSIGN_OR_RETURN(RegionIoFds second, AskIoFds(index, first.reply.argsz));
  if (second.reply.entries.size() == second.reply.count) return second;
  return CloseBroken(absl::InvalidArgumentError(
      fmt::format("{}: no entries, want {} in the {} bytes that were asked for", kIoFdsReply,
                  second.reply.count, first.reply.argsz)));
}

absl::StatusOr<RegionIoFds> Session::AskIoFds(RegionIndex index, uint32_t argsz) {
  const std::vector<uint8_t> request =
      Serialize(RegionIoFdsRequest{.argsz = argsz, .index = index});
  PendingCall call(ReplyFds::kKept);
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kDeviceGetRegionIoFds, {.body = request, .payload = {}, .fds = {}}, call));
  absl::StatusOr<RegionIoFdsReply> reply =
      ParseReply<RegionIoFdsReply>(kIoFdsReply, call.body(), index);
  if (!reply.ok()) return CloseBroken(reply.status());
  std::vector<UniqueFd> fds = call.TakeFds();
  for (const IoFdEntry& entry : reply->entries) {
    if (entry.type != IoFdType::kIoEventFd || entry.fd_index < fds.size()) continue;
    return CloseBroken(absl::InvalidArgumentError(fmt::format(
        "{}: fd_index is {}, and {} descriptors came", kIoFdsReply, entry.fd_index, fds.size())));
  }
  return RegionIoFds{*std::move(reply), std::move(fds)};
}

absl::Status Session::ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> into) {
  VFIO_USER_RETURN_IF_ERROR(CheckCount("REGION_READ", into.size(), max_read_bytes()));
  const RegionAccess access = {
      .offset = offset, .region = index, .count = static_cast<uint32_t>(into.size())};
  const std::array<uint8_t, RegionAccess::kBytes> body = access.ToBytes();
  // Received where it belongs, without a copy in between.
  PendingCall call(RegionAccess::kBytes, {&into, 1});
  VFIO_USER_RETURN_IF_ERROR(
      Call(Command::kRegionRead, {.body = body, .payload = {}, .fds = {}}, call));
  return CheckReadReply(call, access);
}

absl::Status Session::CheckReadReply(const PendingCall& call, const RegionAccess& want) {
  VFIO_USER_RETURN_IF_ERROR(CheckEcho("REGION_READ reply", call.body(), want));
  if (call.scattered_bytes() == want.count) return absl::OkStatus();
  return CloseBroken(absl::InvalidArgumentError(fmt::format(
      "REGION_READ reply: {} bytes of data, want {}", call.scattered_bytes(), want.count)));
}

absl::Status Session::WriteRegion(RegionIndex index, uint64_t offset,
                                  std::span<const std::byte> from) {
  VFIO_USER_RETURN_IF_ERROR(CheckCount("REGION_WRITE", from.size(), max_write_bytes()));
  const RegionAccess access = {
      .offset = offset, .region = index, .count = static_cast<uint32_t>(from.size())};
  const std::array<uint8_t, RegionAccess::kBytes> body = access.ToBytes();
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
