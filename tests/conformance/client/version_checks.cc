#include "tests/conformance/client/version_checks.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/conformance/client/version_reply.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

constexpr std::string_view kOrder = "The client tells a server from something else, and says so.";

std::vector<uint8_t> GoodBody() { return CapabilitiesBody(""); }

// A reply with a good body and a header that `change` made.
AnswerScript WithHeader(void (*change)(MessageHeader&)) {
  return [change](Exchange& exchange) {
    MessageHeader header = exchange.header().Reply();
    change(header);
    return exchange.main().SendBytes(MessageBytes(header, GoodBody()));
  };
}

AnswerScript WithSize(uint32_t msg_size) {
  return [msg_size](Exchange& exchange) {
    return exchange.main().SendBytes(MessageBytes(exchange.header().Reply(), GoodBody(), msg_size));
  };
}

AnswerScript WithVersion(uint8_t major, uint8_t minor) {
  std::vector<uint8_t> body = GoodBody();
  body[0] = major;
  body[2] = minor;
  return ReplyWith(std::move(body));
}

AnswerScript Refusal(uint32_t wire_errno) {
  return [wire_errno](Exchange& exchange) {
    return exchange.main().ReplyError(exchange.header(), wire_errno);
  };
}

// The first `bytes` of a good reply, and then the end.
AnswerScript PartThenEnd(size_t bytes) {
  return [bytes](Exchange& exchange) -> absl::Status {
    const std::vector<uint8_t> reply = MessageBytes(exchange.header().Reply(), GoodBody());
    VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes({reply.data(), bytes}));
    exchange.main().Shutdown();
    return absl::OkStatus();
  };
}

AnswerScript PartThenSilence(size_t bytes) {
  return [bytes](Exchange& exchange) {
    const std::vector<uint8_t> reply = MessageBytes(exchange.header().Reply(), GoodBody());
    return exchange.main().SendBytes({reply.data(), bytes});
  };
}

AnswerScript WithFds(std::string_view capabilities, size_t count) {
  return [body = CapabilitiesBody(capabilities), count](Exchange& exchange) {
    const UniqueFd file = Memfd("no socket");
    return exchange.main().Reply(exchange.header(), body, std::vector<FdView>(count, file));
  };
}

// A command of the server before it has said which version it speaks.
absl::Status CommandFirst(Exchange& exchange) {
  const std::vector<uint8_t> body(16);
  VFIO_USER_RETURN_IF_ERROR(exchange.main().Send({.command = Command::kDmaRead}, body));
  return exchange.AnswerWell();
}

std::vector<VersionReply> Headers() {
  const std::vector<StatusCode> broken = {StatusCode::kDataLoss};
  return {
      {"wrong-id", kOrder, WithHeader([](MessageHeader& h) { h.msg_id = 0x7fff; }), broken},
      {"wrong-command", kOrder,
       WithHeader([](MessageHeader& h) { h.command = Command::kDeviceGetInfo; }), broken},
      {"a-command", kOrder, WithHeader([](MessageHeader& h) { h.type = 0; }), broken},
      {"unknown-type", kOrder, WithHeader([](MessageHeader& h) { h.type = 9; }), broken},
      {"size-0", kOrder, WithSize(0), broken},
      {"size-15", kOrder, WithSize(15), broken},
      {"size-1-mib", "No client reads that much of a text.", WithSize(1 << 20), broken,
       Requirement::kRecommended},
      {"size-4-gib", "Nothing is allocated for it.", WithSize(UINT32_MAX), broken},
      {"command-first", kOrder, CommandFirst, broken, Requirement::kRecommended},
      {"no-body", "A reply has at least the version.", ReplyWith({}), broken},
      {"body-of-3-bytes", "A reply has at least the version.", ReplyWith({0, 0, 2}), broken},
      {"major-1",
       "A server of another major version is named as that.",
       WithVersion(1, 0),
       {StatusCode::kUnimplemented}},
      {"minor-0", "Minor versions are compatible.", WithVersion(0, 0), {StatusCode::kOk}},
      {"minor-1", "Minor versions are compatible.", WithVersion(0, 1), {StatusCode::kOk}},
  };
}

std::vector<VersionReply> Ends() {
  const std::vector<StatusCode> gone = {StatusCode::kUnavailable, StatusCode::kDataLoss};
  return {
      {"refused", "The server's errno comes out.", Refusal(EINVAL), {StatusCode::kInvalidArgument}},
      {"refused-as-busy",
       "A server that has a client already is unavailable.",
       Refusal(EBUSY),
       {StatusCode::kUnavailable},
       Requirement::kRecommended},
      {"refused-without-an-errno",
       "An error without a number is an error.",
       Refusal(0),
       {StatusCode::kAborted}},
      {"refused-with-errno-5000",
       "An errno that no system has is an error.",
       Refusal(5000),
       {StatusCode::kAborted}},
      {"closes",
       "A server that hangs up is unavailable.",
       PartThenEnd(0),
       {StatusCode::kUnavailable}},
      {"closes-within-the-header", "Half a header is no reply.", PartThenEnd(7), gone},
      {"closes-before-the-body", "A header without its body is no reply.", PartThenEnd(16), gone},
      {"closes-within-the-body", "Half a body is no reply.", PartThenEnd(20), gone},
  };
}

// With little patience, since they use it up.
std::vector<VersionReply> Silences() {
  const std::vector<StatusCode> late = {StatusCode::kDeadlineExceeded, StatusCode::kDataLoss};
  return {
      {"silent",
       "A server that accepts and says nothing does not hold the client for ever.",
       PartThenSilence(0),
       {StatusCode::kDeadlineExceeded}},
      {"stops-within-the-header", "Half a header does not hold the client for ever.",
       PartThenSilence(7), late},
      {"stops-within-the-body", "Half a body does not hold the client for ever.",
       PartThenSilence(20), late},
  };
}

std::vector<VersionReply> Descriptors() {
  const std::vector<StatusCode> broken = {StatusCode::kDataLoss};
  constexpr std::string_view kGranted = R"("twin_socket":{"supported":true,"fd_index":0})";
  return {
      {"descriptors-without-a-twin", "They are closed.", WithFds("", 3), {StatusCode::kOk}},
      {"twin-without-descriptor", "A twin that is granted and missing ends the connection.",
       WithFds(kGranted, 0), broken},
      {"twin-index-beyond", "An index beyond the descriptors ends the connection.",
       WithFds(R"("twin_socket":{"supported":true,"fd_index":1})", 1), broken},
      {"twin-index-4-gib", "An index beyond the descriptors ends the connection.",
       WithFds(R"("twin_socket":{"supported":true,"fd_index":4294967296})", 1), broken},
      {"twin-without-index", "A twin without an index ends the connection.",
       WithFds(R"("twin_socket":{"supported":true})", 1), broken},
      {"twin-that-is-a-file", "A twin that is no socket ends the connection.", WithFds(kGranted, 1),
       broken},
      {"twin-refused-with-descriptor",
       "Without a grant a descriptor is closed.",
       WithFds(R"("twin_socket":{"supported":false,"fd_index":0})", 1),
       {StatusCode::kOk}},
  };
}

// Pieces, as in reply checks, each cut with a connection of its own.
absl::Status RunCuts(Stage& stage) {
  const size_t length = MessageBytes({}, GoodBody()).size();
  for (size_t cut = 1; cut < length; ++cut) {
    (void)stage.server().Next(Command::kVersion, [cut](Exchange& exchange) {
      return SendInTwo(exchange.main(), MessageBytes(exchange.header().Reply(), GoodBody()), cut);
    });
    VFIO_USER_RETURN_IF_ERROR(Want(fmt::format("connecting with the reply cut after {} bytes", cut),
                                   stage.Connect(), {StatusCode::kOk}));
    stage.Disconnect();
  }
  return absl::OkStatus();
}

// The twin is the second of three descriptors.
absl::Status RunTwinAmongOthers(Stage& stage) {
  (void)stage.server().Next(Command::kVersion, [](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
    const UniqueFd file = Memfd("no socket");
    const FdView fds[] = {file, good.fds.at(0), file};
    return exchange.main().Reply(
        exchange.header(), CapabilitiesBody(R"("twin_socket":{"supported":true,"fd_index":1})"),
        fds);
  });
  VFIO_USER_RETURN_IF_ERROR(Want("connecting", stage.Connect(), {StatusCode::kOk}));
  return stage.CheckWorks();
}

ClientCheck Special(std::string_view name, std::string_view expects, absl::Status (*run)(Stage&)) {
  ClientCheck check = CheckOf(VersionReply{.name = name, .expects = expects});
  check.run = run;
  return check;
}

}  // namespace

std::vector<ClientCheck> VersionChecks() {
  std::vector<ClientCheck> checks;
  for (const auto& replies : {Headers(), Ends(), Silences(), Descriptors()}) {
    for (const VersionReply& reply : replies) checks.push_back(CheckOf(reply));
  }
  for (ClientCheck& check : checks) {
    const std::string_view name = check.description.name;
    if (name == "version/silent" || name.starts_with("version/stops")) {
      check.stage.patience.connect = absl::Milliseconds(100);
    }
    if (name.find("twin") != name.npos) check.needs.push_back(ClientAbility::kTwinSocket);
  }
  checks.push_back(Special("in-two-pieces", "The reply may come in two pieces.", RunCuts));
  checks.push_back(Special("twin-among-other-descriptors",
                           "The index says which descriptor is the twin; others are closed.",
                           RunTwinAmongOthers));
  checks.back().stage.sockets = Sockets::kMainAndTwin;
  return checks;
}

}  // namespace vfio_user
