#include "tests/conformance/client/raw_message.h"

#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <array>

#include "absl/time/time.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {
namespace {

// A receiver that takes whole messages only leaves parts of one where they are.
constexpr absl::Duration kPartIsLeft = absl::Milliseconds(20);

void WaitUntilTaken(const ScriptedPeer& peer) {
  const Deadline deadline = Deadline::In(kPartIsLeft);
  int queued = 1;
  while (queued > 0 && !deadline.passed()) {
    // Nothing waits for this: the kernel says what is queued, and not when it is gone.
    if (::ioctl(peer.fd().get(), SIOCOUTQ, &queued) != 0) return;
    ::sched_yield();
  }
}

}  // namespace

std::vector<uint8_t> MessageBytes(MessageHeader header, std::span<const uint8_t> body,
                                  std::optional<uint32_t> msg_size) {
  header.msg_size = msg_size.value_or(static_cast<uint32_t>(kHeaderBytes + body.size()));
  const std::array<uint8_t, kHeaderBytes> head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

absl::Status SendInTwo(ScriptedPeer& peer, std::span<const uint8_t> bytes, size_t cut) {
  VFIO_USER_RETURN_IF_ERROR(peer.SendBytes(bytes.first(cut)));
  WaitUntilTaken(peer);
  return peer.SendBytes(bytes.subspan(cut));
}

absl::Status SendByteByByte(ScriptedPeer& peer, std::span<const uint8_t> bytes) {
  for (const uint8_t& byte : bytes) {
    VFIO_USER_RETURN_IF_ERROR(peer.SendBytes({&byte, 1}));
    WaitUntilTaken(peer);
  }
  return absl::OkStatus();
}

}  // namespace vfio_user
