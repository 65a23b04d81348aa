// Runs one short path of the library a given number of times, for instructions.py to count what
// that takes: `instruction_driver WORK TIMES`. What it does besides does not depend on TIMES.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "client/client.h"
#include "client/region.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/dma_range_table.h"
#include "server/server.h"
#include "tests/bench/served_device.h"

namespace vfio_user {
namespace {

constexpr uint64_t kPage = 4096;

void Require(bool ok) {
  if (!ok) std::abort();
}

// Reads of 64 bytes through a space with one mapping, of the page at `fd` + `offset`.
void ReadSmall(UniqueFd fd, uint64_t offset, DmaMapFlag path, uint64_t times) {
  auto sockets = Socket::Pair();
  Require(sockets.ok());
  ClientDmaSpace space(ClientDmaSpace::Options{});
  space.Connect(std::make_shared<Channel>(MessageStream(std::move(sockets->first), {}),
                                          [](IncomingCommand&) { return absl::OkStatus(); }),
                1 << 20);
  std::vector<UniqueFd> fds;
  fds.push_back(std::move(fd));
  Require(space
              .Map({.flags = DmaMapFlags(DmaMapFlag::kRead) | path,
                    .file_offset = offset,
                    .address = Iova{kPage},
                    .size = kPage},
                   std::move(fds))
              .ok());
  std::array<std::byte, 64> into;
  for (uint64_t i = 0; i < times; ++i) Require(space.Read(Iova{kPage}, into).ok());
}

void ReadByFileIo(uint64_t times) {
  alignas(kPage) static std::array<std::byte, kPage> memory;
  ReadSmall(UniqueFd(::open("/proc/self/mem", O_RDWR | O_CLOEXEC)),
            reinterpret_cast<uintptr_t>(memory.data()), DmaMapFlag::kFileIo, times);
}

void ReadByMmap(uint64_t times) {
  UniqueFd fd(::memfd_create("memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  Require(::ftruncate(fd.get(), kPage) == 0 && ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  ReadSmall(std::move(fd), 0, DmaMapFlag::kMmap, times);
}

// Look-ups among as many mappings as there can be, each far from the one before.
void LookUp(uint64_t times) {
  constexpr uint64_t kMappings = 65535;
  DmaRangeTable<uint64_t> table;
  for (uint64_t i = 0; i < kMappings; ++i) {
    Require(table.Insert({Iova{i * kPage}, Iova{i * kPage + kPage - 1}, i}));
  }
  for (uint64_t i = 0; i < times; ++i) {
    const uint64_t page = i * 40503 % kMappings;
    const auto* const entry = table.Find(Iova{page * kPage});
    Require(entry != nullptr && entry->value == page);
  }
}

// Both sides, in one process.
void ReadRegister(uint64_t times) {
  int fds[2];
  Require(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  auto server = Server::Create();
  Require(server.ok() && (*server)->Adopt(UniqueFd(fds[0]), KnownDevice()).ok());
  const auto client = Client::Adopt(UniqueFd(fds[1]));
  Require(client.ok());
  const auto config = client->OpenRegion(RegionIndex::kConfig);
  Require(config.ok());
  for (uint64_t i = 0; i < times; ++i) Require(config->Read<uint32_t>(0).ok());
}

struct Work {
  std::string_view name;
  void (*run)(uint64_t times);
};
constexpr Work kWorks[] = {{"read-64-bytes-by-file-io", ReadByFileIo},
                           {"read-64-bytes-by-mmap", ReadByMmap},
                           {"look-up-among-65535", LookUp},
                           {"read-register", ReadRegister}};

int Run(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--compiler") {
    std::puts(__VERSION__);
    return 0;
  }
  const auto work = argc == 3 ? std::ranges::find(kWorks, argv[1], &Work::name) : std::end(kWorks);
  if (work == std::end(kWorks)) {
    std::fputs("usage: instruction_driver WORK TIMES\n", stderr);
    return 2;
  }
  work->run(std::strtoull(argv[2], nullptr, 10));
  return 0;
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
