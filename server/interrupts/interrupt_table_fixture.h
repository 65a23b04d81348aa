// What tests of the interrupt table share: one with a vector or more of most types, and eventfds.
#ifndef SERVER_INTERRUPTS_INTERRUPT_TABLE_FIXTURE_H_
#define SERVER_INTERRUPTS_INTERRUPT_TABLE_FIXTURE_H_

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/irq.h"
#include "server/device.h"
#include "server/interrupts/interrupt_table.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {

inline const IrqDescription kInterruptTypes[] = {
    {.index = IrqIndex::kIntx, .count = 1},
    {.index = IrqIndex::kMsi, .count = 2},
    {.index = IrqIndex::kMsix, .count = 4},
    {.index = IrqIndex::kErr, .count = 1},
};

inline SetIrqsRequest Request(IrqIndex index, IrqData data, IrqAction action, uint32_t start,
                              uint32_t count) {
  SetIrqsRequest request;
  request.data = data;
  request.action = action;
  request.index = index;
  request.start = start;
  request.count = count;
  return request;
}

inline SetIrqsRequest BindRequest(IrqIndex index, uint32_t start, uint32_t count) {
  return Request(index, IrqData::kEventfd, IrqAction::kTrigger, start, count);
}

inline SetIrqsRequest MaskRequest(IrqIndex index, IrqAction action, uint32_t start,
                                  uint32_t count) {
  return Request(index, IrqData::kNone, action, start, count);
}

class InterruptTableFixture : public testing::Test {
 protected:
  InterruptTableFixture() {
    for (UniqueFd& event : events_) event = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }

  UniqueFd CopyOf(FdView fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

  // Binds vectors from `start` on to `events_` from the first on.
  absl::Status Bind(IrqIndex index, uint32_t start, uint32_t count) {
    std::vector<UniqueFd> fds;
    for (uint32_t i = 0; i < count; ++i) fds.push_back(CopyOf(events_[i]));
    return table_.Apply(BindRequest(index, start, count), std::move(fds));
  }
  void Mask(IrqIndex index, uint32_t start, uint32_t count) {
    ASSERT_THAT(table_.Apply(MaskRequest(index, IrqAction::kMask, start, count), {}), IsOk());
  }
  void Unmask(IrqIndex index, uint32_t start, uint32_t count) {
    ASSERT_THAT(table_.Apply(MaskRequest(index, IrqAction::kUnmask, start, count), {}), IsOk());
  }
  void Disable(IrqIndex index) {
    ASSERT_THAT(table_.Apply(Request(index, IrqData::kNone, IrqAction::kTrigger, 0, 0), {}),
                IsOk());
  }

  // How often an event was signalled since it was last asked for.
  uint64_t Signals(size_t event) {
    uint64_t count = 0;
    return ::read(events_[event].get(), &count, sizeof(count)) < 0 ? 0 : count;
  }
  // The same, after what was announced to be due.
  uint64_t DueSignals(size_t event) {
    table_.SignalDue();
    return Signals(event);
  }

  UniqueFd events_[4];
  int announced_ = 0;
  InterruptTable table_{kInterruptTypes, [this] { ++announced_; }};
};

}  // namespace vfio_user

#endif  // SERVER_INTERRUPTS_INTERRUPT_TABLE_FIXTURE_H_
