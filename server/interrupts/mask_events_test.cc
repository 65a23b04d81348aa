#include "server/interrupts/mask_events.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"
#include "server/events/event_poller.h"
#include "server/interrupts/interrupt_table.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

const IrqDescription kTypes[] = {{.index = IrqIndex::kIntx, .count = 1},
                                 {.index = IrqIndex::kMsix, .count = 4},
                                 {.index = IrqIndex::kErr, .count = 1}};

SetIrqsRequest Request(IrqIndex index, IrqAction action, uint32_t start, uint32_t count) {
  SetIrqsRequest request;
  request.data = IrqData::kEventfd;
  request.action = action;
  request.index = index;
  request.start = start;
  request.count = count;
  return request;
}

UniqueFd NewEvent() { return UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

void Ring(const UniqueFd& event) {
  const uint64_t one = 1;
  ASSERT_EQ(::write(event.get(), &one, sizeof(one)), 8);
}

// Whether the poller's thread makes `holds` true, in more time than it can need.
bool Eventually(const std::function<bool()>& holds) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
  }
  return true;
}

class MaskEventsTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<EventPoller>> poller = EventPoller::Create();
    ASSERT_THAT(poller, IsOk());
    poller_ = *std::move(poller);
    masks_ = std::make_unique<MaskEvents>(interrupts_, *poller_);
  }

  static std::vector<UniqueFd> CopiesOf(std::initializer_list<FdView> fds) {
    std::vector<UniqueFd> copies;
    for (const FdView fd : fds) copies.emplace_back(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    return copies;
  }

  // Masks a vector through an event, and waits until that is so: the table announces a trigger of
  // vector 3, which is bound, once the poller has handled what came before.
  void WaitForPoller(const UniqueFd& unmask_event) {
    const int before = due_;
    Ring(unmask_event);
    ASSERT_TRUE(Eventually([&] { return due_ != before; }));
    interrupts_.SignalDue();
  }

  std::atomic<int> due_ = 0;
  InterruptTable interrupts_{kTypes, [this] { ++due_; }};
  std::unique_ptr<EventPoller> poller_;
  std::unique_ptr<MaskEvents> masks_;
  UniqueFd event_ = NewEvent();
  UniqueFd other_ = NewEvent();
};

// Whether a vector is masked: then it becomes pending.
bool IsMasked(InterruptTable& interrupts, uint32_t vector) {
  interrupts.Trigger(IrqIndex::kMsix, vector);
  return (interrupts.Pending(IrqIndex::kMsix, 0) >> vector & 1) != 0;
}

TEST_F(MaskEventsTest, UnmasksAVectorForEachSignal) {
  const UniqueFd target = NewEvent();
  ASSERT_THAT(
      interrupts_.Apply(Request(IrqIndex::kIntx, IrqAction::kTrigger, 0, 1), CopiesOf({target})),
      IsOk());
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kIntx, IrqAction::kUnmask, 0, 1), CopiesOf({event_})),
              IsOk());
  interrupts_.SetLine(IntxLine::kUp);

  // The line is up, and so each unmasking makes a signal due.
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(WaitForPoller(event_));

  uint64_t signals = 0;
  ASSERT_EQ(::read(target.get(), &signals, sizeof(signals)), 8);
  EXPECT_EQ(signals, 4u);
}

TEST_F(MaskEventsTest, MasksAndUnmasksEachVectorByItsOwn) {
  ASSERT_THAT(interrupts_.Apply(Request(IrqIndex::kMsix, IrqAction::kTrigger, 0, 4),
                                CopiesOf({other_, other_, other_, other_})),
              IsOk());
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 1, 1), CopiesOf({event_})),
              IsOk());

  Ring(event_);
  ASSERT_TRUE(Eventually([&] { return IsMasked(interrupts_, 1); }));

  EXPECT_FALSE(IsMasked(interrupts_, 0));
  EXPECT_FALSE(IsMasked(interrupts_, 2));
}

TEST_F(MaskEventsTest, MasksAllVectorsThatHaveTheSameEvent) {
  ASSERT_THAT(
      masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2), CopiesOf({event_, event_})),
      IsOk());
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 3, 1), CopiesOf({event_})),
              IsOk());

  Ring(event_);

  for (const uint32_t vector : {0u, 1u, 3u}) {
    ASSERT_TRUE(Eventually([&] { return IsMasked(interrupts_, vector); }));
  }
  EXPECT_FALSE(IsMasked(interrupts_, 2));
}

TEST_F(MaskEventsTest, LetsTwoVectorsSwapTheirEvents) {
  const SetIrqsRequest mask = Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2);
  ASSERT_THAT(masks_->Apply(mask, CopiesOf({event_, other_})), IsOk());

  ASSERT_THAT(masks_->Apply(mask, CopiesOf({other_, event_})), IsOk());

  Ring(event_);
  ASSERT_TRUE(Eventually([&] { return IsMasked(interrupts_, 1); }));
  EXPECT_FALSE(IsMasked(interrupts_, 0));
}

TEST_F(MaskEventsTest, MasksByWhatWasSignalledBeforeItWasGiven) {
  Ring(event_);

  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 1, 1), CopiesOf({event_})),
              IsOk());

  EXPECT_TRUE(IsMasked(interrupts_, 1));
}

TEST_F(MaskEventsTest, LeavesWhatIsSignalledAloneWhereItRefuses) {
  Ring(event_);
  std::vector<UniqueFd> fds = CopiesOf({event_});
  fds.push_back(Memfd("no eventfd"));

  EXPECT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2), std::move(fds)),
              StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_FALSE(IsMasked(interrupts_, 0));
  uint64_t count = 0;
  EXPECT_EQ(::read(event_.get(), &count, sizeof(count)), 8);
}

TEST_F(MaskEventsTest, TakesANewEventInThePlaceOfTheOldOne) {
  const int before = OpenFdCount();
  const SetIrqsRequest mask = Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2);

  for (int i = 0; i < 50; ++i) {
    ASSERT_THAT(masks_->Apply(mask, CopiesOf({event_, other_})), IsOk());
  }

  EXPECT_EQ(OpenFdCount(), before + 2);
  masks_->DropAll();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(MaskEventsTest, DropsTheEventsOfTheVectorsThatAreNamedWithoutDescriptors) {
  const int before = OpenFdCount();
  ASSERT_THAT(
      masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2), CopiesOf({event_, other_})),
      IsOk());

  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kUnmask, 0, 2), {}), IsOk());
  EXPECT_EQ(OpenFdCount(), before + 2);
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 1), {}), IsOk());

  EXPECT_EQ(OpenFdCount(), before + 1);
  Ring(event_);
  EXPECT_FALSE(IsMasked(interrupts_, 0));
}

TEST_F(MaskEventsTest, DropsTheEventsOfATypeAndNoOther) {
  const int before = OpenFdCount();
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 1), CopiesOf({event_})),
              IsOk());
  ASSERT_THAT(masks_->Apply(Request(IrqIndex::kIntx, IrqAction::kMask, 0, 1), CopiesOf({other_})),
              IsOk());

  masks_->Drop(IrqIndex::kMsix);

  EXPECT_EQ(OpenFdCount(), before + 1);
}

TEST_F(MaskEventsTest, RefusesWhatTheTableRefusesAndWhatIsNoEventfd) {
  const int before = OpenFdCount();
  const auto refused = StatusIs(absl::StatusCode::kInvalidArgument);
  std::vector<UniqueFd> no_event = CopiesOf({event_});
  no_event.push_back(Memfd("no eventfd"));

  EXPECT_THAT(masks_->Apply(Request(IrqIndex::kErr, IrqAction::kMask, 0, 1), CopiesOf({event_})),
              refused);
  EXPECT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 4, 1), CopiesOf({event_})),
              refused);
  EXPECT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2), CopiesOf({event_})),
              refused);
  EXPECT_THAT(masks_->Apply(Request(IrqIndex::kMsix, IrqAction::kMask, 0, 2), std::move(no_event)),
              refused);

  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
