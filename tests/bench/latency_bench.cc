// How long a register read takes, in percentiles, beside a byte that two processes send to and fro.
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "client/region.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "server/devices/registry.h"
#include "server/server.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {
namespace {

void Echo(UniqueFd socket) {
  char byte = 0;
  while (::read(socket.get(), &byte, 1) == 1 && ::write(socket.get(), &byte, 1) == 1) {
  }
}

void ServeNull(UniqueFd socket) {
  const auto device = std::ranges::find(KnownDevices(), "null", &DeviceEntry::name);
  auto server = Server::Create();
  if (!server.ok() || device == KnownDevices().end()) std::abort();
  if (!(*server)->Adopt(std::move(socket), *device->Create()).ok()) std::abort();
  (*server)->Run();
}

// Does `operation` once an iteration, and notes percentiles of its time as counters.
template <typename Operation>
void Measure(benchmark::State& state, const Operation& operation) {
  using Clock = std::chrono::steady_clock;
  std::vector<int64_t> samples;
  for (auto _ : state) {
    const auto begin = Clock::now();
    if (!operation()) std::abort();
    samples.push_back(std::chrono::nanoseconds(Clock::now() - begin).count());
  }
  const LatencySummary summary = SummarizeLatency(samples);
  state.counters["p50_seconds"] = absl::ToDoubleSeconds(summary.p50);
  state.counters["p90_seconds"] = absl::ToDoubleSeconds(summary.p90);
  state.counters["p99_seconds"] = absl::ToDoubleSeconds(summary.p99);
  state.counters["p99.9_seconds"] = absl::ToDoubleSeconds(summary.p999);
  state.counters["max_seconds"] = absl::ToDoubleSeconds(summary.max);
}

void PingPong(benchmark::State& state) {
  PeerProcess peer(Echo);
  const UniqueFd socket = peer.TakeSocket();
  char byte = 0;
  Measure(state, [&] {
    return ::write(socket.get(), &byte, 1) == 1 && ::read(socket.get(), &byte, 1) == 1;
  });
  state.counters["limit"] = 1;
}

void RegisterRead(benchmark::State& state) {
  PeerProcess peer(ServeNull);
  const auto client = Client::Adopt(peer.TakeSocket());
  if (!client.ok()) std::abort();
  const auto config = client->OpenRegion(RegionIndex::kConfig);
  if (!config.ok()) std::abort();
  Measure(state, [&] { return config->Read<uint32_t>(0).ok(); });
}

int Run(int argc, char** argv) {
  benchmark::RegisterBenchmark("register read", RegisterRead)->UseRealTime();
  benchmark::RegisterBenchmark("ping-pong", PingPong)->UseRealTime();
  // Long ones, for the tail.
  std::string repetitions = "--benchmark_repetitions=9";
  std::string length = "--benchmark_min_time=0.5";
  std::vector<char*> arguments = {argv[0], repetitions.data(), length.data()};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  return RunBenchmarks(static_cast<int>(arguments.size()), arguments.data(), {});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
