// Replies after which nothing on the connection can be believed: DataLoss, and the end of it.
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/reply_checks.h"
#include "tests/conformance/client/request_kinds.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"

namespace vfio_user {
namespace {

// Turns the bytes of a good reply into those of another one.
using Spoil = std::function<std::vector<uint8_t>(MessageHeader, std::vector<uint8_t> body)>;

AnswerScript Spoiled(Spoil spoil) {
  return [spoil = std::move(spoil)](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(ModelDevice::Response good, exchange.GoodResponse());
    return exchange.main().SendBytes(spoil(exchange.header().Reply(), std::move(good.body)));
  };
}

struct BrokenReply {
  std::string_view name;
  std::string_view expects;
  Spoil spoil;
  bool needs_body = false;  // Only for replies that have one.
};

using Body = std::vector<uint8_t>;

std::vector<BrokenReply> BrokenHeaders() {
  return {
      {"wrong-id", "A reply with an id that no request has ends the connection.",
       [](MessageHeader header, const Body& body) {
         header.msg_id = static_cast<uint16_t>(header.msg_id + 0x7fff);
         return MessageBytes(header, body);
       }},
      {"wrong-command", "A reply with the request's id to another command ends the connection.",
       [](MessageHeader header, const Body& body) {
         header.command =
             header.command == Command::kRegionRead ? Command::kRegionWrite : Command::kRegionRead;
         return MessageBytes(header, body);
       }},
      {"unknown-command", "A reply to a command that does not exist ends the connection.",
       [](MessageHeader header, const Body& body) {
         header.command = Command{0xffff};
         return MessageBytes(header, body);
       }},
      {"wrong-type", "A message that is neither command nor reply ends the connection.",
       [](MessageHeader header, const Body& body) {
         header.type = 2;
         return MessageBytes(header, body);
       }},
      {"size-below-header", "A msg_size that does not hold the header ends the connection.",
       [](MessageHeader header, const Body& body) { return MessageBytes(header, body, 15); }},
      {"size-0", "A msg_size of 0 ends the connection.",
       [](MessageHeader header, const Body& body) { return MessageBytes(header, body, 0); }},
      {"size-4-gib", "A msg_size of 4 GiB ends the connection, and nothing is allocated for it.",
       [](MessageHeader header, const Body& body) {
         return MessageBytes(header, body, UINT32_MAX);
       }},
  };
}

std::vector<BrokenReply> BrokenBodies() {
  return {
      {"no-body", "A reply without the body that it must have ends the connection.",
       [](MessageHeader header, const Body&) { return MessageBytes(header); }, true},
      {"short-body", "A reply whose body lacks a byte ends the connection.",
       [](MessageHeader header, Body body) {
         body.pop_back();
         return MessageBytes(header, body);
       },
       true},
      {"body-of-1-byte", "A reply whose body is one byte ends the connection.",
       [](MessageHeader header, Body body) {
         body.resize(1);
         return MessageBytes(header, body);
       },
       true},
      {"twice", "A second reply to one request ends the connection.",
       [](MessageHeader header, const Body& body) {
         Body bytes = MessageBytes(header, body);
         const Body again = bytes;
         bytes.insert(bytes.end(), again.begin(), again.end());
         return bytes;
       }},
  };
}

// DMA_UNMAP's reply may have no body: libvfio-user sends none for a device without DMA.
bool Applies(const BrokenReply& reply, const RequestKind& kind) {
  if (!reply.needs_body) return true;
  return kind.reply_has_body && !(kind.command == Command::kDmaUnmap && reply.name == "no-body");
}

absl::Status RunBroken(Stage& stage, const RequestKind& kind, const BrokenReply& reply) {
  if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
  (void)stage.server().Next(kind.command, Spoiled(reply.spoil));
  const absl::Status got = kind.call(stage);
  // The first of two replies is a good one.
  if (reply.name != "twice") {
    VFIO_USER_RETURN_IF_ERROR(Want("the request", got, {absl::StatusCode::kDataLoss}));
  }
  return stage.CheckClosed({absl::StatusCode::kDataLoss});
}

}  // namespace

std::vector<ClientCheck> BrokenReplyChecks() {
  std::vector<BrokenReply> replies = BrokenHeaders();
  for (BrokenReply& reply : BrokenBodies()) replies.push_back(std::move(reply));
  std::vector<ClientCheck> checks;
  for (const RequestKind& kind : RequestKinds()) {
    for (const BrokenReply& reply : replies) {
      if (!Applies(reply, kind)) continue;
      for (const Sockets sockets : kBothSockets) {
        ClientCheck check = CheckOf(kind, reply.name, sockets);
        check.description.expects = reply.expects;
        check.run = [&kind, reply](Stage& stage) { return RunBroken(stage, kind, reply); };
        checks.push_back(std::move(check));
      }
    }
  }
  return checks;
}

}  // namespace vfio_user
