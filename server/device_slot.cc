#include "server/device_slot.h"

#include <utility>

#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"
#include "server/device_description.h"

namespace vfio_user {

absl::StatusOr<std::unique_ptr<DeviceSlot>> DeviceSlot::Create(std::unique_ptr<Device> device,
                                                               const Options& options) {
  VFIO_USER_RETURN_IF_ERROR(
      Annotate(CheckDescription(device->description()), device->description().name));
  std::unique_ptr<DeviceSlot> slot(new DeviceSlot(std::move(device), options));
  VFIO_USER_ASSIGN_OR_RETURN(
      slot->worker_, Thread::Start("vfio-worker", [queue = &slot->work_] { queue->Run(); }));
  slot->device_->Attach(*slot);
  VFIO_USER_ASSIGN_OR_RETURN(slot->doorbells_,
                             Doorbells::Create(*slot->device_, slot->work_, *options.poller));
  return slot;
}

DeviceSlot::DeviceSlot(std::unique_ptr<Device> device, const Options& options)
    : regions_(RegionsOf(device->description())),
      poller_(*options.poller),
      dma_(options.dma),
      interrupts_(device->description().irqs),
      config_(device->description()),
      device_(std::move(device)),
      migration_(*device_, *this, work_) {}

DeviceSlot::~DeviceSlot() {
  work_.Close();
  worker_.Join();
}

const RegionInfo* DeviceSlot::region(RegionIndex index) const {
  const auto i = static_cast<size_t>(index);
  return i < regions_.size() ? &regions_[i] : nullptr;
}

void DeviceSlot::ReadConfig(size_t offset, std::span<std::byte> into) {
  MutexLock lock(config_mu_);
  config_.Read(offset, into);
}

void DeviceSlot::WriteConfig(size_t offset, std::span<const std::byte> from) {
  MutexLock lock(config_mu_);
  config_.Write(offset, from);
}

void DeviceSlot::Reset(std::function<void()> done) {
  {
    MutexLock lock(reset_mu_);
    ++resets_;
    dma_.CancelTransfers();
  }
  migration_.ResetBegins();
  work_.Post([this, done = std::move(done)] {
    device_->Reset();
    {
      MutexLock lock(config_mu_);
      config_.Reset();
    }
    {
      MutexLock lock(reset_mu_);
      if (--resets_ == 0) dma_.ResumeTransfers();
    }
    migration_.ResetEnds();
    done();
  });
}

void DeviceSlot::ClientCame(std::shared_ptr<Channel> channel, uint32_t max_data_xfer_bytes) {
  dma_.Connect(std::move(channel), max_data_xfer_bytes);
}

void DeviceSlot::ClientGone() {
  dma_.Disconnect();
  // Before the worker is waited for: it may be in a signal that the client made to block.
  interrupts_.DropAll();
  doorbells_->Drain();
  work_.WaitUntilIdle();
  migration_.ClientGone();
  work_.WaitUntilIdle();
}

void DeviceSlot::SaveInto(SavedState& state) {
  MutexLock lock(config_mu_);
  state.config = config_.Save();
}

absl::Status DeviceSlot::RestoreFrom(const SavedState& state) {
  MutexLock lock(config_mu_);
  return config_.Restore(state.config);
}

}  // namespace vfio_user
