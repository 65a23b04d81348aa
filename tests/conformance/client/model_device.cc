#include "tests/conformance/client/model_device.h"

#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr RegionFlags kReadWrite = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;

uint64_t RegionBytes(RegionIndex index) {
  if (index == RegionIndex::kBar0) return ModelDevice::kBar0Bytes;
  if (index == RegionIndex::kBar2) return ModelDevice::kBar2Bytes;
  return index == RegionIndex::kConfig ? ModelDevice::kConfigBytes : 0;
}

uint32_t VectorCount(IrqIndex index) {
  if (index == IrqIndex::kMsi) return 0;
  return index == IrqIndex::kMsix ? ModelDevice::kMsixVectors : 1;
}

absl::Status Malformed(std::string_view what) {
  return absl::InternalError(fmt::format("the client sent what no client may: {}", what));
}

absl::Status CheckInside(const RegionAccess& access) {
  const uint64_t size = RegionBytes(access.region);
  if (access.offset <= size && access.count <= size - access.offset) return absl::OkStatus();
  return Malformed(fmt::format("an access to [{:#x}, +{:#x}) of region {}, which has {:#x} bytes",
                               access.offset, access.count, static_cast<uint32_t>(access.region),
                               size));
}

}  // namespace

ModelDevice::ModelDevice() : bar0_(kBar0Bytes) {
  std::memcpy(bar0_.data(), &kFirstRegister, sizeof(kFirstRegister));
}

absl::StatusOr<ModelDevice::Response> ModelDevice::Answer(ScriptedPeer::Message& request) {
  switch (request.header.command) {
    case Command::kDmaMap:
      return MapDma(request);
    case Command::kDmaUnmap:
      return UnmapDma(request);
    case Command::kDeviceGetInfo: {
      VFIO_USER_RETURN_IF_ERROR(DeviceInfoRequest::Parse(request.body).status());
      const DeviceInfo info = {
          .flags = DeviceInfoFlags(DeviceInfoFlag::kReset) | DeviceInfoFlag::kPci,
          .num_regions = kPciRegionCount,
          .num_irqs = kPciIrqCount};
      return Response{.body = Serialize(info)};
    }
    case Command::kDeviceGetRegionInfo:
      return DescribeRegion(request);
    case Command::kDeviceGetIrqInfo:
      return DescribeIrq(request);
    case Command::kDeviceSetIrqs:
      return SetIrqs(request);
    case Command::kRegionRead:
      return ReadRegion(request);
    case Command::kRegionWrite:
      return WriteRegion(request);
    case Command::kDeviceReset:
      if (!request.body.empty()) return Malformed("DEVICE_RESET with a body");
      state_ = MigState::kRunning;
      return Response{};
    case Command::kDeviceFeature:
      return AnswerFeature(request);
    case Command::kMigDataRead:
      return ReadState(request);
    case Command::kMigDataWrite:
      return WriteState(request);
    default:
      return Response{.wire_errno = EINVAL};
  }
}

absl::StatusOr<ModelDevice::Response> ModelDevice::DescribeRegion(
    const ScriptedPeer::Message& request) const {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionInfoRequest asked, RegionInfoRequest::Parse(request.body));
  if (static_cast<uint32_t>(asked.index) >= kPciRegionCount) return Response{.wire_errno = EINVAL};
  const uint64_t size = RegionBytes(asked.index);
  const RegionInfo info = {
      .flags = size > 0 ? kReadWrite : RegionFlags{}, .index = asked.index, .size = size};
  return Response{.body = Serialize(info)};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::DescribeIrq(
    const ScriptedPeer::Message& request) const {
  VFIO_USER_ASSIGN_OR_RETURN(const IrqInfoRequest asked, IrqInfoRequest::Parse(request.body));
  if (static_cast<uint32_t>(asked.index) >= kPciIrqCount) return Response{.wire_errno = EINVAL};
  const IrqInfo info = {
      .flags = IrqInfoFlag::kEventfd, .index = asked.index, .count = VectorCount(asked.index)};
  return Response{.body = Serialize(info)};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::SetIrqs(ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const SetIrqsRequest set, SetIrqsRequest::Parse(request.body));
  const uint32_t vectors = VectorCount(set.index);
  if (set.start > vectors || set.count > vectors - set.start) {
    return Malformed(
        fmt::format("SET_IRQS of vectors [{}, +{}) of {}", set.start, set.count, vectors));
  }
  if (set.data != IrqData::kEventfd || set.action != IrqAction::kTrigger) return Response{};
  if (!request.fds.empty() && request.fds.size() != set.count) {
    return Malformed(
        fmt::format("SET_IRQS of {} vectors with {} descriptors", set.count, request.fds.size()));
  }
  for (uint32_t i = 0; i < set.count; ++i) {
    eventfds_[{set.index, set.start + i}] =
        request.fds.empty() ? UniqueFd() : std::move(request.fds[i]);
  }
  return Response{};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::ReadRegion(
    const ScriptedPeer::Message& request) const {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccess access,
                             RegionAccess::Parse(request.body, "REGION_READ"));
  VFIO_USER_RETURN_IF_ERROR(CheckInside(access));
  Response response = {.body = request.body};
  if (access.region != RegionIndex::kBar0) {
    const uint8_t filler = access.region == RegionIndex::kBar2 ? kBar2Byte : 0;
    response.body.resize(response.body.size() + access.count, filler);
    return response;
  }
  const std::span<const uint8_t> data = std::span(bar0_).subspan(access.offset, access.count);
  response.body.insert(response.body.end(), data.begin(), data.end());
  return response;
}

absl::StatusOr<ModelDevice::Response> ModelDevice::WriteRegion(
    const ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionAccessWithData write,
                             RegionAccessWithData::Parse(request.body, "REGION_WRITE"));
  VFIO_USER_RETURN_IF_ERROR(CheckInside(write.access));
  if (write.access.region == RegionIndex::kBar0) {
    std::ranges::copy(write.data, bar0_.begin() + static_cast<ptrdiff_t>(write.access.offset));
  }
  return Response{.body = Serialize(write.access)};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::MapDma(const ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaMapRequest map, DmaMapRequest::Parse(request.body));
  if (!mappings_.emplace(map.address, map.size).second) return Response{.wire_errno = EEXIST};
  return Response{};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::UnmapDma(const ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const DmaUnmapRequest unmap, DmaUnmapRequest::Parse(request.body));
  const auto found = mappings_.find(unmap.address);
  if (found == mappings_.end() || found->second != unmap.size) {
    return Response{.wire_errno = ENOENT};
  }
  mappings_.erase(found);
  Response response = {.body = request.body};
  if (unmap.bitmap) response.body.resize(response.body.size() + unmap.bitmap->size_bytes);
  return response;
}

absl::StatusOr<ModelDevice::Response> ModelDevice::AnswerFeature(
    const ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(DeviceFeature asked, DeviceFeature::Parse(request.body));
  const bool get = asked.ops == FeatureOps(FeatureOp::kGet);
  if (asked.feature == Feature::kMigration && get) {
    asked.data = Serialize(MigrationFeature{.flags = MigrationFlags(MigrationFlag::kStopCopy) |
                                                     MigrationFlag::kPreCopy});
    return Response{.body = Serialize(asked)};
  }
  if (asked.feature == Feature::kMigDeviceState && get) {
    asked.data = Serialize(MigDeviceState{.state = state_});
    return Response{.body = Serialize(asked)};
  }
  if (asked.ops != FeatureOps(FeatureOp::kSet)) return Response{.wire_errno = EINVAL};
  switch (asked.feature) {
    case Feature::kMigDeviceState:
      return SetState(asked);
    case Feature::kDmaLoggingStart:
    case Feature::kDmaLoggingStop:
      return Response{.body = request.body};
    default:
      return Response{.wire_errno = EINVAL};
  }
}

absl::StatusOr<ModelDevice::Response> ModelDevice::SetState(const DeviceFeature& asked) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigDeviceState wanted, MigDeviceState::Parse(asked.data));
  state_ = wanted.state;
  if (state_ == MigState::kStopCopy) state_left_ = kStateBytes;
  return Response{.body = Serialize(asked)};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::ReadState(const ScriptedPeer::Message& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const MigDataReadRequest asked,
                             MigDataReadRequest::Parse(request.body));
  if (state_ != MigState::kStopCopy) return Response{.wire_errno = EINVAL};
  const std::vector<uint8_t> piece(std::min(asked.size, state_left_), kStateByte);
  state_left_ -= static_cast<uint32_t>(piece.size());
  return Response{.body = Serialize(MigDataReadReply{.data = piece})};
}

absl::StatusOr<ModelDevice::Response> ModelDevice::WriteState(
    const ScriptedPeer::Message& request) const {
  VFIO_USER_RETURN_IF_ERROR(MigDataWriteRequest::Parse(request.body).status());
  if (state_ != MigState::kResuming) return Response{.wire_errno = EINVAL};
  return Response{};
}

absl::Status ModelDevice::Signal(IrqIndex index, uint32_t vector, uint64_t times) const {
  const auto found = eventfds_.find({index, vector});
  if (found == eventfds_.end() || !found->second.valid()) {
    return absl::NotFoundError("the vector is not bound");
  }
  if (::eventfd_write(found->second.get(), times) != 0) return ErrnoStatus(errno, "eventfd_write");
  return absl::OkStatus();
}

}  // namespace vfio_user
