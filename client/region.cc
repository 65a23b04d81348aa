#include "client/region.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/region_mapping.h"
#include "client/session/session.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {
namespace {

// The most that are opened at once. Each holds a descriptor, of which a process has 1,024 by
// default; a list can have 1,600 entries.
constexpr size_t kMaxDoorbells = 256;

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

Region::Region(std::shared_ptr<Session> session, RegionInfo info,
               std::shared_ptr<const RegionMapping> mapping)
    : session_(std::move(session)), info_(std::move(info)), mapping_(std::move(mapping)) {
  mapping_status_ = mapping_ == nullptr
                        ? absl::FailedPreconditionError("opened to be accessed by messages")
                        : mapping_->status();
  if (mapping_ != nullptr && mapping_->areas().empty()) mapping_ = nullptr;
}

absl::Status Region::Access(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kRead, offset, into.size()));
  if (mapping_ != nullptr) return ReadMapped(offset, into);
  return session_->ReadRegion(info_.index, offset, into);
}

absl::Status Region::Access(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kWrite, offset, from.size()));
  if (mapping_ != nullptr) return WriteMapped(offset, from);
  return session_->WriteRegion(info_.index, offset, from);
}

absl::Status Region::ReadBlock(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kRead, offset, into.size()));
  return mapping_ != nullptr ? ReadMapped(offset, into) : ReadMessages(offset, into);
}

absl::Status Region::WriteBlock(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kWrite, offset, from.size()));
  return mapping_ != nullptr ? WriteMapped(offset, from) : WriteMessages(offset, from);
}

absl::Status Region::PostBytes(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kWrite, offset, from.size()));
  if (Touches(offset, from.size())) return WriteMapped(offset, from);
  return session_->PostRegionWrite(info_.index, offset, from);
}

absl::Status Region::Fence() const { return session_->Fence(); }

absl::Status Region::ReadMany(std::span<const RegionRead> reads) const {
  for (const RegionRead& read : reads) {
    VFIO_USER_RETURN_IF_ERROR(CheckAccess(info_, RegionFlag::kRead, read.offset, read.into.size()));
  }
  // Those in a row that go by messages are made together; what is mapped keeps its place.
  while (!reads.empty()) {
    const auto mapped = std::ranges::find_if(reads, [this](const RegionRead& read) {
      return read.into.empty() || Touches(read.offset, read.into.size());
    });
    const auto before = static_cast<size_t>(mapped - reads.begin());
    if (before > 0) {
      VFIO_USER_RETURN_IF_ERROR(session_->ReadRegionMany(info_.index, reads.first(before)));
    } else if (!reads.front().into.empty()) {
      VFIO_USER_RETURN_IF_ERROR(ReadMapped(reads.front().offset, reads.front().into));
    }
    reads = reads.subspan(std::max<size_t>(before, 1));
  }
  return absl::OkStatus();
}

absl::Status Region::WriteMany(std::span<const RegionWrite> writes) const {
  for (const RegionWrite& write : writes) {
    VFIO_USER_RETURN_IF_ERROR(
        CheckAccess(info_, RegionFlag::kWrite, write.offset, write.from.size()));
  }
  while (!writes.empty()) {
    const auto mapped = std::ranges::find_if(writes, [this](const RegionWrite& write) {
      return write.from.empty() || Touches(write.offset, write.from.size());
    });
    const auto before = static_cast<size_t>(mapped - writes.begin());
    if (before > 0) {
      VFIO_USER_RETURN_IF_ERROR(session_->WriteRegionMany(info_.index, writes.first(before)));
    } else if (!writes.front().from.empty()) {
      VFIO_USER_RETURN_IF_ERROR(WriteMapped(writes.front().offset, writes.front().from));
    }
    writes = writes.subspan(std::max<size_t>(before, 1));
  }
  return absl::OkStatus();
}

absl::Status Region::ReadMapped(uint64_t offset, std::span<std::byte> into) const {
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  while (!into.empty()) {
    const RegionMapping::Piece piece = mapping_->FirstPiece(offset, into.size());
    const std::span<std::byte> some = into.first(piece.length);
    absl::Status read;
    if (piece.at != nullptr) read = mapping_->Read(piece.at, some);
    if (piece.at == nullptr || ErrnoOf(read) == EFAULT) read = ReadMessages(offset, some);
    VFIO_USER_RETURN_IF_ERROR(read);
    offset += piece.length;
    into = into.subspan(piece.length);
  }
  return absl::OkStatus();
}

absl::Status Region::WriteMapped(uint64_t offset, std::span<const std::byte> from) const {
  VFIO_USER_RETURN_IF_ERROR(session_->CheckProcess());
  while (!from.empty()) {
    const RegionMapping::Piece piece = mapping_->FirstPiece(offset, from.size());
    const std::span<const std::byte> some = from.first(piece.length);
    absl::Status written;
    if (piece.at != nullptr) written = mapping_->Write(some, piece.at);
    if (piece.at == nullptr || ErrnoOf(written) == EFAULT) written = WriteMessages(offset, some);
    VFIO_USER_RETURN_IF_ERROR(written);
    offset += piece.length;
    from = from.subspan(piece.length);
  }
  return absl::OkStatus();
}

absl::Status Region::ReadMessages(uint64_t offset, std::span<std::byte> into) const {
  const size_t most = session_->max_read_bytes();
  for (size_t done = 0; done < into.size(); done += most) {
    const std::span<std::byte> piece = into.subspan(done, std::min(most, into.size() - done));
    VFIO_USER_RETURN_IF_ERROR(session_->ReadRegion(info_.index, offset + done, piece));
  }
  return absl::OkStatus();
}

absl::Status Region::WriteMessages(uint64_t offset, std::span<const std::byte> from) const {
  const size_t most = session_->max_write_bytes();
  for (size_t done = 0; done < from.size(); done += most) {
    const std::span<const std::byte> piece = from.subspan(done, std::min(most, from.size() - done));
    VFIO_USER_RETURN_IF_ERROR(session_->WriteRegion(info_.index, offset + done, piece));
  }
  return absl::OkStatus();
}

bool Region::Touches(uint64_t offset, size_t length) const {
  if (mapping_ == nullptr) return false;
  const RegionMapping::Piece piece = mapping_->FirstPiece(offset, length);
  return piece.at != nullptr || piece.length < length;
}

absl::StatusOr<std::vector<Doorbell>> Region::OpenDoorbells() const {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionIoFds io_fds, session_->GetRegionIoFds(info_.index));
  std::vector<Doorbell> doorbells;
  for (const IoFdEntry& entry : io_fds.reply.entries) {
    // What is in the specification besides, an ioregionfd, no kernel has.
    if (entry.type != IoFdType::kIoEventFd) continue;
    // The server says how many there are, and each holds a descriptor of ours.
    if (doorbells.size() == kMaxDoorbells) {
      return absl::ResourceExhaustedError(
          fmt::format("{} has more than {} doorbells: open those that are wanted one by one",
                      info_.index, kMaxDoorbells));
    }
    VFIO_USER_ASSIGN_OR_RETURN(Doorbell doorbell, NewDoorbell(io_fds, entry));
    doorbells.push_back(std::move(doorbell));
  }
  if (doorbells.empty()) {
    return absl::NotFoundError(fmt::format("{} has no doorbells", info_.index));
  }
  return doorbells;
}

absl::StatusOr<Doorbell> Region::OpenDoorbell(uint64_t offset) const {
  VFIO_USER_ASSIGN_OR_RETURN(const RegionIoFds io_fds, session_->GetRegionIoFds(info_.index));
  const auto found = std::ranges::find_if(io_fds.reply.entries, [offset](const IoFdEntry& entry) {
    return entry.type == IoFdType::kIoEventFd && entry.offset == offset;
  });
  if (found != io_fds.reply.entries.end()) return NewDoorbell(io_fds, *found);
  return absl::NotFoundError(fmt::format("{} has no doorbell at {:#x}", info_.index, offset));
}

absl::StatusOr<Doorbell> Region::NewDoorbell(const RegionIoFds& io_fds,
                                             const IoFdEntry& entry) const {
  // Several places may share one descriptor, which the session has found to be there.
  UniqueFd eventfd(::fcntl(io_fds.fds[entry.fd_index].get(), F_DUPFD_CLOEXEC, 0));
  if (!eventfd.valid()) return ErrnoStatus(errno, "duplicating a doorbell's descriptor");
  return Doorbell::Create(session_, std::move(eventfd), entry);
}

std::vector<SparseArea> Region::mapped_areas() const {
  return mapping_ == nullptr ? std::vector<SparseArea>() : mapping_->areas();
}

absl::Status Region::mapping_status() const { return mapping_status_; }

std::span<std::byte> Region::Mapping(uint64_t offset, size_t length) const {
  if (mapping_ == nullptr || !mapping_->sealed() || length == 0) return {};
  if (!session_->CheckProcess().ok()) return {};
  if (offset > info_.size || length > info_.size - offset) return {};
  const RegionMapping::Piece piece = mapping_->FirstPiece(offset, length);
  if (piece.at == nullptr || piece.length != length) return {};
  return {piece.at, length};
}

}  // namespace vfio_user
