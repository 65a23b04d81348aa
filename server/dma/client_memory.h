// A range of the client's memory, as one DMA_MAP lent it, and the direct way to it.
#ifndef SERVER_DMA_CLIENT_MEMORY_H_
#define SERVER_DMA_CLIENT_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "server/dma/file_pool.h"
#include "server/dma/mapped_file.h"

namespace vfio_user {

// A descriptor, and where in its file the memory begins.
struct FileWindow {
  FilePool::File file;
  uint64_t offset = 0;  // In bytes.
};

// None, a mapping, or file I/O.
using DirectPath = std::variant<std::monostate, MappedFile, FileWindow>;

// The way that `request` asks for. `fds` are what came with it; a descriptor that is kept comes
// from `pool`. InvalidArgument for more than one, for none where a flag wants one, and for one that
// does not suit; else see CheckFileIo and MappedFile::Map. `request` is one that Parse accepted.
absl::StatusOr<DirectPath> OpenDirectPath(const DmaMapRequest& request, std::vector<UniqueFd> fds,
                                          FilePool& pool);

// Shared by who finds it and who is using it: once it is no longer to be found, the last user
// releases it. Thread-safe, but for NotifyWhenReleased.
class ClientMemory {
 public:
  // `connection` is released after the memory's descriptor or mapping.
  ClientMemory(DmaMapFlags access, DirectPath path, std::shared_ptr<void> connection)
      : connection_(std::move(connection)), access_(access), path_(std::move(path)) {}
  ClientMemory(const ClientMemory&) = delete;
  ClientMemory& operator=(const ClientMemory&) = delete;

  const std::shared_ptr<void>& connection() const { return connection_; }
  bool Allows(DmaMapFlag direction) const { return access_.Has(direction); }
  bool direct() const { return !std::holds_alternative<std::monostate>(path_); }

  // nullptr for what is reached otherwise.
  const FileWindow* file_window() const { return std::get_if<FileWindow>(&path_); }

  // See MappedFile; nullptr for what is no mapped file.
  std::byte* sealed_data() const {
    const auto* const mapped = std::get_if<MappedFile>(&path_);
    return mapped == nullptr ? nullptr : mapped->sealed_data();
  }

  // `offset` is into the range, all of the bytes are in it, and it is direct. See file_io.h and
  // MappedFile for errors.
  absl::Status Read(uint64_t offset, std::span<std::byte> into) const;
  absl::Status Write(uint64_t offset, std::span<const std::byte> from) const;

  // `notice` is released when the memory has been. Once, by who took it out of the table.
  void NotifyWhenReleased(std::shared_ptr<void> notice) { notice_ = std::move(notice); }

 private:
  // Destroyed from the last to the first.
  const std::shared_ptr<void> connection_;
  std::shared_ptr<void> notice_;
  const DmaMapFlags access_;
  const DirectPath path_;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_CLIENT_MEMORY_H_
