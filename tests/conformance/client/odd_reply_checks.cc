// Replies that are unusual and fine: in pieces, with an errno, with more than was asked for.
#include <cerrno>
#include <cstdint>
#include <functional>
#include <future>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "tests/conformance/client/model_device.h"
#include "tests/conformance/client/raw_message.h"
#include "tests/conformance/client/reply_checks.h"
#include "tests/conformance/client/request_kinds.h"
#include "tests/conformance/client/scripted_server.h"
#include "tests/conformance/client/stage.h"
#include "tests/testing/memfd.h"

namespace vfio_user {
namespace {

using absl::StatusCode;

struct OddReply {
  std::string_view name;
  std::string_view expects;
  Requirement requirement = Requirement::kRequired;
  AnswerScript script;
  StatusCode code = StatusCode::kOk;  // Of the request.
};

// The bytes of the reply that a good server sends.
absl::StatusOr<std::vector<uint8_t>> GoodBytes(Exchange& exchange) {
  VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
  return MessageBytes(exchange.header().Reply(), good.body);
}

// A good reply with other bits in its header.
AnswerScript WithHeaderBits(size_t offset, uint8_t bits) {
  return [offset, bits](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, GoodBytes(exchange));
    bytes[offset] = static_cast<uint8_t>(bytes[offset] | bits);
    return exchange.main().SendBytes(bytes);
  };
}

AnswerScript Refusal(uint32_t wire_errno, size_t body_bytes = 0) {
  return [wire_errno, body_bytes](Exchange& exchange) {
    MessageHeader header = exchange.header().Reply(wire_errno);
    header.error_flag = true;
    const std::vector<uint8_t> body(body_bytes, 0x5a);
    return exchange.main().SendBytes(MessageBytes(header, body));
  };
}

// What a rust-vmm server sends for a failed command that asked for no reply.
absl::Status ErrorOfNobodyFirst(Exchange& exchange) {
  MessageHeader header = exchange.header().Reply(EINVAL);
  header.msg_id = static_cast<uint16_t>(header.msg_id + 0x4000);
  header.command = Command::kRegionWrite;
  const std::vector<uint8_t> body(16, 0x5a);
  VFIO_USER_RETURN_IF_ERROR(exchange.main().SendBytes(MessageBytes(header, body)));
  return exchange.AnswerWell();
}

std::vector<OddReply> Refusals() {
  return {
      {"refused", "The errno of an error reply comes out; the connection lives.",
       Requirement::kRequired, Refusal(EINVAL), StatusCode::kInvalidArgument},
      {"refused-with-a-body", "The body of an error reply is read and dropped (libvfio-user).",
       Requirement::kPeerQuirk, Refusal(EINVAL, 40), StatusCode::kInvalidArgument},
      {"refused-with-a-large-body", "The body of an error reply is read whatever its length.",
       Requirement::kPeerQuirk, Refusal(EINVAL, 100'000), StatusCode::kInvalidArgument},
      {"refused-without-an-errno", "An error reply with errno 0 is an error (rust-vmm).",
       Requirement::kRequired, Refusal(0), StatusCode::kAborted},
      {"refused-with-errno-5000", "An errno that no system has is an error.",
       Requirement::kRequired, Refusal(5000), StatusCode::kAborted},
      {"refused-with-errno-4-gib", "An errno that is negative as an int is an error.",
       Requirement::kRequired, Refusal(UINT32_MAX), StatusCode::kAborted},
  };
}

std::vector<OddReply> Unusual() {
  return {
      {"byte-by-byte", "A reply may come one byte at a time.", Requirement::kRequired,
       [](Exchange& exchange) -> absl::Status {
         VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, GoodBytes(exchange));
         return SendByteByByte(exchange.main(), bytes);
       }},
      {"reserved-flags", "Reserved bits of a reply's flags are ignored.", Requirement::kRecommended,
       WithHeaderBits(9, 0xff)},
      {"no-reply-flag", "No_reply means nothing in a reply.", Requirement::kRecommended,
       WithHeaderBits(8, 0x10)},
      {"errno-without-error-flag", "The error field means nothing without the flag.",
       Requirement::kRequired, WithHeaderBits(12, 0x16)},
      {"after-an-error-of-nobody",
       "An error reply that nobody waits for is dropped, body and all (rust-vmm answers commands "
       "that asked for no reply).",
       Requirement::kPeerQuirk, ErrorOfNobodyFirst},
  };
}

absl::Status RunOdd(Stage& stage, const RequestKind& kind, const OddReply& reply) {
  if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
  (void)stage.server().Next(kind.command, reply.script);
  VFIO_USER_RETURN_IF_ERROR(Want("the request", kind.call(stage), {reply.code}));
  if (reply.code != StatusCode::kOk && kind.refusal_closes) return stage.CheckClosed({reply.code});
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  return Want("the same request again", Round(kind, stage), {StatusCode::kOk});
}

// One request for each place at which its reply can be cut.
absl::Status RunCuts(Stage& stage, const RequestKind& kind) {
  size_t length = SIZE_MAX;
  for (size_t cut = 1; cut < length; ++cut) {
    if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
    std::future<absl::Status> script =
        stage.server().Next(kind.command, [cut, &length](Exchange& exchange) -> absl::Status {
          VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, GoodBytes(exchange));
          length = bytes.size();
          return SendInTwo(exchange.main(), bytes, cut);
        });
    VFIO_USER_RETURN_IF_ERROR(
        Want(fmt::format("with its reply cut after {} bytes, the request", cut), kind.call(stage),
             {StatusCode::kOk}));
    VFIO_USER_RETURN_IF_ERROR(Outcome(script));
  }
  return stage.CheckWorks();
}

// Descriptors where none belong are owned by whoever received them.
absl::Status RunWithFds(Stage& stage, const RequestKind& kind) {
  VFIO_USER_RETURN_IF_ERROR(Want("the first request", Round(kind, stage), {StatusCode::kOk}));
  if (kind.prepare) VFIO_USER_RETURN_IF_ERROR(kind.prepare(stage));
  const UniqueFd file = Memfd("not asked for");
  const int before = stage.adapter().OpenDescriptors();
  (void)stage.server().Next(kind.command, [&file](Exchange& exchange) -> absl::Status {
    VFIO_USER_ASSIGN_OR_RETURN(const ModelDevice::Response good, exchange.GoodResponse());
    return exchange.main().Reply(exchange.header(), good.body, std::vector<FdView>(5, file));
  });
  VFIO_USER_RETURN_IF_ERROR(Want("the request", kind.call(stage), {StatusCode::kOk}));
  VFIO_USER_RETURN_IF_ERROR(stage.CheckWorks());
  const int after = stage.adapter().OpenDescriptors();
  // An interrupt that is bound anew has an eventfd of its own until the first one is let go.
  if (after <= before + 1) return absl::OkStatus();
  return Wrong(
      fmt::format("the client has {} descriptors, and had {} before 5 came", after, before));
}

using Run = absl::Status (*)(Stage&, const RequestKind&);

ClientCheck CheckOfRun(const RequestKind& kind, std::string_view name, Sockets sockets, Run run) {
  ClientCheck check = CheckOf(kind, name, sockets);
  check.run = [&kind, run](Stage& stage) { return run(stage, kind); };
  return check;
}

void AddOthers(const RequestKind& kind, Sockets sockets, std::vector<ClientCheck>& checks) {
  checks.push_back(CheckOfRun(kind, "in-two-pieces", sockets, RunCuts));
  checks.back().description.expects = "A reply may come in two pieces, cut between any two bytes.";
  checks.push_back(CheckOfRun(kind, "with-descriptors", sockets, RunWithFds));
  checks.back().description.expects = "Descriptors that were not asked for are closed.";
  checks.back().needs.push_back(ClientAbility::kCountDescriptors);
}

}  // namespace

std::vector<ClientCheck> OddReplyChecks() {
  std::vector<OddReply> replies = Refusals();
  for (OddReply& reply : Unusual()) replies.push_back(std::move(reply));
  std::vector<ClientCheck> checks;
  for (const RequestKind& kind : RequestKinds()) {
    for (const Sockets sockets : kBothSockets) {
      AddOthers(kind, sockets, checks);
      for (const OddReply& reply : replies) {
        ClientCheck check = CheckOf(kind, reply.name, sockets);
        check.description.requirement = reply.requirement;
        check.description.expects = reply.expects;
        check.run = [&kind, reply](Stage& stage) { return RunOdd(stage, kind, reply); };
        checks.push_back(std::move(check));
      }
    }
  }
  return checks;
}

}  // namespace vfio_user
