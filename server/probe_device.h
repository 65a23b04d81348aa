// A device for tests of the server: it does what the test says, and tells what happened to it.
#ifndef SERVER_PROBE_DEVICE_H_
#define SERVER_PROBE_DEVICE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"
#include "server/devices/bar_memory.h"

namespace vfio_user {

// Where the capabilities of ProbeDevice are in its config space.
inline constexpr uint64_t kProbePowerManagement = 0x40;
inline constexpr uint64_t kProbeMsi = 0x48;
inline constexpr uint64_t kProbeMsix = 0x60;
inline constexpr uint64_t kProbeExpress = 0x6c;

// BAR0 is 4 KiB of memory, BAR2 can only be read, BAR3 only be written. INTx, four vectors of MSI
// and of MSI-X, with the table of these in BAR1, and ERR.
class ProbeDevice : public Device {
 public:
  // Called with what is written to BAR0, as a number, after it was written.
  using WriteHook = std::function<absl::Status(DeviceHost& host, uint64_t offset, uint64_t value)>;

  explicit ProbeDevice(WriteHook on_write = nullptr) : on_write_(std::move(on_write)) {
    description_.name = "probe";
    description_.pci = {.vendor_id = 0x1234, .device_id = 0x5678};
    description_.bars = {
        {.index = RegionIndex::kBar0, .size = 4096},
        {.index = RegionIndex::kBar1, .size = 4096},
        {.index = RegionIndex::kBar2, .size = 16, .flags = RegionFlag::kRead},
        {.index = RegionIndex::kBar3, .size = 16, .flags = RegionFlag::kWrite},
    };
    description_.irqs = {{.index = IrqIndex::kIntx, .count = 1},
                         {.index = IrqIndex::kMsi, .count = 4},
                         {.index = IrqIndex::kMsix, .count = 4},
                         {.index = IrqIndex::kErr, .count = 1}};
    description_.power_management = true;
    description_.msi.per_vector_mask = true;
    description_.msix = {.bar = RegionIndex::kBar1, .table_offset = 0, .pba_offset = 0x800};
    description_.express = PciExpressDescription();
  }
  ~ProbeDevice() override {
    if (on_destroyed_) on_destroyed_();
  }

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost& host) override { host_ = &host; }

  absl::Status ReadRegion(RegionIndex, uint64_t offset, std::span<std::byte> data) override {
    memory_.Read(offset, data);
    return absl::OkStatus();
  }
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override {
    memory_.Write(offset, data);
    if (!on_write_ || index != RegionIndex::kBar0 || data.size() > sizeof(uint64_t)) {
      return absl::OkStatus();
    }
    uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    return on_write_(*host_, offset, value);
  }
  void Reset() override {
    ++resets_;
    memory_.Clear();
  }

  int resets() const { return resets_; }
  DeviceHost& host() { return *host_; }
  void set_on_destroyed(std::function<void()> hook) { on_destroyed_ = std::move(hook); }

 private:
  DeviceDescription description_;
  const WriteHook on_write_;
  std::function<void()> on_destroyed_;
  DeviceHost* host_ = nullptr;
  BarMemory memory_{4096};  // Of all BARs.
  std::atomic<int> resets_ = 0;
};

}  // namespace vfio_user

#endif  // SERVER_PROBE_DEVICE_H_
