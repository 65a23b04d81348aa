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
  return slot;
}

DeviceSlot::DeviceSlot(std::unique_ptr<Device> device, const Options& options)
    : regions_(RegionsOf(device->description())),
      poller_(*options.poller),
      dma_(options.dma),
      interrupts_(device->description().irqs,
                  [this] { work_.Post([this] { interrupts_.SignalDue(); }); }),
      pci_(*device, interrupts_, dma_),
      mask_events_(interrupts_, poller_),
      device_(std::move(device)),
      migration_(*device_, *this, work_),
      doorbells_(*device_, work_, poller_) {}

DeviceSlot::~DeviceSlot() {
  work_.Close();
  worker_.Join();
}

const RegionInfo* DeviceSlot::region(RegionIndex index) const {
  const auto i = static_cast<size_t>(index);
  return i < regions_.size() ? &regions_[i] : nullptr;
}

absl::Status DeviceSlot::SetIrqs(const SetIrqsRequest& request, std::vector<UniqueFd> fds) {
  if (request.data == IrqData::kEventfd && request.action != IrqAction::kTrigger) {
    return mask_events_.Apply(request, std::move(fds));
  }
  if (request.count == 0) {
    // The whole type is disabled. Before its masks are forgotten: an eventfd that was signalled
    // could set one again after that.
    VFIO_USER_RETURN_IF_ERROR(interrupts_.Check(request, fds.size()));
    mask_events_.Drop(request.index);
  }
  return interrupts_.Apply(request, std::move(fds));
}

void DeviceSlot::Reset(std::function<void()> done) {
  {
    MutexLock lock(reset_mu_);
    ++resets_;
    dma_.CancelTransfers();
  }
  migration_.ResetBegins();
  work_.Post([this, done = std::move(done)] {
    doorbells_.Forget();
    device_->Reset();
    pci_.Reset();
    {
      MutexLock lock(reset_mu_);
      if (--resets_ == 0) dma_.ResumeTransfers();
    }
    migration_.ResetEnds();
    done();
  });
}

void DeviceSlot::ClientCame(std::shared_ptr<Channel> channel, uint32_t max_data_xfer_bytes,
                            const PeerCredentials& client) {
  dma_.Connect(std::move(channel), max_data_xfer_bytes, client);
}

void DeviceSlot::ClientGone() {
  dma_.Disconnect();
  // Before the worker is waited for: it may be in a signal that the client made to block.
  mask_events_.DropAll();
  interrupts_.DropAll();
  pci_.ClientGone();
  doorbells_.ClientGone();
  work_.WaitUntilIdle();
  migration_.ClientGone();
  work_.WaitUntilIdle();
}

void DeviceSlot::SaveInto(SavedState& state) {
  // Before the device is asked for its own state, which they may change: whoever rang sees the
  // device stopped and does not ring again.
  doorbells_.HandOn();
  state.config = pci_.SaveConfig();
  state.interrupts = pci_.SaveInterrupts();
}

absl::Status DeviceSlot::Check(const SavedState& state) const {
  return pci_.CheckSaved(state.config, state.interrupts);
}

void DeviceSlot::RestoreFrom(const SavedState& state) {
  pci_.Restore(state.config, state.interrupts);
}

}  // namespace vfio_user
