// From which size and count on process_vm_readv() and process_vm_writev(), with the looks at the
// descriptor that belong to them, are better than pread() and pwrite() piece by piece: what the
// constant in server/dma/dma_transfer.cc was chosen by.
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "fmt/format.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/file_io.h"
#include "server/dma/process_memory.h"
#include "tests/bench/lent_space.h"
#include "tests/bench/ratio_reporter.h"

namespace vfio_user {
namespace {

struct Pieces {
  Pieces(const Pieces&) = delete;  // The lists point into the buffer.
  Pieces& operator=(const Pieces&) = delete;
  Pieces(size_t count, size_t bytes) : buffer(count * bytes) {
    for (size_t i = 0; i < count; ++i) {
      here.push_back({&buffer[i * bytes], bytes});
      // Each begins a page of its own.
      there.push_back({&LentMemory()[i * ((bytes + 4095) / 4096) * 4096], bytes});
    }
  }
  std::vector<std::byte> buffer;
  std::vector<iovec> here;
  std::vector<iovec> there;
};

std::span<std::byte> BytesOf(const iovec& piece) {
  return {static_cast<std::byte*>(piece.iov_base), piece.iov_len};
}
uint64_t OffsetOf(const iovec& piece) { return reinterpret_cast<uintptr_t>(piece.iov_base); }

template <typename Operation>
void Register(const std::string& name, const std::shared_ptr<const Pieces>& pieces,
              const Operation& operation) {
  benchmark::RegisterBenchmark(name.c_str(), [operation, pieces](benchmark::State& state) {
    for (auto _ : state) {
      if (!operation(*pieces)) std::abort();
    }
    state.SetBytesProcessed(static_cast<int64_t>(pieces->buffer.size()) * state.iterations());
  });
}

bool ReadEach(FdView mem, const Pieces& pieces) {
  bool ok = true;
  for (size_t i = 0; i < pieces.here.size(); ++i) {
    ok = ok && ReadFileAt(mem, OffsetOf(pieces.there[i]), BytesOf(pieces.here[i])).ok();
  }
  return ok;
}
bool WriteEach(FdView mem, const Pieces& pieces) {
  bool ok = true;
  for (size_t i = 0; i < pieces.here.size(); ++i) {
    ok = ok && WriteFileAt(mem, OffsetOf(pieces.there[i]), BytesOf(pieces.here[i])).ok();
  }
  return ok;
}

int Run(int argc, char** argv) {
  const BenchLender lender;
  const FdView mem = lender.mem();
  const auto process = ProcessMemory::Find(mem, lender.credentials());
  if (!process) {
    fmt::print(stderr, "the kernel does not permit process_vm_readv() here\n");
    return 1;
  }
  std::vector<RatioTarget> targets;
  const auto add = [&](size_t count, size_t bytes) {
    const auto pieces = std::make_shared<const Pieces>(count, bytes);
    const std::string what = fmt::format("{}x{}B", count, bytes);
    Register("ProcessVmRead/" + what, pieces, [process](const Pieces& all) {
      return process->Read(all.here, all.there) == all.buffer.size();
    });
    Register("ReadEach/" + what, pieces, [mem](const Pieces& all) { return ReadEach(mem, all); });
    Register("ProcessVmWrite/" + what, pieces, [process](const Pieces& all) {
      return process->Write(all.here, all.there) == all.buffer.size();
    });
    Register("WriteEach/" + what, pieces, [mem](const Pieces& all) { return WriteEach(mem, all); });
    targets.push_back({.benchmark = "ProcessVmRead/" + what, .raw = "ReadEach/" + what});
    targets.push_back({.benchmark = "ProcessVmWrite/" + what, .raw = "WriteEach/" + what});
  };
  for (const size_t count : {2u, 3u, 4u, 5u, 6u, 8u, 16u}) add(count, 64);
  for (const size_t kib : {4u, 8u, 16u, 24u, 32u, 40u, 48u, 64u, 128u}) add(1, kib << 10);
  for (const size_t kib : {8u, 16u, 24u}) add(2, kib << 10);
  // Which of the two is better is asked for, and not exactly by how much.
  return RunBenchmarks(argc, argv, std::move(targets),
                       {"--benchmark_repetitions=15", "--benchmark_min_time=0.01"});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
