// File I/O through DmaSpace, beside a bare pread() of the same bytes on the same descriptor: of
// another process's memory, as a server reads its client's, and of this process's own.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "tests/bench/ratio_reporter.h"

namespace vfio_user {
namespace {

constexpr size_t kMemoryBytes = 1 << 20;
// The mapping that is used is one of many, as a device's would be.
constexpr uint64_t kMappings = 4096;

// In both processes at the same place.
std::vector<std::byte> memory(kMemoryBytes);

UniqueFd OpenSelfMem() { return UniqueFd(::open("/proc/self/mem", O_RDWR | O_CLOEXEC)); }

// A process that lends its memory for as long as this one lives.
class Lender {
 public:
  Lender() {
    auto sockets = Socket::Pair();
    if (!sockets.ok()) std::abort();
    const pid_t child = ::fork();
    if (child < 0) std::abort();
    if (child == 0) {
      { const Socket not_mine = std::move(sockets->first); }
      Lend(std::move(sockets->second));
    }
    socket_ = std::make_unique<Socket>(std::move(sockets->first));
    std::array<uint8_t, 1> byte;
    auto received = socket_->Receive(byte, Deadline::Never());
    if (!received.ok() || received->fds.size() != 1) std::abort();
    mem_ = std::move(received->fds[0]);
  }

  FdView mem() const { return mem_; }

 private:
  [[noreturn]] static void Lend(Socket socket) {
    // Its own pages, and not this process's that it has shared since fork().
    std::fill(memory.begin(), memory.end(), std::byte{1});
    std::array<std::byte, 1> byte = {};
    iovec part = {.iov_base = byte.data(), .iov_len = 1};
    const UniqueFd mem = OpenSelfMem();
    const FdView fd = mem;
    (void)socket.Send(std::span(&part, 1), std::span(&fd, 1), Deadline::Never(),
                      absl::InfiniteDuration());
    (void)socket.WaitReadable(Deadline::Never());
    std::_Exit(0);
  }

  std::unique_ptr<Socket> socket_;
  UniqueFd mem_;
};

// The space of a client that has mapped `memory` of `mem`'s process at its own address.
std::unique_ptr<ClientDmaSpace> SpaceOf(FdView mem) {
  auto sockets = Socket::Pair();
  if (!sockets.ok()) std::abort();
  auto space = std::make_unique<ClientDmaSpace>(ClientDmaSpace::Options{});
  space->Connect(std::make_shared<Channel>(MessageStream(std::move(sockets->first), {}),
                                           [](IncomingCommand&) { return absl::OkStatus(); }),
                 1 << 20);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  std::vector<UniqueFd> fds;
  fds.emplace_back(::fcntl(mem.get(), F_DUPFD_CLOEXEC, 0));
  if (!space
           ->Map(
               {.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite | DmaMapFlag::kFileIo,
                .file_offset = address,
                .address = Iova{address},
                .size = memory.size()},
               std::move(fds))
           .ok()) {
    std::abort();
  }
  for (uint64_t i = 1; i < kMappings; ++i) {
    if (!space->Map({.flags = DmaMapFlag::kRead, .address = Iova{i * 4096}, .size = 4096}, {})
             .ok()) {
      std::abort();
    }
  }
  return space;
}

void ReadThroughSpace(benchmark::State& state, FdView mem, size_t bytes) {
  const std::unique_ptr<ClientDmaSpace> space = SpaceOf(mem);
  std::vector<std::byte> into(bytes);
  const Iova from{reinterpret_cast<uintptr_t>(memory.data())};
  for (auto _ : state) {
    if (!space->Read(from, into).ok()) std::abort();
  }
}

void ReadBare(benchmark::State& state, FdView mem, size_t bytes) {
  std::vector<std::byte> into(bytes);
  const auto offset = static_cast<off_t>(reinterpret_cast<uintptr_t>(memory.data()));
  for (auto _ : state) {
    if (::pread(mem.get(), into.data(), bytes, offset) != static_cast<ssize_t>(bytes)) {
      std::abort();
    }
  }
}

std::vector<RatioTarget> RegisterBenchmarks(FdView other, FdView own) {
  struct Size {
    std::string name;
    size_t bytes;
    double at_most;
  };
  std::vector<RatioTarget> targets;
  for (const auto& [owner, mem] : {std::pair("other", other), std::pair("own", own)}) {
    for (const Size& size : {Size{"64B", 64, 1.15}, Size{"1MiB", kMemoryBytes, 1.05}}) {
      const std::string suffix = std::string("/") + owner + "/" + size.name;
      const RatioTarget target = {"DmaSpaceRead" + suffix, "pread" + suffix, size.at_most};
      benchmark::RegisterBenchmark(target.benchmark.c_str(), ReadThroughSpace, mem, size.bytes);
      benchmark::RegisterBenchmark(target.raw.c_str(), ReadBare, mem, size.bytes);
      targets.push_back(target);
    }
  }
  return targets;
}

// A server has several threads, and the library counts references with atomics once there are.
class SecondThread {
 public:
  ~SecondThread() {
    done_.set_value();
    thread_.join();
  }

 private:
  std::promise<void> done_;
  std::thread thread_{[this] { done_.get_future().wait(); }};
};

int Run(int argc, char** argv) {
  const Lender lender;
  const UniqueFd own = OpenSelfMem();
  const SecondThread second_thread;
  return RunBenchmarks(argc, argv, RegisterBenchmarks(lender.mem(), own));
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
