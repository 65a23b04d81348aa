#include "server/devices/fake_device_host.h"

#include <algorithm>
#include <cerrno>

#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {

absl::Status FakeDmaSpace::Read(std::span<const DmaReadPiece> pieces, DmaAccessPath) {
  before_transfer_();
  for (const DmaReadPiece& piece : pieces) {
    VFIO_USER_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                               Find(piece.from, piece.into.size(), FakeAccess::kWriteOnly));
    std::ranges::copy(memory, piece.into.begin());
  }
  return absl::OkStatus();
}

absl::Status FakeDmaSpace::Write(std::span<const DmaWritePiece> pieces, DmaAccessPath) {
  before_transfer_();
  for (const DmaWritePiece& piece : pieces) {
    VFIO_USER_ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                               Find(piece.to, piece.from.size(), FakeAccess::kReadOnly));
    std::ranges::copy(piece.from, memory.begin());
    writes_.push_back(piece.to);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::span<std::byte>> FakeDmaSpace::Find(Iova at, size_t bytes,
                                                        FakeAccess forbidden) {
  for (const Mapping& mapping : mappings_) {
    if (at < mapping.at) continue;
    const uint64_t offset = ToU64(at) - ToU64(mapping.at);
    if (offset > mapping.memory.size() || bytes > mapping.memory.size() - offset) continue;
    if (mapping.access == forbidden) return ErrnoStatus(EACCES, "fake memory");
    return mapping.memory.subspan(offset, bytes);
  }
  return ErrnoStatus(EFAULT, "fake memory");
}

int FakeDeviceHost::RunPosted() {
  int count = 0;
  while (!posted_.empty()) {
    const std::function<void()> work = std::move(posted_.front());
    posted_.pop_front();
    work();
    ++count;
  }
  return count;
}

}  // namespace vfio_user
