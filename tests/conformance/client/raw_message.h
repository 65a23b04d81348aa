// Messages that need not be any, and ways to send them that sockets allow and peers dislike.
#ifndef TESTS_CONFORMANCE_CLIENT_RAW_MESSAGE_H_
#define TESTS_CONFORMANCE_CLIENT_RAW_MESSAGE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// The bytes of a message whose header says `msg_size`, or else the size that it has.
std::vector<uint8_t> MessageBytes(MessageHeader header, std::span<const uint8_t> body = {},
                                  std::optional<uint32_t> msg_size = std::nullopt);

// Sends [0, cut) and then the rest, once the receiver has taken the first part off the socket, or
// has shown for a while that it waits for more.
absl::Status SendInTwo(ScriptedPeer& peer, std::span<const uint8_t> bytes, size_t cut);

// The same for each byte.
absl::Status SendByteByByte(ScriptedPeer& peer, std::span<const uint8_t> bytes);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_RAW_MESSAGE_H_
