// Mapping many buffers at a server in another process, with one call, beside as many calls.
#include <cstddef>
#include <cstdlib>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"
#include "tests/bench/served_device.h"

namespace vfio_user {
namespace {

constexpr size_t kBuffers = 10000;
constexpr size_t kBufferBytes = 512;

std::vector<std::span<std::byte>> Buffers(std::span<std::byte> memory) {
  std::vector<std::span<std::byte>> buffers;
  for (size_t i = 0; i < kBuffers; ++i) {
    buffers.push_back(memory.subspan(i * kBufferBytes, kBufferBytes));
  }
  return buffers;
}

std::vector<DmaMapping> MapOneByOne(const Client& client,
                                    std::span<const std::span<std::byte>> buffers) {
  std::vector<DmaMapping> mappings;
  mappings.reserve(buffers.size());
  for (const std::span<std::byte>& buffer : buffers) {
    absl::StatusOr<DmaMapping> mapping = client.Map(buffer);
    if (!mapping.ok()) std::abort();
    mappings.push_back(*std::move(mapping));
  }
  return mappings;
}

std::vector<DmaMapping> MapMany(const Client& client,
                                std::span<const std::span<std::byte>> buffers) {
  absl::StatusOr<std::vector<DmaMapping>> mappings = client.MapMany(buffers);
  if (!mappings.ok() || mappings->back().path() != DmaPath::kFileIo) std::abort();
  return *std::move(mappings);
}

template <typename Map>
void BM_Map(benchmark::State& state, Map map) {
  PeerProcess peer([](UniqueFd socket) { ServeDevice(std::move(socket)); });
  std::vector<std::byte> memory(kBuffers * kBufferBytes);
  const std::vector<std::span<std::byte>> buffers = Buffers(memory);
  const auto client = Client::Adopt(peer.TakeSocket());
  if (!client.ok()) std::abort();
  for (auto _ : state) {
    const std::vector<DmaMapping> mappings = map(*client, buffers);
    state.PauseTiming();
    if (!client->UnmapAll().ok()) std::abort();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kBuffers));
}
BENCHMARK_CAPTURE(BM_Map, one, MapOneByOne)->Name("MapOneByOne/10000")->UseRealTime();
BENCHMARK_CAPTURE(BM_Map, many, MapMany)->Name("MapMany/10000")->UseRealTime();

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  return vfio_user::RunBenchmarks(
      argc, argv,
      {vfio_user::AtMost(0.15, "MapMany/10000", "MapOneByOne/10000",
                         "10,000 buffers through MapMany, beside 10,000 single Maps")},
      {"--benchmark_repetitions=15"});
}
