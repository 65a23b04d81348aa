// The program of the README: zero_memory SOCKET has a dma-copy device fill a buffer with zeros.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "vfio_user/client.h"

namespace {

// Has the device at `socket` fill `buffer` with zeros, where it lies.
absl::Status Zero(const std::string& socket, std::span<std::byte> buffer) {
  absl::StatusOr<vfio_user::Client> device = vfio_user::Client::Connect(socket);
  if (!device.ok()) return device.status();
  // A ring of two of its descriptors. The first: fill (2) with 0, interrupt when done (bit 32).
  uint64_t ring[16] = {2 | 1ull << 32, 0, reinterpret_cast<uint64_t>(buffer.data()), buffer.size()};

  // From here until these two go, the device reaches that memory, at its own addresses.
  auto lent_buffer = device->Map(buffer);
  auto lent_ring = device->Map(std::as_writable_bytes(std::span(ring)));
  auto bar0 = device->OpenRegion(vfio_user::RegionIndex::kBar0);
  auto interrupt = device->BindInterrupt(vfio_user::IrqIndex::kMsix, 0);
  auto pci = device->OpenPci();
  absl::Status status = device->Reset();
  status.Update(lent_buffer.status());
  status.Update(lent_ring.status());
  status.Update(bar0.status());
  status.Update(interrupt.status());
  status.Update(pci.status());
  if (status.ok()) status = pci->EnableBusMaster();  // Now it may read and write memory.
  if (status.ok()) status = bar0->Write<uint64_t>(0x10, vfio_user::ToU64(lent_ring->iova()));
  if (status.ok()) status = bar0->Write<uint32_t>(0x18, 2);  // The ring's length.
  if (status.ok()) status = bar0->Write<uint32_t>(0x1c, 1);  // Go.
  if (status.ok()) status = interrupt->Wait(absl::Seconds(5)).status();
  // The device has written to the ring: 1 is done, 2 is failed.
  if (status.ok() && static_cast<uint32_t>(ring[4]) != 1) return absl::AbortedError("it failed");
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: zero_memory SOCKET\n");
    return 2;
  }
  constexpr size_t kBytes = 1'000'000;
  auto* const memory = static_cast<std::byte*>(std::malloc(kBytes));
  const std::span<std::byte> buffer(memory, memory == nullptr ? 0 : kBytes);
  std::ranges::fill(buffer, std::byte{0x5a});
  const absl::Status status = Zero(argv[1], buffer);
  const bool zero =
      std::ranges::all_of(buffer, [](std::byte byte) { return byte == std::byte{0}; });
  std::free(memory);
  if (!status.ok()) {
    fmt::print(stderr, "{}\n", status.ToString());
    return 1;
  }
  fmt::print("{} bytes, {}\n", kBytes, zero ? "all zero" : "NOT all zero");
  return zero ? 0 : 1;
}
