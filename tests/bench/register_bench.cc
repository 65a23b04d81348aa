// A register read of a device in another process, beside a one-byte ping-pong over a socketpair
// between two processes: the least that any such read can cost while both sides block.
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmark/benchmark.h"
#include "client/client.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/devices/registry.h"
#include "server/server.h"
#include "tests/bench/ratio_reporter.h"

namespace vfio_user {
namespace {

// Both sides of both benchmarks stay where they are: whether the scheduler puts them on one
// processor or on two makes more difference than anything that is measured here.
void StayOn(int processor) {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  CPU_SET(processor, &processors);
  (void)::sched_setaffinity(0, sizeof(processors), &processors);
}

// A child process at the other end of a socket, ended with this object.
class Peer {
 public:
  explicit Peer(const std::function<void(UniqueFd)>& run) {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
    socket_ = UniqueFd(fds[0]);
    UniqueFd theirs(fds[1]);
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    StayOn(1);
    socket_.Reset();
    run(std::move(theirs));
    ::_exit(0);
  }
  ~Peer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

  UniqueFd TakeSocket() { return std::move(socket_); }

 private:
  UniqueFd socket_;
  pid_t pid_ = -1;
};

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

void BM_PingPong(benchmark::State& state) {
  Peer peer(Echo);
  const UniqueFd socket = peer.TakeSocket();
  char byte = 0;
  for (auto _ : state) {
    if (::write(socket.get(), &byte, 1) != 1 || ::read(socket.get(), &byte, 1) != 1) std::abort();
  }
}
BENCHMARK(BM_PingPong)->Name("PingPong")->UseRealTime();

void BM_RegisterRead(benchmark::State& state) {
  Peer peer(ServeNull);
  const auto client = Client::Adopt(peer.TakeSocket());
  if (!client.ok()) std::abort();
  // What is measured is the message: this device lets its BAR be mapped.
  const auto bar0 = client->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
  if (!bar0.ok()) std::abort();
  for (auto _ : state) {
    const absl::StatusOr<uint32_t> value = bar0->Read<uint32_t>(0);
    if (!value.ok()) std::abort();
    benchmark::DoNotOptimize(*value);
  }
}
BENCHMARK(BM_RegisterRead)->Name("RegisterRead")->UseRealTime();

}  // namespace
}  // namespace vfio_user

int main(int argc, char** argv) {
  vfio_user::StayOn(0);
  return vfio_user::RunBenchmarks(argc, argv, {{"RegisterRead", "PingPong", 1.15}});
}
