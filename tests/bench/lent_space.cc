#include "tests/bench/lent_space.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/dma_map.h"

namespace vfio_user {
namespace {

constexpr uint64_t kMappings = 4096;
constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

void Map(ClientDmaSpace& space, const DmaMapRequest& request, FdView file) {
  std::vector<UniqueFd> fds;
  fds.emplace_back(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  if (!space.Map(request, std::move(fds)).ok()) std::abort();
}

}  // namespace

std::span<std::byte> LentMemory() {
  alignas(4096) static std::byte memory[kLentBytes];
  return memory;
}

BenchLender::BenchLender()
    : MemoryLender([] { std::memset(LentMemory().data(), 1, LentMemory().size()); }) {}

UniqueFd SealedMemfd() {
  UniqueFd file(::memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::vector<std::byte> content(kLentBytes, std::byte{1});
  if (::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(kLentBytes) ||
      ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK) != 0) {
    std::abort();
  }
  return file;
}

LentSpace::LentSpace(const MemoryLender& lender, FdView file,
                     const ClientDmaSpace::Options& options)
    : space_(options) {
  auto sockets = Socket::Pair();
  if (!sockets.ok()) std::abort();
  space_.Connect(std::make_shared<Channel>(MessageStream(std::move(sockets->first), {}),
                                           [](IncomingCommand&) { return absl::OkStatus(); }),
                 1 << 20, lender.credentials());
  Map(space_,
      {.flags = kReadWrite | DmaMapFlag::kFileIo,
       .file_offset = ToU64(memory()),
       .address = memory(),
       .size = kLentBytes},
      lender.mem());
  Map(space_, {.flags = kReadWrite, .address = LentSpace::file(), .size = kLentBytes}, file);
  for (uint64_t i = 2; i < kMappings; ++i) {
    const DmaMapRequest request = {
        .flags = DmaMapFlag::kRead, .address = Iova{i * 4096}, .size = 4096};
    if (!space_.Map(request, {}).ok()) std::abort();
  }
}

Iova LentSpace::memory() { return Iova{reinterpret_cast<uintptr_t>(LentMemory().data())}; }

Iova LentSpace::file() { return Iova{ToU64(memory()) + kLentBytes}; }

}  // namespace vfio_user
