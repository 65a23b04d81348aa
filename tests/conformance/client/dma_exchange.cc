#include "tests/conformance/client/dma_exchange.h"

#include <algorithm>
#include <future>
#include <string>
#include <utility>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr Moment kMoments[] = {
    {"while-a-reply-is-awaited", Sockets::kMain, true},
    {"while-idle", Sockets::kMain, false},
    {"on-the-twin-while-a-reply-is-awaited", Sockets::kMainAndTwin, true},
    {"on-the-twin-while-idle", Sockets::kMainAndTwin, false},
};

absl::Status WantHeader(const MessageHeader& got, Command command) {
  if (!got.is_reply()) return Wrong("the client sent a command instead of a reply");
  if (got.msg_id != kServersId || got.command != command) {
    return Wrong(fmt::format("the client's reply has id {:#x} and command {}, want {:#x} and {}",
                             got.msg_id, static_cast<uint16_t>(got.command), kServersId,
                             static_cast<uint16_t>(command)));
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const Moment> Moments() { return kMoments; }

std::vector<uint8_t> DmaBody(Iova address, uint64_t count, std::span<const uint8_t> data) {
  std::vector<uint8_t> body = Serialize(DmaAccess{.address = address, .count = count});
  body.insert(body.end(), data.begin(), data.end());
  return body;
}

absl::StatusOr<ScriptedPeer::Message> Ask(Exchange& exchange, Command command,
                                          std::span<const uint8_t> body,
                                          std::span<const FdView> fds) {
  VFIO_USER_RETURN_IF_ERROR(
      exchange.commands().Send({.msg_id = kServersId, .command = command}, body, fds));
  return exchange.commands().Receive();
}

absl::Status WantReply(const ScriptedPeer::Message& reply, Command command,
                       std::span<const uint8_t> body) {
  VFIO_USER_RETURN_IF_ERROR(WantHeader(reply.header, command));
  if (reply.header.error_flag) {
    return Wrong(fmt::format("the client refused {} with errno {}", CommandName(command),
                             reply.header.error));
  }
  if (std::ranges::equal(reply.body, body)) return absl::OkStatus();
  return Wrong(fmt::format("the client's reply to {} has another body of {} bytes, want {}",
                           CommandName(command), reply.body.size(), body.size()));
}

absl::Status WantRefusal(const ScriptedPeer::Message& reply, Command command,
                         const std::vector<int>& errnos) {
  VFIO_USER_RETURN_IF_ERROR(WantHeader(reply.header, command));
  if (!reply.header.error_flag) {
    return Wrong(fmt::format("the client did what it has to refuse, command {}",
                             static_cast<uint16_t>(command)));
  }
  if (!reply.body.empty() || !reply.fds.empty()) {
    return Wrong(
        fmt::format("the client's error reply has {} bytes of body, want none: "
                    "libvfio-user takes them for the next message",
                    reply.body.size()));
  }
  if (std::ranges::find(errnos, static_cast<int>(reply.header.error)) != errnos.end()) {
    return absl::OkStatus();
  }
  return Wrong(fmt::format("the client refused with errno {}, want {}", reply.header.error,
                           fmt::join(errnos, " or ")));
}

absl::Status ActAt(const Moment& moment, Stage& stage, const Stage::Lent& lent,
                   std::function<absl::Status(Exchange&, const Stage::Lent&)> act) {
  // So that the request is the only one.
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script = stage.server().Next(
      Command::kRegionWrite,
      [&lent, before = moment.before_reply, act = std::move(act)](Exchange& exchange) {
        if (!before) VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        const absl::Status acted = act(exchange, lent);
        if (before) VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        return acted;
      });
  const absl::Status written = stage.client().WriteRegister(8, 1);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(Want("the request", written, {absl::StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(lent.memory->CheckIntact());
  return stage.CheckWorks();
}

}  // namespace vfio_user
