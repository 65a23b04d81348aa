// A device that reads a client's memory by each path, in pieces of 64 bytes to 16 MiB, beside what
// the machine does by itself: pread() and process_vm_readv() of that process, and memcpy() here.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "client/client.h"
#include "client/client_options.h"
#include "fmt/format.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/iova.h"
#include "server/dma_space.h"
#include "server/probe_device.h"
#include "server/server.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/testing/temp_dir.h"
#include "tools/vfio_user/dma_buffer.h"

namespace vfio_user {
namespace {

constexpr size_t kLeastBytes = 64;
constexpr size_t kMostBytes = 16 << 20;

// Where a client's memory is: the same bytes three times, each to be reached by another path.
struct LentMemory {
  uint64_t file_io = 0;  // A bus address, and an address of the client's process too.
  uint64_t mmap = 0;
  uint64_t message = 0;
};

// A client that lends its memory for as long as it lives. It connects, once it is told that there
// is a server: then the server knows whose memory it is, as with any client.
void Lend(UniqueFd told, const std::string& path) {
  char byte = 0;
  if (::read(told.get(), &byte, 1) != 1) std::abort();
  const auto client = Client::Connect(path);
  if (!client.ok() || !client->OpenPci()->EnableBusMaster().ok()) std::abort();
  const auto lend = [&](DmaPath way) {
    auto buffer = DmaBuffer::Create(*client, kMostBytes, way);
    if (!buffer.ok()) std::abort();
    std::ranges::fill(buffer->bytes(), std::byte{1});
    return std::move(*buffer);
  };
  const DmaBuffer file_io = lend(DmaPath::kFileIo);
  const DmaBuffer mmap = lend(DmaPath::kMmap);
  const DmaBuffer message = lend(DmaPath::kMessage);
  const LentMemory lent = {ToU64(file_io.iova()), ToU64(mmap.iova()), ToU64(message.iova())};
  if (::write(told.get(), &lent, sizeof(lent)) != sizeof(lent)) std::abort();
  while (true) ::pause();
}

// Of a path of this library, or of the machine without it.
enum class Curve { kPath, kLimit };

// A benchmark of `read`, which fills what it is given, for each size.
void Register(const std::string& name, Curve curve,
              const std::function<bool(std::span<std::byte>)>& read) {
  for (size_t bytes = kLeastBytes; bytes <= kMostBytes; bytes *= 4) {
    benchmark::RegisterBenchmark(fmt::format("{}/{}", name, bytes).c_str(), [=](benchmark::State&
                                                                                    state) {
      std::vector<std::byte> into(bytes);
      for (auto _ : state) {
        if (!read(into)) std::abort();
        benchmark::DoNotOptimize(into.data());
      }
      state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
      state.counters["bytes"] = static_cast<double>(bytes);
      if (curve == Curve::kLimit) state.counters["limit"] = 1;
    })->UseRealTime();
  }
}

void RegisterPaths(DmaSpace& dma, const LentMemory& lent) {
  const auto by = [&dma](uint64_t from) {
    return [&dma, from](std::span<std::byte> into) { return dma.Read(Iova{from}, into).ok(); };
  };
  Register("file I/O", Curve::kPath, by(lent.file_io));
  Register("mmap", Curve::kPath, by(lent.mmap));
  Register("message", Curve::kPath, by(lent.message));
}

void RegisterLimits(pid_t client, int mem, const LentMemory& lent) {
  const uint64_t address = lent.file_io;
  Register("pread", Curve::kLimit, [=](std::span<std::byte> into) {
    return ::pread(mem, into.data(), into.size(), static_cast<off_t>(address)) ==
           static_cast<ssize_t>(into.size());
  });
  Register("process_vm_readv", Curve::kLimit, [=](std::span<std::byte> into) {
    const iovec local = {into.data(), into.size()};
    const iovec remote = {reinterpret_cast<void*>(address), into.size()};
    return ::process_vm_readv(client, &local, 1, &remote, 1, 0) ==
           static_cast<ssize_t>(into.size());
  });
  Register("memcpy", Curve::kLimit,
           [from = std::vector<std::byte>(kMostBytes, std::byte{1})](std::span<std::byte> into) {
             std::memcpy(into.data(), from.data(), into.size());
             return true;
           });
}

int Run(int argc, char** argv) {
  const TempDir directory;
  const std::string path = directory.File("device.sock");
  PeerProcess client([&](UniqueFd told) { Lend(std::move(told), path); });
  const UniqueFd tell = client.TakeSocket();
  auto server = Server::Create();
  auto device = std::make_unique<ProbeDevice>();
  ProbeDevice& reading = *device;
  LentMemory lent;
  if (!server.ok() || !(*server)->Listen(path, std::move(device)).ok() ||
      ::write(tell.get(), "", 1) != 1 || ::read(tell.get(), &lent, sizeof(lent)) != sizeof(lent)) {
    std::abort();
  }
  const UniqueFd mem(
      ::open(fmt::format("/proc/{}/mem", client.pid()).c_str(), O_RDONLY | O_CLOEXEC));
  RegisterPaths(reading.host().dma(), lent);
  RegisterLimits(client.pid(), mem.get(), lent);
  // Curves, not targets: fewer repetitions are enough.
  return RunBenchmarks(argc, argv, {}, {"--benchmark_repetitions=9", "--benchmark_min_time=0.02"});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
