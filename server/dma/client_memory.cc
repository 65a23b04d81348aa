#include "server/dma/client_memory.h"

#include <cerrno>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/dma/file_io.h"

namespace vfio_user {
namespace {

absl::StatusOr<FileWindow> OpenFileWindow(const DmaMapRequest& request, UniqueFd fd,
                                          FilePool& pool) {
  VFIO_USER_ASSIGN_OR_RETURN(FilePool::File file, pool.Find(fd));
  // What a file is does not change, but how it is open may. A client that maps much sends the same
  // one each time.
  VFIO_USER_RETURN_IF_ERROR(file == nullptr ? CheckFileIo(fd, request.flags)
                                            : CheckFileAccess(fd, request.flags));
  if (request.file_offset > INT64_MAX || request.size > INT64_MAX - request.file_offset) {
    return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: offset {:#x} and size {:#x} go beyond what a "
                                           "file can have",
                                           request.file_offset, request.size));
  }
  if (file == nullptr) {
    VFIO_USER_ASSIGN_OR_RETURN(file, pool.Acquire(std::move(fd)));
  }
  return FileWindow{.file = std::move(file), .offset = request.file_offset};
}

}  // namespace

absl::StatusOr<DirectPath> OpenDirectPath(const DmaMapRequest& request, std::vector<UniqueFd> fds,
                                          FilePool& pool) {
  const bool file_io = request.flags.Has(DmaMapFlag::kFileIo);
  const bool mmap = request.flags.Has(DmaMapFlag::kMmap);
  if (fds.size() > 1) {
    return ErrnoStatus(EINVAL,
                       fmt::format("DMA_MAP: {} descriptors, want at most one", fds.size()));
  }
  if (file_io && mmap) {
    return ErrnoStatus(EINVAL, "DMA_MAP: flags are mmap|file-io, want at most one of them");
  }
  if (fds.empty()) {
    if (!file_io && !mmap) return DirectPath(std::monostate());
    return ErrnoStatus(EINVAL, fmt::format("DMA_MAP: flag {} without a descriptor, want one",
                                           mmap ? "mmap" : "file-io"));
  }
  if (file_io) return OpenFileWindow(request, std::move(fds.front()), pool);
  // A client that knows neither flag sends a descriptor to be mapped.
  return MappedFile::Map(fds.front(), {request.file_offset, request.size}, request.flags);
}

absl::Status ClientMemory::Read(uint64_t offset, std::span<std::byte> into) const {
  if (const auto* const window = std::get_if<FileWindow>(&path_)) {
    return ReadFileAt(window->file->fd, window->offset + offset, into);
  }
  return std::get<MappedFile>(path_).Read(offset, into);
}

absl::Status ClientMemory::Write(uint64_t offset, std::span<const std::byte> from) const {
  if (const auto* const window = std::get_if<FileWindow>(&path_)) {
    return WriteFileAt(window->file->fd, window->offset + offset, from);
  }
  return std::get<MappedFile>(path_).Write(offset, from);
}

}  // namespace vfio_user
