#include "tests/conformance/server/dma_requests.h"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "proto_defs/wire/command.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {

WireRequest MapRequest(const MapNumbers& numbers, std::vector<FdView> fds) {
  WireRequest request = {.command = Command::kDmaMap, .body = {}, .fds = std::move(fds)};
  WireWriter out(request.body);
  out.Write<uint32_t>(numbers.argsz);
  out.Write<uint32_t>(numbers.flags);
  out.Write<uint64_t>(numbers.offset);
  out.Write<uint64_t>(numbers.address);
  out.Write<uint64_t>(numbers.size);
  return request;
}

WireRequest UnmapRequest(const UnmapNumbers& numbers) {
  WireRequest request = {.command = Command::kDmaUnmap};
  WireWriter out(request.body);
  out.Write<uint32_t>(numbers.argsz);
  out.Write<uint32_t>(numbers.flags);
  out.Write<uint64_t>(numbers.address);
  out.Write<uint64_t>(numbers.size);
  return request;
}

WireRequest UnmapRequest(const UnmapNumbers& numbers, const BitmapNumbers& bitmap) {
  WireRequest request = UnmapRequest(numbers);
  WireWriter out(request.body);
  out.Write<uint64_t>(bitmap.page_size);
  out.Write<uint64_t>(bitmap.size_bytes);
  return request;
}

UniqueFd MemoryFile(uint64_t bytes) {
  UniqueFd file(::memfd_create("conformance", MFD_CLOEXEC));
  if (file.valid() && ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) file.Reset();
  return file;
}

}  // namespace vfio_user
