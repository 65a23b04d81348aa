// Waits for an interrupt: wait_for_interrupt SOCKET has a dma-copy device run a descriptor that
// does nothing but signal MSI-X vector 0.
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "vfio_user/client.h"

namespace {

// Registers of BAR0, and the start of a descriptor.
constexpr uint64_t kRingIova = 0x10;
constexpr uint64_t kRingEntries = 0x18;
constexpr uint64_t kDoorbell = 0x1c;
constexpr uint32_t kRingLength = 2;

struct alignas(64) Descriptor {
  uint32_t opcode = 0;  // Nothing to do.
  uint32_t flags = 1;   // An interrupt when it is done.
};

absl::StatusOr<uint64_t> RunAndWait(const std::string& socket) {
  Descriptor ring[kRingLength];
  absl::StatusOr<vfio_user::Client> client = vfio_user::Client::Connect(socket);
  if (!client.ok()) return client.status();
  absl::StatusOr<vfio_user::Interrupt> interrupt =
      client->BindInterrupt(vfio_user::IrqIndex::kMsix, 0);
  if (!interrupt.ok()) return interrupt.status();
  // Memory on the stack will do as well as any, as long as it outlives the mapping.
  absl::StatusOr<vfio_user::DmaMapping> mapping =
      client->Map(std::as_writable_bytes(std::span(ring)));
  if (!mapping.ok()) return mapping.status();
  absl::StatusOr<vfio_user::Region> bar0 = client->OpenRegion(vfio_user::RegionIndex::kBar0);
  if (!bar0.ok()) return bar0.status();
  absl::StatusOr<vfio_user::PciFunction> pci = client->OpenPci();
  if (!pci.ok()) return pci.status();

  // The registers are as the client before left them.
  absl::Status status = client->Reset();
  // From here on the device may read and write memory.
  status.Update(pci->EnableBusMaster());
  status.Update(bar0->Write<uint64_t>(kRingIova, vfio_user::ToU64(mapping->iova())));
  status.Update(bar0->Write<uint32_t>(kRingEntries, kRingLength));
  status.Update(bar0->Write<uint32_t>(kDoorbell, 1));
  if (!status.ok()) return status;
  // The eventfd, interrupt->fd(), could be waited for by poll() or epoll as well.
  return interrupt->Wait(absl::Seconds(5));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: wait_for_interrupt SOCKET\n");
    return 2;
  }
  const absl::StatusOr<uint64_t> signals = RunAndWait(argv[1]);
  if (!signals.ok()) {
    fmt::print(stderr, "{}\n", signals.status().ToString());
    return 1;
  }
  fmt::print("{} interrupt{}\n", *signals, *signals == 1 ? "" : "s");
  return 0;
}
