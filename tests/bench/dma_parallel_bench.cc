// How the rate of transfers grows from one thread to two: in one space, and with a space and a
// client for each thread, as devices have it. Each thread has a processor of its own.
#include <unistd.h>

#include <array>
#include <cstddef>
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
#include "tests/bench/lent_space.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/second_thread.h"
#include "tests/bench/stay_on.h"

namespace vfio_user {
namespace {

struct Client {
  BenchLender lender;
  UniqueFd file = SealedMemfd();
  LentSpace space{lender, file};
};

using Clients = std::array<std::unique_ptr<Client>, 2>;

// `move` is called for each transfer, with the number of the thread, 0 or 1, and a buffer of its
// own.
template <typename Move>
RatioTarget Register(const std::string& name, size_t bytes, const Move& move) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [bytes, move](benchmark::State& state) {
                                 const auto thread = static_cast<size_t>(state.thread_index());
                                 StayOn(thread);
                                 std::vector<std::byte> buffer(bytes);
                                 for (auto _ : state) {
                                   if (!move(thread, std::span(buffer))) std::abort();
                                 }
                                 state.SetItemsProcessed(state.iterations());
                               })
      ->Threads(1)
      ->Threads(2)
      ->UseRealTime();
  return {
      .benchmark = name + "/threads:2", .raw = name + "/threads:1", .counter = "items_per_second"};
}

// Threads that work on the same lines would meet in the memory.
size_t PlaceOf(size_t thread) { return thread * (kLentBytes / 2); }

std::vector<RatioTarget> RegisterDma(const Clients& clients) {
  std::vector<RatioTarget> targets;
  for (const auto& [path, from] :
       {std::pair("mmap", LentSpace::file()), std::pair("file-io", LentSpace::memory())}) {
    for (const auto& [size, bytes] :
         {std::pair("64B", size_t{64}), {"4KiB", 4 << 10}, {"64KiB", 64 << 10}}) {
      for (const size_t spaces : {1u, 2u}) {
        RatioTarget target = Register(
            fmt::format("DmaRead/{}/{}/{}", path, spaces == 1 ? "OneSpace" : "TwoSpaces", size),
            bytes, [&clients, from = from, spaces](size_t thread, std::span<std::byte> buffer) {
              const Iova at{ToU64(from) + PlaceOf(thread)};
              return clients[thread % spaces]->space->Read(at, buffer).ok();
            });
        target.at_least = 1.6;
        target.what = fmt::format("two device workers, beside one (rate): {}, {}, {}", path, size,
                                  spaces == 1 ? "one client" : "a client each");
        targets.push_back(std::move(target));
      }
    }
  }
  return targets;
}

// What the machine makes of two threads that move as little without this library: by system calls
// on one descriptor, which each of them counts itself in on, on two, and by loads and stores.
std::vector<RatioTarget> RegisterRaw(const Clients& clients) {
  constexpr size_t kBytes = 64;
  std::vector<RatioTarget> targets;
  for (const size_t files : {1u, 2u}) {
    targets.push_back(Register(files == 1 ? "pread/OneSpace/64B" : "pread/TwoSpaces/64B", kBytes,
                               [&clients, files](size_t thread, std::span<std::byte> buffer) {
                                 const FdView mem = clients[thread % files]->lender.mem();
                                 const auto offset = static_cast<off_t>(ToU64(LentSpace::memory()) +
                                                                        PlaceOf(thread));
                                 return ::pread(mem.get(), buffer.data(), kBytes, offset) == kBytes;
                               }));
    targets.back().what =
        fmt::format("two threads, beside one (rate): pread of 64 B, {}",
                    files == 1 ? "one process's memory" : "a process's memory each");
  }
  targets.push_back(Register("memcpy/64B", kBytes, [](size_t thread, std::span<std::byte> buffer) {
    std::memcpy(buffer.data(), LentMemory().data() + PlaceOf(thread), kBytes);
    benchmark::ClobberMemory();
    return true;
  }));
  targets.back().what = "two threads, beside one (rate): memcpy of 64 B";
  return targets;
}

int Run(int argc, char** argv) {
  const Clients clients = {std::make_unique<Client>(), std::make_unique<Client>()};
  const SecondThread second_thread;
  std::vector<RatioTarget> targets = RegisterDma(clients);
  for (RatioTarget& raw : RegisterRaw(clients)) targets.push_back(std::move(raw));
  return RunBenchmarks(argc, argv, std::move(targets));
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
