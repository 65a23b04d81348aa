// A command of the server's, while a request of the client waits for its reply or none does.
#ifndef TESTS_CONFORMANCE_CLIENT_DMA_EXCHANGE_H_
#define TESTS_CONFORMANCE_CLIENT_DMA_EXCHANGE_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/iova.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

// Where and when the server's commands reach the client.
struct Moment {
  std::string_view name;  // "while-waiting", a suffix of a check's name.
  Sockets sockets = Sockets::kMain;
  // Before the reply to the client's request, or after it.
  bool before_reply = true;
};
// With and without a twin, before and after the reply.
std::span<const Moment> Moments();

// The body of a DMA_READ or DMA_WRITE.
std::vector<uint8_t> DmaBody(Iova address, uint64_t count, std::span<const uint8_t> data = {});

// The id that these commands have, as the client's requests may have too.
inline constexpr uint16_t kServersId = 0x1234;

// Sends a command where the server's commands go, and returns what the client answers.
absl::StatusOr<ScriptedPeer::Message> Ask(Exchange& exchange, Command command,
                                          std::span<const uint8_t> body,
                                          std::span<const FdView> fds = {});

// OK if `reply` is a good one to `command`, with that body.
absl::Status WantReply(const ScriptedPeer::Message& reply, Command command,
                       std::span<const uint8_t> body);
// OK if it is an error reply of 16 bytes with one of `errnos`.
absl::Status WantRefusal(const ScriptedPeer::Message& reply, Command command,
                         const std::vector<int>& errnos);

// Has the client make a request, in whose course the server does `act` with the memory that was
// lent before. OK if the act, the request and another one are, and no byte was touched but what was
// noted as written.
absl::Status ActAt(const Moment& moment, Stage& stage, const Stage::Lent& lent,
                   std::function<absl::Status(Exchange&, const Stage::Lent&)> act);

}  // namespace vfio_user

#endif  // TESTS_CONFORMANCE_CLIENT_DMA_EXCHANGE_H_
