// One server process with many sockets and a client at each: what they get done together, what an
// idle one costs in memory, and how long the server takes to start.
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "fmt/format.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/server.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/served_device.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

constexpr int kMany = 256;
constexpr int kReadsPerTurn = 64;

// A server of `sockets` devices, in a process of its own; made when it listens at all of them.
class ManyServer {
 public:
  explicit ManyServer(int sockets)
      : process_([this, sockets](UniqueFd ready) { Serve(sockets, std::move(ready)); }) {
    const UniqueFd ready = process_.TakeSocket();
    char byte = 0;
    if (::read(ready.get(), &byte, 1) != 1) std::abort();
  }

  absl::StatusOr<Client> Connect(int number) const {
    return Client::Connect(folder_.File(std::to_string(number)));
  }

  uint64_t ResidentBytes() const {
    std::ifstream statm(fmt::format("/proc/{}/statm", process_.pid()));
    uint64_t all = 0;
    uint64_t resident = 0;
    statm >> all >> resident;
    return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  }

 private:
  void Serve(int sockets, UniqueFd ready) const {
    auto server = Server::Create();
    if (!server.ok()) std::abort();
    for (int i = 0; i < sockets; ++i) {
      if (!(*server)->Listen(folder_.File(std::to_string(i)), KnownDevice()).ok()) std::abort();
    }
    if (::write(ready.get(), "", 1) != 1) std::abort();
    (*server)->Run();
  }

  const TempDir folder_;
  PeerProcess process_;
};

// As many pairs of threads, of this process and of one other, which send a byte to and fro: what
// the machine does of the same without this library.
class ManyEchoes {
 public:
  explicit ManyEchoes(int pairs) : pairs_(Pairs(pairs)), process_([this](UniqueFd) { Serve(); }) {}

  FdView socket(int number) const { return pairs_[static_cast<size_t>(number)].first; }

 private:
  using Pair = std::pair<UniqueFd, UniqueFd>;

  static std::vector<Pair> Pairs(int count) {
    std::vector<Pair> pairs;
    for (int i = 0; i < count; ++i) {
      int fds[2];
      if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
      pairs.emplace_back(fds[0], fds[1]);
    }
    return pairs;
  }

  void Serve() {
    std::vector<std::thread> threads;
    for (Pair& pair : pairs_) {
      threads.emplace_back([socket = &pair.second] { Echo(std::move(*socket)); });
    }
    for (std::thread& thread : threads) thread.join();
  }

  std::vector<Pair> pairs_;
  PeerProcess process_;
};

// `clients` threads exchange messages, each as fast as it is answered. `connect` makes, of a
// client's number, what it calls for each; that, and the first turn, are no part of what is
// measured.
template <typename Connect>
void Measure(benchmark::State& state, int clients, const Connect& connect) {
  std::barrier<> turn(clients + 1);
  std::atomic<bool> end = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      const auto exchange = connect(i);
      for (turn.arrive_and_wait(); !end; turn.arrive_and_wait()) {
        for (int n = 0; n < kReadsPerTurn; ++n) {
          if (!exchange()) std::abort();
        }
        turn.arrive_and_wait();
      }
    });
  }
  const auto take_turn = [&turn] {
    turn.arrive_and_wait();
    turn.arrive_and_wait();
  };
  take_turn();
  for (auto _ : state) take_turn();
  end = true;
  turn.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
  state.SetItemsProcessed(state.iterations() * clients * kReadsPerTurn);
  state.counters["clients"] = clients;
}

void BM_Clients(benchmark::State& state, int clients) {
  const ManyServer server(clients);
  Measure(state, clients, [&server](int number) {
    auto client = server.Connect(number);
    if (!client.ok()) std::abort();
    auto bar0 = client->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
    if (!bar0.ok()) std::abort();
    return [client = *std::move(client), bar0 = *std::move(bar0)] {
      return bar0.Read<uint32_t>(0).ok();
    };
  });
}
BENCHMARK_CAPTURE(BM_Clients, 1, 1)->Name("RegisterReads/1")->UseRealTime();
BENCHMARK_CAPTURE(BM_Clients, 8, 8)->Name("RegisterReads/8")->UseRealTime();
BENCHMARK_CAPTURE(BM_Clients, 64, 64)->Name("RegisterReads/64")->UseRealTime();
BENCHMARK_CAPTURE(BM_Clients, 256, kMany)->Name("RegisterReads/256")->UseRealTime();

void BM_PingPongs(benchmark::State& state, int pairs) {
  const ManyEchoes echoes(pairs);
  Measure(state, pairs, [&echoes](int number) {
    return [socket = echoes.socket(number)] { return PingPong(socket); };
  });
  state.counters["limit"] = 1;
}
BENCHMARK_CAPTURE(BM_PingPongs, 1, 1)->Name("PingPongs/1")->UseRealTime();
BENCHMARK_CAPTURE(BM_PingPongs, 8, 8)->Name("PingPongs/8")->UseRealTime();
BENCHMARK_CAPTURE(BM_PingPongs, 64, 64)->Name("PingPongs/64")->UseRealTime();
BENCHMARK_CAPTURE(BM_PingPongs, 256, kMany)->Name("PingPongs/256")->UseRealTime();

// Of a client that has connected and asked something, and does no more.
void BM_IdleConnection(benchmark::State& state) {
  uint64_t bytes = 0;
  for (auto _ : state) {
    const ManyServer server(kMany);
    const uint64_t before = server.ResidentBytes();
    std::vector<Client> clients;
    for (int i = 0; i < kMany; ++i) {
      absl::StatusOr<Client> client = server.Connect(i);
      if (!client.ok() || !client->GetDeviceInfo().ok()) std::abort();
      clients.push_back(*std::move(client));
    }
    bytes = (server.ResidentBytes() - before) / kMany;
  }
  state.counters["resident_bytes"] = static_cast<double>(bytes);
}
BENCHMARK(BM_IdleConnection)->Name("IdleConnection")->UseRealTime()->Iterations(1);

// The whole server's, with its sockets, threads and devices but no clients, for each socket.
void BM_StartUp(benchmark::State& state) {
  for (auto _ : state) {
    const ManyServer server(kMany);
    state.PauseTiming();
    state.counters["resident_bytes"] = static_cast<double>(server.ResidentBytes()) / kMany;
    state.ResumeTiming();
  }
}
BENCHMARK(BM_StartUp)->Name("StartUp/256")->UseRealTime()->Iterations(1);

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  return vfio_user::RunBenchmarks(
      argc, argv,
      {{.benchmark = "RegisterReads/256",
        .raw = "RegisterReads/8",
        .at_least = 0.8,
        .counter = "items_per_second",
        .what = "register reads of 256 clients together, beside those of 8 (rate)"},
       {.benchmark = "PingPongs/256",
        .raw = "PingPongs/8",
        .counter = "items_per_second",
        .what = "256 pairs of threads that send a byte to and fro, beside 8 (rate)"},
       {.benchmark = "IdleConnection",
        .raw = "",
        .at_most = 256 * 1024,
        .counter = "resident_bytes",
        .what = "resident memory of the server for each idle client"},
       {.benchmark = "StartUp/256",
        .raw = "",
        .at_most = 256 * 1024,
        .counter = "resident_bytes",
        .what = "and for its socket and device, before it came"},
       {.benchmark = "StartUp/256",
        .raw = "",
        .at_most = 1e9,
        .what = "start-up of a server with 256 sockets"}},
      {"--benchmark_repetitions=15"});
}
