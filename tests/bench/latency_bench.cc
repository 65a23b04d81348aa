// How long a register read takes, in percentiles, beside a byte that two processes send to and fro.
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "client/region.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/served_device.h"
#include "tools/vfio_user/latency_summary.h"

namespace vfio_user {
namespace {

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

void BM_PingPong(benchmark::State& state) {
  PeerProcess peer(Echo);
  const UniqueFd socket = peer.TakeSocket();
  Measure(state, [&] { return PingPong(socket); });
  state.counters["limit"] = 1;
}

void BM_RegisterRead(benchmark::State& state, absl::Duration busy_poll) {
  PeerProcess peer([busy_poll](UniqueFd socket) {
    ServeDevice(std::move(socket), "null", {.busy_poll = busy_poll});
  });
  const auto client = Client::Adopt(peer.TakeSocket(), {.busy_poll = busy_poll});
  if (!client.ok()) std::abort();
  const auto config = client->OpenRegion(RegionIndex::kConfig);
  if (!config.ok()) std::abort();
  Measure(state, [&] { return config->Read<uint32_t>(0).ok(); });
}

BENCHMARK_CAPTURE(BM_RegisterRead, blocking, absl::ZeroDuration())
    ->Name("register read")
    ->UseRealTime();
BENCHMARK_CAPTURE(BM_RegisterRead, polling, absl::Milliseconds(1))
    ->Name("register read, busy-polling")
    ->UseRealTime();
BENCHMARK(BM_PingPong)->Name("ping-pong")->UseRealTime();

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  // Long ones, for the tail.
  return vfio_user::RunBenchmarks(argc, argv, {},
                                  {"--benchmark_repetitions=9", "--benchmark_min_time=0.5"});
}
