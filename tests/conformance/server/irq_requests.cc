#include "tests/conformance/server/irq_requests.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "proto_defs/transport/deadline.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {

WireRequest SetIrqs(const IrqNumbers& numbers, std::vector<FdView> fds) {
  WireRequest request = {.command = Command::kDeviceSetIrqs, .body = {}, .fds = std::move(fds)};
  WireWriter out(request.body);
  out.Write<uint32_t>(numbers.argsz);
  out.Write<uint32_t>(numbers.flags);
  out.Write<uint32_t>(static_cast<uint32_t>(numbers.index));
  out.Write<uint32_t>(numbers.start);
  out.Write<uint32_t>(numbers.count);
  out.WriteBytes(numbers.bools);
  return request;
}

IrqSignal IrqSignal::Create() {
  return IrqSignal(UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)));
}

IrqSignal IrqSignal::Blocking() { return IrqSignal(UniqueFd(::eventfd(0, EFD_CLOEXEC))); }

uint64_t IrqSignal::Take() {
  pollfd entry = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
  uint64_t count = 0;
  if (::poll(&entry, 1, 0) <= 0) return 0;
  return ::read(fd_.get(), &count, sizeof(count)) == sizeof(count) ? count : 0;
}

absl::Status IrqSignal::Wait(const WireClient& client) const {
  pollfd entry = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
  const Deadline deadline = Earlier(Deadline::In(client.terms().patience), client.terms().deadline);
  if (::poll(&entry, 1, deadline.PollMilliseconds()) > 0) return absl::OkStatus();
  return Misbehaved("the eventfd was not signalled");
}

void IrqSignal::Fill() {
  const uint64_t most = UINT64_MAX - 1;
  (void)!::write(fd_.get(), &most, sizeof(most));
}

absl::Status Bind(WireClient& client, IrqIndex index, const std::vector<FdView>& signals) {
  return client.DoPlain(SetIrqs({.flags = kIrqEventfd | kIrqTrigger,
                                 .index = index,
                                 .count = static_cast<uint32_t>(signals.size())},
                                signals));
}

absl::Status Trigger(WireClient& client, IrqIndex index, uint32_t vector) {
  return client.DoPlain(SetIrqs({.index = index, .start = vector}));
}

}  // namespace vfio_user
