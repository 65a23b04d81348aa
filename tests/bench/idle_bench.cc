// What a client and its server, in two processes, use of the processors while neither wants
// anything of the other: both block, at once or after they have spun for as long as they were told
// to; and how long that was.
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "client/region.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/ratio_reporter.h"
#include "tests/bench/served_device.h"

namespace vfio_user {
namespace {

constexpr absl::Duration kBusyPoll = absl::Milliseconds(1);
// After the last request, until nobody spins any more; some more than kBusyPoll, since whoever
// spins may have to wait for a processor.
constexpr absl::Duration kSettling = absl::Milliseconds(20);
constexpr absl::Duration kIdle = absl::Milliseconds(500);

// Of all threads of a process, since it began.
absl::Duration ProcessorTime(pid_t pid) {
  clockid_t clock = 0;
  timespec time = {};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) std::abort();
  return absl::DurationFromTimespec(time);
}

void BM_Idle(benchmark::State& state, absl::Duration busy_poll) {
  PeerProcess peer([busy_poll](UniqueFd socket) {
    ServeDevice(std::move(socket), "null", {.busy_poll = busy_poll});
  });
  const auto client = Client::Adopt(peer.TakeSocket(), {.busy_poll = busy_poll});
  if (!client.ok()) std::abort();
  const auto config = client->OpenRegion(RegionIndex::kConfig);
  if (!config.ok() || !config->Read<uint32_t>(0).ok()) std::abort();
  const auto both = [&] { return ProcessorTime(::getpid()) + ProcessorTime(peer.pid()); };
  const absl::Duration answered = both();
  absl::SleepFor(kSettling);
  state.counters["busy_polls"] = absl::FDivDuration(both() - answered, kBusyPoll);
  absl::Duration used = absl::ZeroDuration();
  absl::Duration idle = absl::ZeroDuration();
  for (auto _ : state) {
    const absl::Duration before = both();
    const absl::Time begin = absl::Now();
    absl::SleepFor(kIdle);
    used += both() - before;
    idle += absl::Now() - begin;
  }
  state.counters["processors"] = absl::FDivDuration(used, idle);
}
BENCHMARK_CAPTURE(BM_Idle, blocking, absl::ZeroDuration())
    ->Name("Idle/blocking")
    ->UseRealTime()
    ->Iterations(1);
BENCHMARK_CAPTURE(BM_Idle, polling, kBusyPoll)
    ->Name("Idle/busy-polling")
    ->UseRealTime()
    ->Iterations(1);

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  return vfio_user::RunBenchmarks(
      argc, argv,
      {{.benchmark = "Idle/blocking",
        .raw = "",
        .at_most = 0.001,
        .counter = "processors",
        .what = "processors that an idle connection uses, client and server together"},
       {.benchmark = "Idle/busy-polling",
        .raw = "",
        .at_most = 0.001,
        .counter = "processors",
        .what = "the same where both spin before they block, after that time"},
       // Each of the two for that long, and a quarter more for what they do before and after.
       {.benchmark = "Idle/busy-polling",
        .raw = "",
        .at_most = 2.5,
        .counter = "busy_polls",
        .what = "processor time from the last reply until both block, as multiples of that for "
                "which each may spin"}},
      {"--benchmark_repetitions=9"});
}
