// Lends memory from malloc to a device: lend_memory SOCKET lets a dma-copy device copy one half of
// a buffer onto the other, and looks whether it did.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "vfio_user/client.h"

namespace {

// The registers of BAR0, and what the device runs: a ring of descriptors in client memory.
constexpr uint64_t kRingIova = 0x10;
constexpr uint64_t kRingEntries = 0x18;
constexpr uint64_t kDoorbell = 0x1c;
constexpr uint32_t kRingLength = 2;
constexpr uint32_t kOpcodeCopy = 1;
constexpr uint32_t kStatusDone = 1;

struct Descriptor {
  uint32_t opcode = kOpcodeCopy;
  uint32_t flags = 0;
  uint64_t source = 0;
  uint64_t destination = 0;
  uint64_t length = 0;
  uint32_t status = 0;
  uint32_t error = 0;
  uint64_t result = 0;
  uint64_t reserved[2] = {};
};

// The memory: nothing about it is special, it only has to stay where it is while it is lent.
struct Memory {
  Descriptor ring[kRingLength];
  std::byte source[10'000];
  std::byte destination[10'000];
};

absl::Status CopyOnDevice(const std::string& socket, Memory& memory) {
  absl::StatusOr<vfio_user::Client> client = vfio_user::Client::Connect(socket);
  if (!client.ok()) return client.status();
  // The device may reach the memory until `mapping` goes out of scope, and finds it at its own
  // address.
  absl::StatusOr<vfio_user::DmaMapping> mapping =
      client->Map(std::as_writable_bytes(std::span(&memory, 1)));
  if (!mapping.ok()) return mapping.status();
  absl::StatusOr<vfio_user::Region> bar0 = client->OpenRegion(vfio_user::RegionIndex::kBar0);
  if (!bar0.ok()) return bar0.status();
  absl::StatusOr<vfio_user::PciFunction> pci = client->OpenPci();
  if (!pci.ok()) return pci.status();

  memory.ring[0].source = reinterpret_cast<uint64_t>(memory.source);
  memory.ring[0].destination = reinterpret_cast<uint64_t>(memory.destination);
  memory.ring[0].length = sizeof(memory.source);
  // The registers are as the client before left them.
  absl::Status status = client->Reset();
  // From here on the device may read and write memory.
  status.Update(pci->EnableBusMaster());
  status.Update(bar0->Write<uint64_t>(kRingIova, vfio_user::ToU64(mapping->iova())));
  status.Update(bar0->Write<uint32_t>(kRingEntries, kRingLength));
  status.Update(bar0->Write<uint32_t>(kDoorbell, 1));
  // The device writes the status last: once it is there, so is the rest.
  const std::atomic_ref<uint32_t> done(memory.ring[0].status);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (status.ok() && done.load(std::memory_order_acquire) == 0) {
    if (std::chrono::steady_clock::now() > deadline) return absl::DeadlineExceededError("not done");
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    status = client->status();
  }
  if (!status.ok() || done.load() == kStatusDone) return status;
  return absl::AbortedError(fmt::format("the device failed: errno {}", memory.ring[0].error));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: lend_memory SOCKET\n");
    return 2;
  }
  const std::unique_ptr<void, decltype(&std::free)> block(std::malloc(sizeof(Memory)), &std::free);
  auto* const memory = new (block.get()) Memory();
  std::fill(std::begin(memory->source), std::end(memory->source), std::byte{0x5a});
  const absl::Status status = CopyOnDevice(argv[1], *memory);
  if (!status.ok()) {
    fmt::print(stderr, "{}\n", status.ToString());
    return 1;
  }
  const bool same = std::ranges::equal(memory->source, memory->destination);
  fmt::print("{} bytes copied, {}\n", sizeof(memory->source), same ? "equal" : "NOT equal");
  return same ? 0 : 1;
}
