#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "tests/conformance/client/client_check.h"
#include "tests/conformance/client/client_under_test.h"
#include "tests/conformance/client/dma_checks.h"
#include "tests/conformance/client/dma_exchange.h"
#include "tests/conformance/client/lent_memory.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;
using Lent = Stage::Lent;

constexpr uint64_t kOffset = 40;

// A DMA_WRITE of eight bytes at kOffset, and what it is answered with.
std::vector<uint8_t> WriteCommand(const Lent& lent, uint16_t id = kServersId) {
  const std::vector<uint8_t> data(8, 0xee);
  lent.memory->ExpectWritten(kOffset, data);
  return MessageBytes({.msg_id = id, .command = Command::kDmaWrite},
                      DmaBody(Iova{ToU64(lent.iova) + kOffset}, data.size(), data));
}

std::vector<uint8_t> WriteReplyBody(const Lent& lent) {
  return DmaBody(Iova{ToU64(lent.iova) + kOffset}, 8);
}

absl::Status WantWritten(Exchange& exchange, const Lent& lent) {
  VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply, exchange.commands().Receive());
  return WantReply(reply, Command::kDmaWrite, WriteReplyBody(lent));
}

absl::Status InTwoPieces(Exchange& exchange, const Lent& lent) {
  const std::vector<uint8_t> command = WriteCommand(lent);
  for (size_t cut = 1; cut < command.size(); ++cut) {
    VFIO_USER_RETURN_IF_ERROR(SendInTwo(exchange.commands(), command, cut));
    VFIO_USER_RETURN_IF_ERROR(WantWritten(exchange, lent));
  }
  return absl::OkStatus();
}

absl::Status ByteByByte(Exchange& exchange, const Lent& lent) {
  VFIO_USER_RETURN_IF_ERROR(SendByteByByte(exchange.commands(), WriteCommand(lent)));
  return WantWritten(exchange, lent);
}

absl::Status ManyAtOnce(Exchange& exchange, const Lent& lent) {
  constexpr int kMany = 64;
  std::vector<uint8_t> all;
  for (int i = 0; i < kMany; ++i) {
    const std::vector<uint8_t> one = WriteCommand(lent);
    all.insert(all.end(), one.begin(), one.end());
  }
  VFIO_USER_RETURN_IF_ERROR(exchange.commands().SendBytes(all));
  for (int i = 0; i < kMany; ++i) VFIO_USER_RETURN_IF_ERROR(WantWritten(exchange, lent));
  return absl::OkStatus();
}

// Both sides number their commands.
absl::Status WithTheRequestsId(Exchange& exchange, const Lent& lent) {
  VFIO_USER_RETURN_IF_ERROR(
      exchange.commands().SendBytes(WriteCommand(lent, exchange.header().msg_id)));
  VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer::Message reply, exchange.commands().Receive());
  if (reply.header.msg_id != exchange.header().msg_id) return Wrong("the reply has another id");
  reply.header.msg_id = kServersId;
  return WantReply(reply, Command::kDmaWrite, WriteReplyBody(lent));
}

struct FramingCase {
  std::string_view name;
  std::string_view expects;
  absl::Status (*act)(Exchange&, const Lent&);
};

constexpr FramingCase kFine[] = {
    {"in-two-pieces", "A command may come in two pieces, cut between any two bytes.", InTwoPieces},
    {"byte-by-byte", "A command may come one byte at a time.", ByteByByte},
    {"many-at-once", "Commands may be sent before those before them are answered.", ManyAtOnce},
    {"with-the-id-of-a-request", "Ids belong to their direction.", WithTheRequestsId},
};

// Bytes on the commands' socket after which the connection is of no use.
struct BrokenCommand {
  std::string_view name;
  std::string_view expects;
  std::vector<uint8_t> (*bytes)(const Lent& lent);
};

std::vector<uint8_t> Sized(const Lent& lent, uint32_t msg_size) {
  return MessageBytes({.msg_id = kServersId, .command = Command::kDmaRead}, DmaBody(lent.iova, 8),
                      msg_size);
}

std::vector<uint8_t> Typed(const Lent& lent, uint8_t type) {
  return MessageBytes({.msg_id = kServersId, .command = Command::kDmaRead, .type = type},
                      DmaBody(lent.iova, 8));
}

constexpr std::string_view kInStep = "What follows cannot be told from the next message.";

constexpr BrokenCommand kBroken[] = {
    {"of-size-0", kInStep, [](const Lent& lent) { return Sized(lent, 0); }},
    {"of-size-15", kInStep, [](const Lent& lent) { return Sized(lent, 15); }},
    {"of-size-64-mib", kInStep, [](const Lent& lent) { return Sized(lent, 64 << 20); }},
    {"of-size-4-gib", kInStep, [](const Lent& lent) { return Sized(lent, UINT32_MAX); }},
    {"of-type-2", "What is neither command nor reply ends the connection.",
     [](const Lent& lent) { return Typed(lent, 2); }},
    {"of-type-15", "What is neither command nor reply ends the connection.",
     [](const Lent& lent) { return Typed(lent, 15); }},
    {"that-is-a-reply-to-nothing", "A reply to no request ends the connection.",
     [](const Lent& lent) { return Typed(lent, 1); }},
};

absl::Status RunBroken(Stage& stage, const Moment& moment, const BrokenCommand& broken) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script = stage.server().Next(
      Command::kRegionWrite,
      [&lent, &broken, before = moment.before_reply](Exchange& exchange) -> absl::Status {
        if (!before) VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        return exchange.commands().SendBytes(broken.bytes(lent));
      });
  // Which of the two the client sees first is open where they have a socket each.
  const absl::Status written = stage.client().WriteRegister(8, 1);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  if (moment.before_reply) {
    VFIO_USER_RETURN_IF_ERROR(Want("the request", written, {StatusCode::kDataLoss}));
  }
  VFIO_USER_RETURN_IF_ERROR(stage.server().WaitForClose());
  VFIO_USER_RETURN_IF_ERROR(stage.CheckClosed({StatusCode::kDataLoss}));
  return lent.memory->CheckIntact();
}

// Half a command, and then the end.
absl::Status RunCutOff(Stage& stage, const Moment& moment) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script = stage.server().Next(
      Command::kRegionWrite,
      [&lent, before = moment.before_reply](Exchange& exchange) -> absl::Status {
        if (!before) VFIO_USER_RETURN_IF_ERROR(exchange.AnswerWell());
        const std::vector<uint8_t> command =
            MessageBytes({.msg_id = kServersId, .command = Command::kDmaWrite},
                         DmaBody(lent.iova, 100, std::vector<uint8_t>(100, 0xee)));
        VFIO_USER_RETURN_IF_ERROR(exchange.commands().SendBytes({command.data(), 70}));
        exchange.commands().Shutdown();
        return absl::OkStatus();
      });
  (void)stage.client().WriteRegister(8, 1);
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(stage.server().WaitForClose());
  VFIO_USER_RETURN_IF_ERROR(stage.CheckClosed({StatusCode::kUnavailable, StatusCode::kDataLoss}));
  return lent.memory->CheckIntact();
}

// The command and the reply that is awaited, on one socket and in one send.
absl::Status RunWithTheReply(Stage& stage, bool command_first) {
  VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  std::future<absl::Status> script = stage.server().Next(
      Command::kRegionWrite, [&lent, command_first](Exchange& exchange) -> absl::Status {
        VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
        const std::vector<uint8_t> reply = MessageBytes(exchange.header().Reply(), good.body);
        const std::vector<uint8_t> command = WriteCommand(lent);
        std::vector<uint8_t> both = command_first ? command : reply;
        const std::vector<uint8_t>& second = command_first ? reply : command;
        both.insert(both.end(), second.begin(), second.end());
        VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes(both));
        return WantWritten(exchange, lent);
      });
  VFIO_USER_RETURN_IF_ERROR(
      Want("the request", stage.client().WriteRegister(8, 1), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  VFIO_USER_RETURN_IF_ERROR(lent.memory->CheckIntact());
  return stage.CheckWorks();
}

ClientCheck NewCheck(std::string name, std::string_view expects, Sockets sockets) {
  ClientCheck check;
  check.description = {.name = std::move(name),
                       .section = "Message format, VFIO_USER_DMA_WRITE",
                       .expects = std::string(expects)};
  check.needs = {ClientAbility::kMapMemory};
  check.stage.sockets = sockets;
  return check;
}

ClientCheck FineCheck(const FramingCase& fine, const Moment& moment) {
  ClientCheck check = NewCheck(fmt::format("dma/command-{}-{}", fine.name, moment.name),
                               fine.expects, moment.sockets);
  check.run = [&fine, &moment](Stage& stage) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const Lent lent, stage.Lend());
    return ActAt(moment, stage, lent, fine.act);
  };
  return check;
}

ClientCheck BrokenCheck(const BrokenCommand& broken, const Moment& moment) {
  ClientCheck check = NewCheck(fmt::format("dma/command-{}-{}", broken.name, moment.name),
                               broken.expects, moment.sockets);
  check.run = [&broken, &moment](Stage& stage) { return RunBroken(stage, moment, broken); };
  return check;
}

}  // namespace

std::vector<ClientCheck> DmaFramingChecks() {
  std::vector<ClientCheck> checks;
  for (const Moment& moment : Moments()) {
    for (const FramingCase& fine : kFine) checks.push_back(FineCheck(fine, moment));
    for (const BrokenCommand& broken : kBroken) checks.push_back(BrokenCheck(broken, moment));
    checks.push_back(NewCheck(fmt::format("dma/command-cut-off-{}", moment.name),
                              "Nothing of a command that does not come whole is carried out.",
                              moment.sockets));
    checks.back().run = [&moment](Stage& stage) { return RunCutOff(stage, moment); };
  }
  for (const bool command_first : {true, false}) {
    checks.push_back(
        NewCheck(command_first ? "dma/command-and-reply-at-once" : "dma/reply-and-command-at-once",
                 "A command and a reply may come in one piece, in either order.", Sockets::kMain));
    checks.back().run = [command_first](Stage& stage) {
      return RunWithTheReply(stage, command_first);
    };
  }
  return checks;
}

}  // namespace vfio_user
