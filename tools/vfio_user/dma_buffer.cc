#include "tools/vfio_user/dma_buffer.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"

namespace vfio_user {
namespace {

absl::Status NoMemory(size_t bytes) {
  return absl::ResourceExhaustedError(
      fmt::format("no memory for a buffer of {} bytes; use less data at a time", bytes));
}

}  // namespace

void DmaBuffer::Release::operator()(std::byte* memory) const {
  if (mapped_bytes != 0) {
    ::munmap(memory, mapped_bytes);
  } else {
    std::free(memory);
  }
}

absl::StatusOr<DmaBuffer> DmaBuffer::Create(const Client& client, size_t bytes, DmaPath path) {
  const size_t size = std::max<size_t>(bytes, 1);
  return path == DmaPath::kMmap ? CreateMemfd(client, size) : CreateMalloc(client, size, path);
}

std::string_view DmaBuffer::MemoryName(DmaPath path) {
  return path == DmaPath::kMmap ? "memfd" : "malloc";
}

absl::StatusOr<DmaBuffer> DmaBuffer::CreateMalloc(const Client& client, size_t bytes,
                                                  DmaPath path) {
  // calloc() so that large memory stays untouched, and with it not resident, until it is used.
  Memory memory(static_cast<std::byte*>(std::calloc(bytes, 1)), Release{.mapped_bytes = 0});
  if (memory == nullptr) return NoMemory(bytes);
  VFIO_USER_ASSIGN_OR_RETURN(DmaMapping mapping,
                             client.Map(std::span(memory.get(), bytes), MapOptions{.path = path}));
  return DmaBuffer(std::move(memory), bytes, std::move(mapping));
}

absl::StatusOr<DmaBuffer> DmaBuffer::CreateMemfd(const Client& client, size_t bytes) {
  const UniqueFd fd(::memfd_create("vfio-user buffer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return ErrnoStatus(errno, "memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return NoMemory(bytes);
  // A server copies plainly what cannot be taken away, and has the kernel copy what can.
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) return ErrnoStatus(errno, "F_ADD_SEALS");
  void* const address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (address == MAP_FAILED) return NoMemory(bytes);
  Memory memory(static_cast<std::byte*>(address), Release{.mapped_bytes = bytes});
  const FileMemory file = {.fd = fd.get(), .offset = 0, .memory = {memory.get(), bytes}};
  VFIO_USER_ASSIGN_OR_RETURN(DmaMapping mapping,
                             client.MapFile(file, MapOptions{.path = DmaPath::kMmap}));
  return DmaBuffer(std::move(memory), bytes, std::move(mapping));
}

}  // namespace vfio_user
