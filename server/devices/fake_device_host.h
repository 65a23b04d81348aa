// A host for the tests of devices: memory is arrays, posted work runs when the test says so.
#ifndef SERVER_DEVICES_FAKE_DEVICE_HOST_H_
#define SERVER_DEVICES_FAKE_DEVICE_HOST_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/device.h"

namespace vfio_user {

enum class FakeAccess { kReadWrite, kReadOnly, kWriteOnly };

// Thread-hostile: the test's thread does everything.
class FakeDmaSpace final : public DmaSpace {
 public:
  // Lends `memory`, which stays the test's, at `at`.
  void Map(Iova at, std::span<std::byte> memory, FakeAccess access = FakeAccess::kReadWrite) {
    mappings_.push_back({at, memory, access});
  }

  // Called before each transfer.
  void set_before_transfer(std::function<void()> hook) { before_transfer_ = std::move(hook); }

  // Where bytes were written, in order.
  const std::vector<Iova>& writes() const { return writes_; }

  using DmaSpace::Read;
  using DmaSpace::Write;
  absl::Status Read(std::span<const DmaReadPiece> pieces, DmaAccessPath path) override;
  absl::Status Write(std::span<const DmaWritePiece> pieces, DmaAccessPath path) override;

 private:
  struct Mapping {
    Iova at{};
    std::span<std::byte> memory;
    FakeAccess access{};
  };

  absl::StatusOr<std::span<std::byte>> Find(Iova at, size_t bytes, FakeAccess forbidden);

  std::vector<Mapping> mappings_;
  std::vector<Iova> writes_;
  std::function<void()> before_transfer_ = [] {};
};

// Thread-hostile, like its memory.
class FakeDeviceHost final : public DeviceHost {
 public:
  FakeDmaSpace& memory() { return dma_; }

  // Runs what was posted, and what that posts. Returns how much it was.
  int RunPosted();

  // The interrupts so far, in order.
  const std::vector<std::pair<IrqIndex, uint32_t>>& interrupts() const { return interrupts_; }

  DmaSpace& dma() override { return dma_; }
  void Post(std::function<void()> work) override { posted_.push_back(std::move(work)); }
  void TriggerInterrupt(IrqIndex index, uint32_t vector) override {
    interrupts_.emplace_back(index, vector);
  }
  void SetIntx(IntxLine line) override { intx_ = line == IntxLine::kUp; }
  IrqIndex enabled_interrupts() override { return enabled_interrupts_; }

  // The INTx line.
  bool intx() const { return intx_; }
  // What the device is told; kIntx before.
  void set_enabled_interrupts(IrqIndex index) { enabled_interrupts_ = index; }

 private:
  FakeDmaSpace dma_;
  std::deque<std::function<void()>> posted_;
  std::vector<std::pair<IrqIndex, uint32_t>> interrupts_;
  bool intx_ = false;
  IrqIndex enabled_interrupts_ = IrqIndex::kIntx;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_FAKE_DEVICE_HOST_H_
