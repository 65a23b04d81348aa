// How the rate of transfers grows from one thread to two: in one space, and with a space and a
// client for each thread, as devices have it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "benchmark/benchmark.h"
#include "fmt/format.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/iova.h"
#include "tests/bench/lent_space.h"
#include "tests/bench/ratio_reporter.h"

namespace vfio_user {
namespace {

struct Client {
  BenchLender lender;
  UniqueFd file = SealedMemfd();
  LentSpace space{lender, file};
};

struct Case {
  std::string name;
  size_t bytes = 0;
  Iova from{};
  size_t spaces = 0;
};

using Clients = std::array<std::unique_ptr<Client>, 2>;

void Register(const std::string& name, const Case& one, const Clients& clients) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [one, &clients](benchmark::State& state) {
                                 const auto thread = static_cast<size_t>(state.thread_index());
                                 LentSpace& space = clients[thread % one.spaces]->space;
                                 // Threads that work on the same lines would meet in the memory.
                                 std::vector<std::byte> buffer(one.bytes);
                                 const Iova from{ToU64(one.from) + thread * (kLentBytes / 2)};
                                 for (auto _ : state) {
                                   if (!space->Read(from, buffer).ok()) std::abort();
                                 }
                                 state.SetItemsProcessed(state.iterations());
                               })
      ->Threads(1)
      ->Threads(2)
      ->UseRealTime();
}

std::vector<RatioTarget> RegisterBenchmarks(const Clients& clients) {
  std::vector<RatioTarget> targets;
  for (const auto& [path, from] :
       {std::pair("mmap", LentSpace::file()), std::pair("file-io", LentSpace::memory())}) {
    for (const auto& [name, bytes] :
         {std::pair("64B", size_t{64}), {"4KiB", 4 << 10}, {"64KiB", 64 << 10}}) {
      for (const size_t spaces : {1u, 2u}) {
        const std::string all =
            fmt::format("DmaRead/{}/{}/{}", path, spaces == 1 ? "OneSpace" : "TwoSpaces", name);
        Register(all, {.name = all, .bytes = bytes, .from = from, .spaces = spaces}, clients);
        targets.push_back(
            {.benchmark = all + "/threads:2",
             .raw = all + "/threads:1",
             .at_least = 1.6,
             .counter = "items_per_second",
             .what = fmt::format("two device workers, beside one (rate): {}, {}, {}", path, name,
                                 spaces == 1 ? "one client" : "a client each")});
      }
    }
  }
  return targets;
}

int Run(int argc, char** argv) {
  const Clients clients = {std::make_unique<Client>(), std::make_unique<Client>()};
  return RunBenchmarks(argc, argv, RegisterBenchmarks(clients));
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
