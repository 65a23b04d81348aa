// A device for the checks that no product of this tree has the parts for.
#ifndef TESTS_CONFORMANCE_SERVER_ALL_PARTS_DEVICE_H_
#define TESTS_CONFORMANCE_SERVER_ALL_PARTS_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/device.h"
#include "server/mappable_bar.h"

namespace vfio_user {

// PCI 1234:a110. Every type of interrupts, MSI with 4 vectors and MSI-X with 8; BAR0 is 64 KiB of
// memory, of which clients may map two parts, and has two doorbells; the MSI-X table is in BAR1;
// BAR2 can only be read, and BAR3 only be written. It does nothing, and its state stays where it
// is.
class AllPartsDevice final : public Device {
 public:
  // ResourceExhausted where there is no memory or descriptor for BAR0.
  static absl::StatusOr<std::unique_ptr<AllPartsDevice>> Create();

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost&) override {}
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> data) override;
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override;
  void Reset() override { memory_.Clear(); }

 private:
  explicit AllPartsDevice(MappableBar memory);

  DeviceDescription description_;
  MappableBar memory_;  // BAR0's. The others have none: they read as 0.
};

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_ALL_PARTS_DEVICE_H_
