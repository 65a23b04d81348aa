// Register accesses of a device in another process. A read while both sides block is beside a
// one-byte ping-pong over a socketpair between two processes, the least that any such read can
// cost; the other ways of access are beside that read, or the instruction or system call that they
// replace it with. Both sides of both benchmarks stay where they are.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/ratio_target.h"
#include "tests/bench/served_device.h"
#include "tests/bench/stay_on.h"

namespace vfio_user {
namespace {

// Longer than any pause between two requests here, so that nobody blocks.
constexpr absl::Duration kBusyPoll = absl::Milliseconds(1);

struct Setup {
  const char* device = "null";
  absl::Duration busy_poll = absl::ZeroDuration();  // Of both sides.
  size_t server_processor = 1;
};

// A device in another process, and its BAR 0.
class PeerDevice {
 public:
  explicit PeerDevice(const Setup& setup = {}, RegionPath path = RegionPath::kMessage)
      : peer_([&setup](UniqueFd socket) {
          StayOn(setup.server_processor);
          ServeDevice(std::move(socket), setup.device, {.busy_poll = setup.busy_poll});
        }),
        client_(Client::Adopt(peer_.TakeSocket(), {.busy_poll = setup.busy_poll})) {
    if (!client_.ok()) std::abort();
    absl::StatusOr<Region> bar0 = client_->OpenRegion(RegionIndex::kBar0, {.path = path});
    if (!bar0.ok()) std::abort();
    bar0_.emplace(*std::move(bar0));
  }

  const Region& bar0() const { return *bar0_; }

 private:
  PeerProcess peer_;
  absl::StatusOr<Client> client_;
  std::optional<Region> bar0_;
};

void BM_PingPong(benchmark::State& state) {
  PeerProcess peer([](UniqueFd socket) {
    StayOn(1);
    Echo(std::move(socket));
  });
  const UniqueFd socket = peer.TakeSocket();
  for (auto _ : state) {
    if (!PingPong(socket)) std::abort();
  }
}
BENCHMARK(BM_PingPong)->Name("PingPong")->UseRealTime();

// The same between two who try over and over: what of a busy read is the machine's.
bool SpinForByte(FdView socket) {
  char byte = 0;
  ssize_t got = -1;
  do {
    got = ::recv(socket.get(), &byte, 1, MSG_DONTWAIT);
  } while (got < 0 && errno == EAGAIN);
  return got == 1;
}

void BM_BusyPingPong(benchmark::State& state) {
  PeerProcess peer([](UniqueFd socket) {
    StayOn(1);
    while (SpinForByte(socket) && ::write(socket.get(), "", 1) == 1) {
    }
  });
  const UniqueFd socket = peer.TakeSocket();
  // Blocking, so that the other gets to its own processor, which it has to leave ours for.
  if (!PingPong(socket)) std::abort();
  for (auto _ : state) {
    if (::write(socket.get(), "", 1) != 1 || !SpinForByte(socket)) std::abort();
  }
}
BENCHMARK(BM_BusyPingPong)->Name("BusyPingPong")->UseRealTime();

void ReadRegisters(benchmark::State& state, const Region& bar0) {
  for (auto _ : state) {
    const absl::StatusOr<uint32_t> value = bar0.Read<uint32_t>(0);
    if (!value.ok()) std::abort();
    benchmark::DoNotOptimize(*value);
  }
}

void BM_RegisterRead(benchmark::State& state) {
  const PeerDevice device;
  ReadRegisters(state, device.bar0());
}
BENCHMARK(BM_RegisterRead)->Name("RegisterRead")->UseRealTime();

void BM_BusyRegisterRead(benchmark::State& state) {
  const PeerDevice device({.busy_poll = kBusyPoll});
  ReadRegisters(state, device.bar0());
}
BENCHMARK(BM_BusyRegisterRead)->Name("BusyRegisterRead")->UseRealTime();

// Two who spin and one processor for both, on which each has to let go of it for the other.
void BM_RegisterReadOneProcessor(benchmark::State& state) {
  const PeerDevice device({.server_processor = 0});
  ReadRegisters(state, device.bar0());
}
BENCHMARK(BM_RegisterReadOneProcessor)->Name("RegisterReadOneProcessor")->UseRealTime();

void BM_BusyRegisterReadOneProcessor(benchmark::State& state) {
  const PeerDevice device({.busy_poll = kBusyPoll, .server_processor = 0});
  ReadRegisters(state, device.bar0());
}
BENCHMARK(BM_BusyRegisterReadOneProcessor)->Name("BusyRegisterReadOneProcessor")->UseRealTime();

void BM_RegisterWrite(benchmark::State& state) {
  const PeerDevice device;
  for (auto _ : state) {
    if (!device.bar0().Write<uint32_t>(0, 1).ok()) std::abort();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_RegisterWrite)->Name("RegisterWrite")->UseRealTime();

void BM_PostedWrites(benchmark::State& state) {
  const PeerDevice device;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) {
      if (!device.bar0().Post<uint32_t>(0, 1).ok()) std::abort();
    }
    if (!device.bar0().Fence().ok()) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_PostedWrites)->Name("PostedWrites")->Arg(10'000)->UseRealTime();

void BM_WriteMany(benchmark::State& state) {
  const PeerDevice device;
  const std::array<std::byte, 4> value = {};
  const std::vector<RegionWrite> writes(static_cast<size_t>(state.range(0)),
                                        {.offset = 0, .from = value});
  for (auto _ : state) {
    if (!device.bar0().WriteMany(writes).ok()) std::abort();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_WriteMany)->Name("WriteMany")->Arg(1'000)->UseRealTime();

// The same through a mapping, where a register is memory.
void BM_MappedRead(benchmark::State& state) {
  const PeerDevice device({}, RegionPath::kAuto);
  ReadRegisters(state, device.bar0());
}
BENCHMARK(BM_MappedRead)->Name("MappedRead");

// Through a pointer of one's own.
void BM_MappedLoad(benchmark::State& state) {
  const PeerDevice device({}, RegionPath::kAuto);
  const std::span<std::byte> memory = device.bar0().Mapping(0, sizeof(uint32_t));
  if (memory.empty()) std::abort();
  const auto* const value = reinterpret_cast<const volatile uint32_t*>(memory.data());
  for (auto _ : state) benchmark::DoNotOptimize(*value);
}
BENCHMARK(BM_MappedLoad)->Name("MappedLoad");

void BM_Load(benchmark::State& state) {
  uint32_t own = 0;
  const volatile uint32_t* const value = &own;
  for (auto _ : state) benchmark::DoNotOptimize(*value);
}
BENCHMARK(BM_Load)->Name("Load");

void BM_MappedWrite(benchmark::State& state) {
  const PeerDevice device({}, RegionPath::kAuto);
  for (auto _ : state) {
    if (!device.bar0().Write<uint32_t>(0, 1).ok()) std::abort();
  }
}
BENCHMARK(BM_MappedWrite)->Name("MappedWrite");

void BM_Ring(benchmark::State& state) {
  const PeerDevice device({.device = "dma-copy"});
  const absl::StatusOr<std::vector<Doorbell>> doorbells = device.bar0().OpenDoorbells();
  if (!doorbells.ok()) std::abort();
  for (auto _ : state) {
    if (!doorbells->front().Ring().ok()) std::abort();
  }
}
BENCHMARK(BM_Ring)->Name("Ring")->UseRealTime();

void BM_EventfdWrite(benchmark::State& state) {
  const PeerDevice device({.device = "dma-copy"});
  const absl::StatusOr<std::vector<Doorbell>> doorbells = device.bar0().OpenDoorbells();
  if (!doorbells.ok()) std::abort();
  const uint64_t once = 1;
  for (auto _ : state) {
    if (::write(doorbells->front().fd(), &once, sizeof(once)) != sizeof(once)) std::abort();
  }
}
BENCHMARK(BM_EventfdWrite)->Name("EventfdWrite")->UseRealTime();

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  vfio_user::StayOn(0);
  return vfio_user::RunBenchmarks(
      argc, argv,
      {vfio_user::AtMost(1.10, "RegisterRead", "PingPong",
                         "a register read, beside a byte to and fro between two processes"),
       {.benchmark = "BusyRegisterRead",
        .raw = "RegisterRead",
        .at_most = 0.125,
        .note = "what spinning saves is the machine's wake-ups: no read can come below what "
                "BusyPingPong is of PingPong",
        .what = "a register read while both sides spin, beside one while both block"},
       {.benchmark = "BusyPingPong",
        .raw = "PingPong",
        .what = "a byte to and fro while both sides spin, beside one while both block"},
       {.benchmark = "BusyRegisterRead",
        .raw = "BusyPingPong",
        .what = "a register read, beside a byte to and fro, while both sides spin"},
       vfio_user::AtMost(1.5, "BusyRegisterReadOneProcessor", "RegisterReadOneProcessor",
                         "the same where both have one processor"),
       {.benchmark = "PostedWrites/10000",
        .raw = "RegisterWrite",
        .at_least = 10,
        .counter = "items_per_second",
        .what = "10,000 posted writes and a fence, beside waited-for writes (rate)"},
       {.benchmark = "WriteMany/1000",
        .raw = "RegisterWrite",
        .at_least = 10,
        .counter = "items_per_second",
        .what = "1,000 writes of WriteMany, beside waited-for writes (rate)"},
       vfio_user::AtMost(1.10, "MappedLoad", "Load",
                         "a load from a mapped BAR, beside one from memory"),
       // With bounds, flags and process checked.
       vfio_user::AtMost(20, "MappedRead", "Load", "Region::Read of a mapped BAR, beside a load"),
       vfio_user::AtMost(1.10, "Ring", "EventfdWrite",
                         "a doorbell rung by its eventfd, beside a write")});
}
