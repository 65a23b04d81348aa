#include "client/region.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "client/session.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

absl::Status CheckAccess(const RegionInfo& info, RegionFlag needed, uint64_t offset, size_t bytes) {
  if (offset > info.size || bytes > info.size - offset) {
    return absl::OutOfRangeError(fmt::format("[{:#x}, +{:#x}) of {}, whose size is {:#x}", offset,
                                             bytes, info.index, info.size));
  }
  if (!info.flags.Has(needed)) {
    return absl::PermissionDeniedError(fmt::format(
        "{} may not be {}", info.index, needed == RegionFlag::kRead ? "read" : "written"));
  }
  return absl::OkStatus();
}

}  // namespace

Region::Region(std::shared_ptr<Session> session, RegionInfo info)
    : session_(std::move(session)), info_(std::move(info)) {}

absl::Status Region::Access(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kRead, offset, into.size()));
  return session_->ReadRegion(info_.index, offset, into);
}

absl::Status Region::Access(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kWrite, offset, from.size()));
  return session_->WriteRegion(info_.index, offset, from);
}

absl::Status Region::ReadBlock(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kRead, offset, into.size()));
  const size_t most = session_->max_read_bytes();
  for (size_t done = 0; done < into.size(); done += most) {
    const std::span<std::byte> piece = into.subspan(done, std::min(most, into.size() - done));
    VFIO_USER_RETURN_IF_ERROR(session_->ReadRegion(info_.index, offset + done, piece));
  }
  return absl::OkStatus();
}

absl::Status Region::WriteBlock(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kWrite, offset, from.size()));
  const size_t most = session_->max_write_bytes();
  for (size_t done = 0; done < from.size(); done += most) {
    const std::span<const std::byte> piece = from.subspan(done, std::min(most, from.size() - done));
    VFIO_USER_RETURN_IF_ERROR(session_->WriteRegion(info_.index, offset + done, piece));
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
