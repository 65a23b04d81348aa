#include "server/device_slot.h"

#include <sys/eventfd.h>

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "server/events/doorbells.h"
#include "server/events/event_fd.h"
#include "server/events/event_poller.h"
#include "server/migratable.h"
#include "server/migration/saved_state.h"
#include "server/still_device.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;

// Counts what its one doorbell is rung; the count, as a byte, is its state.
class CountingDevice final : public StillDevice, private Migratable {
 public:
  CountingDevice() {
    description_.name = "counting";
    description_.bars = {
        {.index = RegionIndex::kBar0, .size = 4096, .doorbells = {{.offset = 0x10, .size = 4}}}};
  }

  void RingDoorbell(RegionIndex, uint64_t, uint64_t count) override { rung += count; }
  Migratable* migratable() override { return this; }
  void Reset() override { rung = 0; }

  uint64_t rung = 0;  // The worker's; a test waits for it before it looks.

 private:
  void Pause() override {}
  void Resume() override {}
  absl::StatusOr<std::vector<std::byte>> Save() override {
    return std::vector<std::byte>{static_cast<std::byte>(rung)};
  }
  absl::Status Restore(std::span<const std::byte>) override { return absl::OkStatus(); }
};

// The poller has come to nothing yet: it is in the handler of another event.
class DeviceSlotTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EventPoller>> poller = EventPoller::Create();
    ASSERT_THAT(poller, IsOk());
    poller_ = *std::move(poller);
    auto device = std::make_unique<CountingDevice>();
    device_ = device.get();
    auto slot = DeviceSlot::Create(std::move(device), {.dma = {}, .poller = poller_.get()});
    ASSERT_THAT(slot, IsOk());
    slot_ = *std::move(slot);
    StopPoller();
  }
  void TearDown() override {
    go_on_.set_value();
    slot_->doorbells().ClientGone();
  }

  void StopPoller() {
    absl::StatusOr<EventFd> event = EventFd::Create();
    ASSERT_THAT(event, IsOk());
    event->Signal();
    std::promise<void> stopped;
    auto watch = poller_->Add(std::make_shared<const EventFd>(*std::move(event)),
                              [this, &stopped](const EventFd& signalled) {
                                (void)signalled.Take();
                                stopped.set_value();
                                go_on_.get_future().get();
                              });
    ASSERT_THAT(watch, IsOk());
    busy_ = *std::move(watch);
    stopped.get_future().get();
  }

  void Ring(uint64_t count) {
    const absl::StatusOr<Doorbells::Offer> offer =
        slot_->doorbells().OfferOf(RegionIndex::kBar0, 8);
    ASSERT_THAT(offer, IsOk());
    ASSERT_EQ(offer->fds.size(), 1u);
    ASSERT_EQ(::eventfd_write(offer->fds[0].get(), count), 0);
  }

  std::promise<void> go_on_;
  std::unique_ptr<EventPoller> poller_;
  EventPoller::Watch busy_;
  std::unique_ptr<DeviceSlot> slot_;
  CountingDevice* device_ = nullptr;
};

TEST_F(DeviceSlotTest, SavesWhatWasRungThoughThePollerHasNotSeenItYet) {
  Ring(5);
  std::promise<absl::Status> saved;

  ASSERT_THAT(
      slot_->migration().SetState(MigState::kStopCopy,
                                  [&](const absl::Status& status) { saved.set_value(status); }),
      IsOk());
  ASSERT_THAT(saved.get_future().get(), IsOk());

  const absl::StatusOr<std::vector<uint8_t>> stream = slot_->migration().Read(1 << 20);
  ASSERT_THAT(stream, IsOk());
  const absl::StatusOr<SavedState> state = SavedState::Parse(*stream);
  ASSERT_THAT(state, IsOk());
  EXPECT_THAT(state->device, ElementsAre(std::byte{5}));
}

TEST_F(DeviceSlotTest, ForgetsAtAResetWhatWasRungBefore) {
  Ring(5);
  std::promise<void> reset;
  slot_->Reset([&] { reset.set_value(); });
  reset.get_future().get();

  Ring(2);
  std::promise<void> told;
  slot_->work().Post([&] {
    slot_->doorbells().HandOn();
    told.set_value();
  });
  told.get_future().get();

  EXPECT_EQ(device_->rung, 2u);
}

}  // namespace
}  // namespace vfio_user
