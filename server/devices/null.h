// A device that does nothing.
#ifndef SERVER_DEVICES_NULL_H_
#define SERVER_DEVICES_NULL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/device.h"
#include "server/mappable_bar.h"
#include "server/migratable.h"

namespace vfio_user {

// PCI 1234:0001. BAR0 is 4 KiB of memory that keeps what is written to it until a reset; accesses
// of any length and alignment. Clients may map all of it. No interrupts, no DMA.
class NullDevice final : public Device, private Migratable {
 public:
  static constexpr uint64_t kBarBytes = 4096;

  // ResourceExhausted where there is no memory or descriptor for the BAR.
  static absl::StatusOr<std::unique_ptr<NullDevice>> Create();

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost&) override {}
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> data) override;
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override;
  Migratable* migratable() override { return this; }
  void Reset() override { memory_.Clear(); }

 private:
  // Migratable. Its state is the BAR, after a version. It never does anything that could be paused.
  void Pause() override {}
  void Resume() override {}
  absl::StatusOr<std::vector<std::byte>> Save() override;
  absl::Status Restore(std::span<const std::byte> state) override;

  explicit NullDevice(MappableBar memory);

  DeviceDescription description_;
  MappableBar memory_;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICES_NULL_H_
