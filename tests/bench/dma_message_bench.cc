// DMA by message, which the client library answers in another process: many requests in flight,
// beside the same requests one at a time.
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "fmt/format.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/device.h"
#include "server/dma_space.h"
#include "server/probe_device.h"
#include "server/server.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"

namespace vfio_user {
namespace {

constexpr size_t kMemoryBytes = 1 << 20;
alignas(4096) std::array<std::byte, kMemoryBytes> memory;

// A client in a process of its own, with its memory mapped by message at its own address, and a
// device in this one that may transfer.
class Pair {
 public:
  explicit Pair(uint32_t max_data_xfer_bytes)
      : client_([max_data_xfer_bytes](UniqueFd socket) {
          BeClient(std::move(socket), max_data_xfer_bytes);
        }) {}
  // Starts threads: after all processes.
  void Start() {
    auto device = std::make_unique<ProbeDevice>([this](DeviceHost&, uint64_t, uint64_t) {
      ready_.set_value();
      return absl::OkStatus();
    });
    device_ = device.get();
    auto server = Server::Create();
    if (!server.ok() || !(*server)->Adopt(client_.TakeSocket(), std::move(device)).ok()) {
      std::abort();
    }
    server_ = *std::move(server);
    ready_.get_future().wait();
  }

  DmaSpace& dma() { return device_->host().dma(); }
  static Iova address() { return Iova{reinterpret_cast<uintptr_t>(memory.data())}; }

 private:
  // Writes to BAR 0 when it is ready.
  [[noreturn]] static void BeClient(UniqueFd socket, uint32_t max_data_xfer_bytes) {
    auto client = Client::Adopt(std::move(socket), {.max_data_xfer_bytes = max_data_xfer_bytes});
    if (!client.ok()) std::abort();
    auto mapping = client->Map(memory, {.path = DmaPath::kMessage});
    auto pci = client->OpenPci();
    if (!mapping.ok() || !pci.ok() || !pci->EnableBusMaster().ok()) std::abort();
    if (!client->OpenRegion(RegionIndex::kBar0)->Write<uint32_t>(0, 1).ok()) std::abort();
    while (true) ::pause();
  }

  PeerProcess client_;
  std::promise<void> ready_;
  ProbeDevice* device_ = nullptr;
  std::unique_ptr<Server> server_;
};

template <typename Operation>
void Register(const std::string& name, size_t bytes, const Operation& operation) {
  benchmark::RegisterBenchmark(name.c_str(), [operation, bytes](benchmark::State& state) {
    for (auto _ : state) operation();
    state.SetBytesProcessed(static_cast<int64_t>(bytes) * state.iterations());
    state.counters["bytes"] = static_cast<double>(bytes);
  })->UseRealTime();
}

// `count` pieces of `bytes` each, `stride` apart.
std::vector<DmaReadPiece> Pieces(std::span<std::byte> buffer, size_t count, size_t stride) {
  std::vector<DmaReadPiece> pieces;
  const size_t bytes = buffer.size() / count;
  for (size_t i = 0; i < count; ++i) {
    pieces.push_back({Iova{ToU64(Pair::address()) + i * stride}, buffer.subspan(i * bytes, bytes)});
  }
  return pieces;
}

void Check(const absl::Status& status) {
  if (!status.ok()) std::abort();
}

void RegisterPair(const std::string& name, Pair& pair, const std::vector<DmaReadPiece>& pieces) {
  size_t bytes = 0;
  for (const DmaReadPiece& piece : pieces) bytes += piece.into.size();
  Register("DmaReadMessages/" + name, bytes,
           [&pair, pieces] { Check(pair.dma().Read(pieces, DmaAccessPath::kMessage)); });
  Register("OneAtATime/" + name, bytes, [&pair, pieces] {
    for (const DmaReadPiece& piece : pieces) {
      Check(pair.dma().Read(piece.from, piece.into, DmaAccessPath::kMessage));
    }
  });
}

int Run(int argc, char** argv) {
  // The usual limit of a message, and one at which a long transfer is many.
  Pair usual(1 << 20);
  Pair small(64 << 10);
  usual.Start();
  small.Start();
  std::vector<std::byte> buffer(kMemoryBytes);
  const std::span<std::byte> all(buffer);
  RegisterPair("64x512B", usual, Pieces(all.first(size_t{64} * 512), 64, 4096));
  RegisterPair("1MiBof1MiB", usual, Pieces(all, 1, 0));
  RegisterPair("1MiBof64KiB", small, Pieces(all, 16, 64 << 10));
  for (const auto& [name, bytes] : {std::pair("64B", size_t{64}),
                                    {"4KiB", 4 << 10},
                                    {"64KiB", 64 << 10},
                                    {"256KiB", 256 << 10}}) {
    Register(fmt::format("DmaReadMessages/{}", name), bytes, [&usual, part = all.first(bytes)] {
      Check(usual.dma().Read(Pair::address(), part, DmaAccessPath::kMessage));
    });
  }
  return RunBenchmarks(argc, argv,
                       {AtMost(0.2, "DmaReadMessages/64x512B", "OneAtATime/64x512B",
                               "64 pieces of 512 B by messages, beside one request at a time"),
                        AtMost(0.65, "DmaReadMessages/1MiBof64KiB", "OneAtATime/1MiBof64KiB",
                               "1 MiB by messages of 64 KiB, beside one request at a time"),
                        {.benchmark = "DmaReadMessages/1MiBof1MiB",
                         .raw = "OneAtATime/1MiBof1MiB",
                         .what = "1 MiB at the default limit of a message, 1 MiB: one request, "
                                 "and there is nothing to overlap"}});
}

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) { return vfio_user::Run(argc, argv); }
