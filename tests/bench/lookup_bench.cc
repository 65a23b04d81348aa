// A translation among many mappings, beside a bare lookup in as large a tree; and what it costs to
// map and unmap among many, beside the same among few.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/dma_range_table.h"
#include "tests/bench/ratio_reporter.h"

namespace vfio_user {
namespace {

constexpr uint64_t kMappingBytes = 4096;
constexpr uint64_t kStride = 2 * kMappingBytes;
constexpr uint64_t kMany = 65534;  // One less than a client may have, so that one more can come.
constexpr uint64_t kFew = 15;

using Table = DmaRangeTable<int>;

// Addresses all over the mappings, in no order, so that what was looked up lately does not help.
std::vector<Iova> Addresses() {
  std::mt19937_64 random(1);
  std::vector<Iova> addresses(1 << 16);
  for (Iova& address : addresses) address = Iova{random() % kMany * kStride + 100};
  return addresses;
}

void BM_BareTree(benchmark::State& state) {
  absl::btree_map<Iova, Table::Entry> tree;
  for (uint64_t i = 0; i < kMany; ++i) {
    const Iova last{i * kStride + kMappingBytes - 1};
    tree.emplace(last, Table::Entry{Iova{i * kStride}, last, 0});
  }
  const std::vector<Iova> addresses = Addresses();
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tree.lower_bound(addresses[next++ % addresses.size()])->second);
  }
}
BENCHMARK(BM_BareTree)->Name("BareTree");

void FillTable(Table& table) {
  for (uint64_t i = 0; i < kMany; ++i) {
    table.Insert({Iova{i * kStride}, Iova{i * kStride + kMappingBytes - 1}, 0});
  }
}

void BM_Translation(benchmark::State& state) {
  Table table;
  FillTable(table);
  Table::Recent recent;
  const std::vector<Iova> addresses = Addresses();
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Find(addresses[next++ % addresses.size()], recent));
  }
}
BENCHMARK(BM_Translation)->Name("Translation");

// Of a ring and three buffers, in turn.
void BM_TranslationRepeated(benchmark::State& state) {
  Table table;
  FillTable(table);
  Table::Recent recent;
  std::vector<Iova> addresses = Addresses();
  addresses.resize(4);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Find(addresses[next++ % 4], recent));
  }
}
BENCHMARK(BM_TranslationRepeated)->Name("TranslationRepeated");

// Maps and unmaps one more, by message, so that no descriptor's cost covers that of the table.
void BM_MapAndUnmap(benchmark::State& state, uint64_t others) {
  auto sockets = Socket::Pair();
  if (!sockets.ok()) std::abort();
  ClientDmaSpace space(ClientDmaSpace::Options{});
  space.Connect(std::make_shared<Channel>(MessageStream(std::move(sockets->first), {}),
                                          [](IncomingCommand&) { return absl::OkStatus(); }),
                1 << 20, {});
  const auto map = [&](uint64_t i) {
    return space.Map({.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite,
                      .address = Iova{i * kStride},
                      .size = kMappingBytes},
                     {});
  };
  for (uint64_t i = 0; i < others; ++i) {
    if (!map(i < others / 2 ? i : i + 1).ok()) std::abort();
  }
  const uint64_t between = others / 2;
  for (auto _ : state) {
    if (!map(between).ok()) std::abort();
    if (!space.Unmap(Iova{between * kStride}, kMappingBytes, [] {}).ok()) std::abort();
  }
  state.counters["mappings"] = static_cast<double>(others + 1);
}
BENCHMARK_CAPTURE(BM_MapAndUnmap, few, kFew)->Name("MapAndUnmap/16");
BENCHMARK_CAPTURE(BM_MapAndUnmap, some, uint64_t{1023})->Name("MapAndUnmap/1024");
BENCHMARK_CAPTURE(BM_MapAndUnmap, many, kMany)->Name("MapAndUnmap/65535");

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  return vfio_user::RunBenchmarks(
      argc, argv,
      {{.benchmark = "Translation", .raw = "BareTree", .at_most = 1.5},
       {.benchmark = "TranslationRepeated", .raw = "BareTree", .at_most = 0.2},
       {.benchmark = "MapAndUnmap/65535", .raw = "MapAndUnmap/16", .at_most = 3}});
}
