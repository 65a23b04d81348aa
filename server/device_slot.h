// A device and all that the server keeps for it while clients come and go.
#ifndef SERVER_DEVICE_SLOT_H_
#define SERVER_DEVICE_SLOT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "server/device.h"
#include "server/dma/client_dma_space.h"
#include "server/events/doorbells.h"
#include "server/events/event_poller.h"
#include "server/events/thread.h"
#include "server/events/work_queue.h"
#include "server/interrupts/interrupt_table.h"
#include "server/interrupts/mask_events.h"
#include "server/migration/migration.h"
#include "server/migration/saved_state.h"
#include "server/pci/pci_endpoint.h"

namespace vfio_user {

// Has the device's worker thread. Thread-safe, but for ClientCame and ClientGone, which take turns.
class DeviceSlot final : public DeviceHost, private ServerKeptState {
 public:
  struct Options {
    ClientDmaSpace::Options dma;
    EventPoller* poller = nullptr;  // Borrowed.
  };

  // InvalidArgument for a description that cannot be (see CheckDescription), ResourceExhausted
  // where no thread is to be had.
  static absl::StatusOr<std::unique_ptr<DeviceSlot>> Create(std::unique_ptr<Device> device,
                                                            const Options& options);
  // No client may be there. Waits for the work that runs; what has not begun is dropped.
  ~DeviceSlot() override;

  // DeviceHost, for the device.
  DmaSpace& dma() override { return dma_; }
  void Post(std::function<void()> work) override { work_.Post(std::move(work)); }
  void TriggerInterrupt(IrqIndex index, uint32_t vector) override {
    interrupts_.Trigger(index, vector);
  }
  void SetIntx(IntxLine line) override { interrupts_.SetLine(line); }
  IrqIndex enabled_interrupts() override { return pci_.enabled_interrupts(); }

  // The parts, for the handlers of commands.
  Device& device() { return *device_; }
  ClientDmaSpace& client_memory() { return dma_; }
  InterruptTable& interrupts() { return interrupts_; }
  PciEndpoint& pci() { return pci_; }
  WorkQueue& work() { return work_; }
  Migration& migration() { return migration_; }
  EventPoller& poller() { return poller_; }
  Doorbells& doorbells() { return doorbells_; }

  // nullptr for an index that is no PCI device's.
  const RegionInfo* region(RegionIndex index) const;

  // Does what SET_IRQS asks; the protocol thread's. What that makes due is signalled by the worker.
  // Errors are those of InterruptTable::Apply and MaskEvents::Apply.
  absl::Status SetIrqs(const SetIrqsRequest& request, std::vector<UniqueFd> fds);

  // Resets device and configuration space on the worker, once what it does now was cancelled, and
  // then calls `done` there. What the client mapped and bound stays, and so does its log of writes;
  // doorbells that it rang before and the device was not told of are forgotten. The device runs
  // again, whatever its migration state was.
  void Reset(std::function<void()> done);

  // DMA messages go over `channel`: see ClientDmaSpace::Connect.
  void ClientCame(std::shared_ptr<Channel> channel, uint32_t max_data_xfer_bytes,
                  const PeerCredentials& client);
  // Takes back what the client lent and bound, ends its log of writes and its migration, and waits
  // until no work of its time is left. Breaks the channel.
  void ClientGone();

 private:
  // ServerKeptState, for migration.
  void SaveInto(SavedState& state) override;
  absl::Status Check(const SavedState& state) const override;
  void RestoreFrom(const SavedState& state) override;

  DeviceSlot(std::unique_ptr<Device> device, const Options& options);

  const std::array<RegionInfo, kPciRegionCount> regions_;
  EventPoller& poller_;
  ClientDmaSpace dma_;
  InterruptTable interrupts_;
  WorkQueue work_;

  PciEndpoint pci_;
  MaskEvents mask_events_;

  // Resets that were asked for and are not done. While there are any, transfers are cancelled.
  Mutex reset_mu_;
  int resets_ ABSL_GUARDED_BY(reset_mu_) = 0;

  // Destroyed first, because it uses all of the above; the worker, which uses it, is joined before.
  std::unique_ptr<Device> device_;
  Migration migration_;
  Doorbells doorbells_;
  Thread worker_;
};

}  // namespace vfio_user

#endif  // SERVER_DEVICE_SLOT_H_
