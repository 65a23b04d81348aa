// DEVICE_SET_IRQS as the checks send it, right and wrong, and the eventfds that go with it.
#ifndef TESTS_CONFORMANCE_SERVER_IRQ_REQUESTS_H_
#define TESTS_CONFORMANCE_SERVER_IRQ_REQUESTS_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "tests/conformance/server/wire_client.h"

namespace vfio_user {

inline constexpr uint32_t kIrqNone = 1;
inline constexpr uint32_t kIrqBool = 2;
inline constexpr uint32_t kIrqEventfd = 4;
inline constexpr uint32_t kIrqMask = 8;
inline constexpr uint32_t kIrqUnmask = 16;
inline constexpr uint32_t kIrqTrigger = 32;

// The numbers of a DEVICE_SET_IRQS, any of them.
struct IrqNumbers {
  uint32_t argsz = 20;
  uint32_t flags = kIrqNone | kIrqTrigger;
  IrqIndex index{};
  uint32_t start = 0;
  uint32_t count = 1;
  std::vector<uint8_t> bools = {};
};

WireRequest SetIrqs(const IrqNumbers& numbers, std::vector<FdView> fds = {});

// An eventfd that a check gives to the server. Thread-compatible.
class IrqSignal {
 public:
  // Not blocking, unless something else is asked for: a full one must not hold up the server.
  static IrqSignal Create();
  static IrqSignal Blocking();

  // How often it was signalled since the last time; 0 when it was not.
  uint64_t Take();
  // Waits for a signal. DeadlineExceeded when none comes in the time that `client` has.
  absl::Status Wait(const WireClient& client) const;
  // As full as it can be: the next signal does not fit.
  void Fill();

  FdView fd() const { return fd_; }

 private:
  explicit IrqSignal(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

// Binds the first vectors of `index` to `signals`.
absl::Status Bind(WireClient& client, IrqIndex index, const std::vector<FdView>& signals);
// The device behaves as if it had interrupt `vector`.
absl::Status Trigger(WireClient& client, IrqIndex index, uint32_t vector = 0);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_SERVER_IRQ_REQUESTS_H_
