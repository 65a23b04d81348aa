// A translation among many mappings, beside a bare lookup in as large a tree; and what it costs to
// map and unmap among many, beside the same among few: the server alone, and a client of it.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "fmt/format.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/dma_range_table.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"
#include "tests/bench/served_device.h"

namespace vfio_user {
namespace {

constexpr uint64_t kMappingBytes = 4096;
constexpr uint64_t kStride = 2 * kMappingBytes;
constexpr uint64_t kMany = 65534;  // One less than a client may have, so that one more can come.
constexpr uint64_t kFew = 15;

using Table = DmaRangeTable<int>;

// Addresses all over the mappings, in no order, so that what was looked up lately does not help.
std::vector<Iova> Addresses(uint64_t mappings) {
  std::mt19937_64 random(1);
  std::vector<Iova> addresses(1 << 16);
  for (Iova& address : addresses) address = Iova{random() % mappings * kStride + 100};
  return addresses;
}

uint64_t Mappings(benchmark::State& state) {
  state.counters["mappings"] = static_cast<double>(state.range(0));
  return static_cast<uint64_t>(state.range(0));
}

void BM_BareTree(benchmark::State& state) {
  const uint64_t mappings = Mappings(state);
  state.counters["limit"] = 1;
  absl::btree_map<Iova, Table::Entry> tree;
  for (uint64_t i = 0; i < mappings; ++i) {
    const Iova last{i * kStride + kMappingBytes - 1};
    tree.emplace(last, Table::Entry{Iova{i * kStride}, last, 0});
  }
  const std::vector<Iova> addresses = Addresses(mappings);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tree.lower_bound(addresses[next++ % addresses.size()])->second);
  }
}
BENCHMARK(BM_BareTree)->Name("BareTree")->Arg(16)->Arg(1024)->Arg(65535);

void FillTable(Table& table, uint64_t mappings) {
  for (uint64_t i = 0; i < mappings; ++i) {
    table.Insert({Iova{i * kStride}, Iova{i * kStride + kMappingBytes - 1}, 0});
  }
}

void BM_Translation(benchmark::State& state) {
  const uint64_t mappings = Mappings(state);
  Table table;
  FillTable(table, mappings);
  Table::Recent recent;
  const std::vector<Iova> addresses = Addresses(mappings);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Find(addresses[next++ % addresses.size()], recent));
  }
}
BENCHMARK(BM_Translation)->Name("Translation")->Arg(16)->Arg(1024)->Arg(65535);

// Of a ring and three buffers, in turn.
void BM_TranslationRepeated(benchmark::State& state) {
  const uint64_t mappings = Mappings(state);
  Table table;
  FillTable(table, mappings);
  Table::Recent recent;
  std::vector<Iova> addresses = Addresses(mappings);
  addresses.resize(4);
  size_t next = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(table.Find(addresses[next++ % 4], recent));
  }
}
BENCHMARK(BM_TranslationRepeated)->Name("TranslationRepeated")->Arg(16)->Arg(1024)->Arg(65535);

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

void Check(const absl::Status& status) {
  if (status.ok()) return;
  fmt::print(stderr, "{}\n", std::string(status.message()));
  std::abort();
}

// A client that has mapped all of many buffers but the middle one, at a server in another process.
class MappingClient {
 public:
  // To be made before any thread is.
  explicit MappingClient(size_t buffers)
      : peer_([](UniqueFd socket) { ServeDevice(std::move(socket)); }),
        memory_(buffers * kBufferBytes) {}

  // Soon, since the server does not wait for long; but after all such objects are made, since it
  // starts threads.
  void Connect() {
    client_ = Client::Adopt(peer_.TakeSocket());
    Check(client_.status());
  }

  // Once is enough.
  void MapOthers() {
    if (!mappings_.empty()) return;
    std::vector<std::span<std::byte>> others;
    for (size_t i = 0; i < memory_.size(); i += kBufferBytes) {
      if (i != Middle()) others.push_back(Buffer(i));
    }
    auto mappings = client_->MapMany(others);
    Check(mappings.status());
    if (mappings->front().path() != DmaPath::kFileIo) std::abort();
    mappings_ = *std::move(mappings);
  }

  // One by one that would take as long as all benchmarks do.
  ~MappingClient() {
    if (client_.ok()) (void)client_->UnmapAll();
  }

  void MapAndUnmap() {
    absl::StatusOr<DmaMapping> mapping = client_->Map(Buffer(Middle()));
    Check(mapping.status());
    Check(mapping->Unmap());
  }
  size_t buffers() const { return memory_.size() / kBufferBytes; }

 private:
  static constexpr size_t kBufferBytes = 64;

  size_t Middle() const { return buffers() / 2 * kBufferBytes; }
  std::span<std::byte> Buffer(size_t at) { return std::span(memory_).subspan(at, kBufferBytes); }

  PeerProcess peer_;
  std::vector<std::byte> memory_;
  absl::StatusOr<Client> client_ = absl::UnavailableError("not connected");
  std::vector<DmaMapping> mappings_;
};

// What an application pays: both sides' tables, the descriptor, and two round trips.
void RegisterMapAndUnmap(MappingClient& client) {
  const std::string name = fmt::format("ClientMapAndUnmap/{}", client.buffers());
  benchmark::RegisterBenchmark(name.c_str(), [&client](benchmark::State& state) {
    client.MapOthers();
    for (auto _ : state) client.MapAndUnmap();
    state.counters["mappings"] = static_cast<double>(client.buffers());
  })->UseRealTime();
}

int Run(int argc, char** argv) {
  std::array<MappingClient, 3> clients = {MappingClient(16), MappingClient(1024),
                                          MappingClient(65535)};
  for (MappingClient& client : clients) client.Connect();
  for (MappingClient& client : clients) RegisterMapAndUnmap(client);
  return RunBenchmarks(
      argc, argv,
      {AtMost(1.5, "Translation/65535", "BareTree/65535",
              "a translation among 65,535 mappings, beside a look-up in a bare tree"),
       AtMost(0.2, "TranslationRepeated/65535", "BareTree/65535", "the same when it repeats"),
       AtMost(3, "MapAndUnmap/65535", "MapAndUnmap/16",
              "the server maps and unmaps among 65,535, beside the same among 16"),
       {.benchmark = "ClientMapAndUnmap/65535",
        .raw = "ClientMapAndUnmap/16",
        .what = "a client maps and unmaps among 65,535, beside the same among 16: two round "
                "trips are most of both"}});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
