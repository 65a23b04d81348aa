// Direct transfers through DmaSpace, each beside the operation that it comes down to: of another
// process's memory by file I/O, with process_vm_readv() and without, and of memory that is mapped
// here.
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "fmt/format.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma_space.h"
#include "tests/bench/lent_space.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"
#include "tests/bench/second_thread.h"
#include "tests/testing/memory_lender.h"

namespace vfio_user {
namespace {

// What is read and written, and the two processes' memory.
struct Bench {
  BenchLender lender;
  UniqueFd file = SealedMemfd();
  LentSpace process_vm{lender, file};
  LentSpace descriptor{lender, file, {.process_vm = false}};
  std::vector<std::byte> buffer = std::vector<std::byte>(kLentBytes);
};

// Pieces of a list: 512 bytes in each page.
constexpr size_t kPieces = 64;
constexpr size_t kPieceBytes = 512;
constexpr size_t kPieceStride = 4096;

void Check(bool done) {
  if (!done) std::abort();
}

auto ReadThrough(LentSpace& space, Iova from, std::span<std::byte> buffer) {
  return
      [&space, from, buffer](size_t bytes) { Check(space->Read(from, buffer.first(bytes)).ok()); };
}

// A list whose pieces are side by side in `buffer`.
template <typename Piece>
std::vector<Piece> Pieces(std::span<std::byte> buffer) {
  std::vector<Piece> pieces;
  for (size_t i = 0; i < kPieces; ++i) {
    pieces.push_back({Iova{ToU64(LentSpace::memory()) + i * kPieceStride},
                      buffer.subspan(i * kPieceBytes, kPieceBytes)});
  }
  return pieces;
}
auto ReadPieces(LentSpace& space, std::span<std::byte> buffer) {
  return [&space, pieces = Pieces<DmaReadPiece>(buffer)](size_t) {
    Check(space->Read(pieces, DmaAccessPath::kAuto).ok());
  };
}
auto WritePieces(LentSpace& space, std::span<std::byte> buffer) {
  return [&space, pieces = Pieces<DmaWritePiece>(buffer)](size_t) {
    Check(space->Write(pieces, DmaAccessPath::kAuto).ok());
  };
}

auto Pread(FdView mem, std::span<std::byte> buffer) {
  return [mem, buffer](size_t bytes) {
    const auto offset = static_cast<off_t>(ToU64(LentSpace::memory()));
    Check(::pread(mem.get(), buffer.data(), bytes, offset) == static_cast<ssize_t>(bytes));
  };
}
auto PreadPieces(FdView mem, std::span<std::byte> buffer) {
  return [mem, buffer](size_t) {
    for (size_t i = 0; i < kPieces; ++i) {
      const auto offset = static_cast<off_t>(ToU64(LentSpace::memory()) + i * kPieceStride);
      Check(::pread(mem.get(), &buffer[i * kPieceBytes], kPieceBytes, offset) == kPieceBytes);
    }
  };
}
auto PwritePieces(FdView mem, std::span<std::byte> buffer) {
  return [mem, buffer](size_t) {
    for (size_t i = 0; i < kPieces; ++i) {
      const auto offset = static_cast<off_t>(ToU64(LentSpace::memory()) + i * kPieceStride);
      Check(::pwrite(mem.get(), &buffer[i * kPieceBytes], kPieceBytes, offset) == kPieceBytes);
    }
  };
}
auto ProcessVmReadv(pid_t pid, std::span<std::byte> buffer) {
  return [pid, buffer](size_t bytes) {
    const iovec here = {.iov_base = buffer.data(), .iov_len = bytes};
    const iovec there = {.iov_base = LentMemory().data(), .iov_len = bytes};
    Check(::process_vm_readv(pid, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes));
  };
}
auto Memcpy(FdView file, std::span<std::byte> buffer) {
  const void* const pages = ::mmap(nullptr, kLentBytes, PROT_READ, MAP_SHARED, file.get(), 0);
  Check(pages != MAP_FAILED);
  return [pages, buffer](size_t bytes) { std::memcpy(buffer.data(), pages, bytes); };
}

struct Size {
  std::string name;
  size_t bytes;
};
const std::array<Size, 6> kSizes = {{{"64B", 64},
                                     {"512B", 512},
                                     {"4KiB", 4 << 10},
                                     {"32KiB", 32 << 10},
                                     {"256KiB", 256 << 10},
                                     {"1MiB", 1 << 20}}};

// `operation` moves so many bytes, or the pieces of a list.
template <typename Operation>
void Register(const std::string& name, size_t bytes, const Operation& operation) {
  benchmark::RegisterBenchmark(name.c_str(), [operation, bytes](benchmark::State& state) {
    size_t count = bytes;
    // Known at run time only, as a device's lengths are.
    benchmark::DoNotOptimize(count);
    for (auto _ : state) {
      operation(count);
      benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(bytes) * state.iterations());
    state.counters["bytes"] = static_cast<double>(bytes);
  });
}
template <typename Operation>
void RegisterSizes(const std::string& name, const Operation& operation) {
  for (const Size& size : kSizes) {
    Register(fmt::format("{}/{}", name, size.name), size.bytes, operation);
  }
}

std::vector<RatioTarget> RegisterBenchmarks(Bench& bench) {
  const std::span<std::byte> buffer(bench.buffer);
  const FdView mem = bench.lender.mem();
  RegisterSizes("DmaRead/process_vm", ReadThrough(bench.process_vm, LentSpace::memory(), buffer));
  RegisterSizes("DmaRead/descriptor", ReadThrough(bench.descriptor, LentSpace::memory(), buffer));
  RegisterSizes("DmaRead/mmap", ReadThrough(bench.process_vm, LentSpace::file(), buffer));
  RegisterSizes("pread", Pread(mem, buffer));
  RegisterSizes("process_vm_readv", ProcessVmReadv(bench.lender.credentials().pid, buffer));
  RegisterSizes("memcpy", Memcpy(bench.file, buffer));

  constexpr size_t kAll = kPieces * kPieceBytes;
  Register("DmaRead64x512B/process_vm", kAll, ReadPieces(bench.process_vm, buffer));
  Register("DmaRead64x512B/descriptor", kAll, ReadPieces(bench.descriptor, buffer));
  Register("DmaWrite64x512B/process_vm", kAll, WritePieces(bench.process_vm, buffer));
  Register("DmaWrite64x512B/descriptor", kAll, WritePieces(bench.descriptor, buffer));
  Register("pread64x512B", kAll, PreadPieces(mem, buffer));
  Register("pwrite64x512B", kAll, PwritePieces(mem, buffer));

  return {AtMost(0.45, "DmaRead64x512B/process_vm", "pread64x512B",
                 "a list of 64 pieces of 512 B is read, beside 64 preads"),
          AtMost(1.05, "DmaRead64x512B/descriptor", "pread64x512B",
                 "the same without process_vm_readv"),
          AtMost(0.45, "DmaWrite64x512B/process_vm", "pwrite64x512B",
                 "a list of 64 pieces of 512 B is written, beside 64 pwrites"),
          AtMost(1.05, "DmaWrite64x512B/descriptor", "pwrite64x512B",
                 "the same without process_vm_writev"),
          AtMost(0.75, "DmaRead/process_vm/1MiB", "pread/1MiB", "1 MiB by file I/O, beside pread"),
          AtMost(1.05, "DmaRead/process_vm/1MiB", "process_vm_readv/1MiB",
                 "1 MiB by file I/O, beside process_vm_readv"),
          AtMost(1.05, "DmaRead/descriptor/1MiB", "pread/1MiB",
                 "1 MiB by file I/O without process_vm_readv, beside pread"),
          AtMost(1.10, "DmaRead/process_vm/64B", "pread/64B", "64 B by file I/O, beside pread"),
          AtMost(12, "DmaRead/mmap/64B", "memcpy/64B", "64 B in mmap mode, beside memcpy"),
          AtMost(1.05, "DmaRead/mmap/1MiB", "memcpy/1MiB", "1 MiB in mmap mode, beside memcpy")};
}

int Run(int argc, char** argv) {
  Bench bench;
  const SecondThread second_thread;
  return RunBenchmarks(argc, argv, RegisterBenchmarks(bench));
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
