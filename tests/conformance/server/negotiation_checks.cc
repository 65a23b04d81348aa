// VERSION.
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/version.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/outcome.h"
#include "tests/testing/memfd.h"

namespace vfio_user {
namespace {

constexpr std::string_view kVersion = "VFIO_USER_VERSION";
constexpr std::string_view kHeader = "Header";
constexpr std::string_view kQemu = "QEMU's client";

// QEMU 11 says this; 214 bytes with both headers and the NUL.
constexpr std::string_view kQemuJson =
    R"({"capabilities":{"pgsizes":4096,"max_msg_fds":16,"max_dma_maps":65535,)"
    R"("max_data_xfer_size":1048576,"migration":{"max_bitmap_size":268435456,"pgsize":4096},)"
    R"("write_multiple":true}})";
constexpr uint32_t kQemuReplyBytes = 214;

std::vector<uint8_t> VersionBody(uint16_t major, uint16_t minor, std::string_view data) {
  std::vector<uint8_t> body;
  WireWriter out(body);
  out.Write<uint16_t>(major);
  out.Write<uint16_t>(minor);
  out.WriteBytes({reinterpret_cast<const uint8_t*>(data.data()), data.size()});
  return body;
}

// JSON as it has to end.
std::string Terminated(std::string_view json) {
  std::string text(json);
  text.push_back('\0');
  return text;
}

std::vector<uint8_t> VersionBody(std::string_view json) {
  return VersionBody(kProtocolMajor, kProtocolMinor, Terminated(json));
}

// The server's answer to a new client's VERSION, which must not be an error.
absl::StatusOr<WireClient::Message> Accepted(ServerUnderTest& server, std::vector<uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.ConnectWithoutVersion());
  VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message reply,
                             client.Do({.command = Command::kVersion, .body = std::move(body)}));
  VFIO_USER_RETURN_IF_ERROR(client.InStep());
  return reply;
}

absl::StatusOr<VersionMessage> AcceptedVersion(ServerUnderTest& server, std::vector<uint8_t> body) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, Accepted(server, std::move(body)));
  return VersionMessage::Parse(reply.body);
}

absl::Status AcceptsJson(ServerUnderTest& server, std::string_view json) {
  return AcceptedVersion(server, VersionBody(json)).status();
}

// The server may say why, and closes.
absl::Status RefusesVersion(ServerUnderTest& server, const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.ConnectWithoutVersion());
  VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader header, client.Send(request));
  return client.ReceiveRefusalAndEnd(header);
}

absl::Status RefusesBody(ServerUnderTest& server, std::vector<uint8_t> body) {
  return RefusesVersion(server, {.command = Command::kVersion, .body = std::move(body)});
}

absl::Status RefusesJson(ServerUnderTest& server, std::string_view json) {
  return RefusesBody(server, VersionBody(json));
}

absl::Status MinorIsAtMost(ServerUnderTest& server, uint16_t minor) {
  VFIO_USER_ASSIGN_OR_RETURN(
      const VersionMessage reply,
      AcceptedVersion(server, VersionBody(kProtocolMajor, minor, Terminated("{}"))));
  if (reply.minor <= minor) return absl::OkStatus();
  return Misbehaved(fmt::format("minor {} was answered with {}", minor, reply.minor));
}

absl::Status RepeatsTheMajor(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage reply,
                             AcceptedVersion(server, VersionBody(kUsualJson)));
  if (reply.major == kProtocolMajor) return absl::OkStatus();
  return Misbehaved(fmt::format("major {} in the reply, want {}", reply.major, kProtocolMajor));
}

absl::Status MinorsAreNotRaised(ServerUnderTest& server) {
  for (const uint16_t minor : {uint16_t{0}, uint16_t{1}, uint16_t{2}}) {
    VFIO_USER_RETURN_IF_ERROR(MinorIsAtMost(server, minor));
  }
  return absl::OkStatus();
}

absl::Status ReplyFitsQemu(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             Accepted(server, VersionBody(0, 0, Terminated(kQemuJson))));
  if (reply.header.msg_size <= kQemuReplyBytes) return absl::OkStatus();
  return Misbehaved(fmt::format("the reply has {} bytes, and QEMU takes {}", reply.header.msg_size,
                                kQemuReplyBytes));
}

absl::Status LimitsFitQemu(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage reply,
                             AcceptedVersion(server, VersionBody(0, 0, Terminated(kQemuJson))));
  const Capabilities& has = reply.capabilities;
  if (has.max_msg_fds.value_or(8) > 16) {
    return Misbehaved(fmt::format("max_msg_fds is {}, and QEMU takes 16", *has.max_msg_fds));
  }
  if (has.max_dma_maps.value_or(65535) > 65535) {
    return Misbehaved(fmt::format("max_dma_maps is {}, and QEMU takes 65535", *has.max_dma_maps));
  }
  if ((has.pgsizes.value_or(4096) & 4095) != 0) {
    return Misbehaved(
        fmt::format("pgsizes are {:#x}, and QEMU takes none below 4096", *has.pgsizes));
  }
  return absl::OkStatus();
}

absl::Status OfLessThanFourBytesIsRefused(ServerUnderTest& server) {
  for (const size_t bytes : {size_t{0}, size_t{3}}) {
    VFIO_USER_RETURN_IF_ERROR(
        InCase(RefusesBody(server, std::vector<uint8_t>(bytes)), fmt::format("{} bytes", bytes)));
  }
  return absl::OkStatus();
}

absl::Status WithDescriptorsIsRefused(ServerUnderTest& server) {
  const UniqueFd file = Memfd("version");
  return RefusesVersion(
      server,
      {.command = Command::kVersion, .body = VersionBody(kUsualJson), .fds = {FdView(file)}});
}

absl::Status AnotherFirstMessageIsRefused(ServerUnderTest& server) {
  for (const Command command : {Command::kDeviceGetInfo, Command::kDeviceReset}) {
    std::vector<uint8_t> body;
    if (command == Command::kDeviceGetInfo)
      body = {16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    VFIO_USER_RETURN_IF_ERROR(
        InCase(RefusesVersion(server, {.command = command, .body = body}), ToText(command)));
  }
  return absl::OkStatus();
}

absl::Status ReplyAsFirstMessageIsRefused(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.ConnectWithoutVersion());
  const MessageHeader command = {.msg_id = 1, .command = Command::kVersion};
  VFIO_USER_RETURN_IF_ERROR(client.SendMessage(command.Reply(), VersionBody(kUsualJson)));
  return client.ReceiveRefusalAndEnd(command);
}

absl::Status SecondVersionIsRefused(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      client.Ask({.command = Command::kVersion, .body = VersionBody(kUsualJson)}));
  return client.CheckRefusal(reply, {EINVAL});
}

absl::Status TwinOnlyWhenAsked(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply,
                             Accepted(server, VersionBody(kUsualJson)));
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage version, VersionMessage::Parse(reply.body));
  if (!version.capabilities.TwinSocketSupported() && reply.fds.empty()) return absl::OkStatus();
  return Misbehaved(fmt::format("not asked for: twin socket {}, {} descriptors",
                                version.capabilities.TwinSocketSupported(), reply.fds.size()));
}

absl::Status TwinIsASocket(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      Accepted(server, VersionBody(R"({"capabilities":{"max_msg_fds":8,)"
                                   R"("twin_socket":{"supported":true}}})")));
  VFIO_USER_ASSIGN_OR_RETURN(const VersionMessage version, VersionMessage::Parse(reply.body));
  if (!version.capabilities.TwinSocketSupported()) return Skip("the server makes no twin socket");
  const uint64_t index = version.capabilities.twin_socket->fd_index.value_or(UINT64_MAX);
  if (index >= reply.fds.size()) {
    return Misbehaved(fmt::format("fd_index {} of {} descriptors", index, reply.fds.size()));
  }
  int type = 0;
  socklen_t length = sizeof(type);
  if (::getsockopt(reply.fds[index].get(), SOL_SOCKET, SO_TYPE, &type, &length) != 0 ||
      type != SOCK_STREAM) {
    return Misbehaved("the descriptor is not a stream socket");
  }
  return absl::OkStatus();
}

absl::Status NoTwinWithoutRoomForIt(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(
      const WireClient::Message reply,
      Accepted(server, VersionBody(R"({"capabilities":{"max_msg_fds":0,)"
                                   R"("twin_socket":{"supported":true}}})")));
  if (reply.fds.empty()) return absl::OkStatus();
  return Misbehaved(fmt::format("{} descriptors for a client that takes none", reply.fds.size()));
}

constexpr ServerCheck kChecks[] = {
    {"negotiation/version-is-accepted", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) { return AcceptsJson(server, kUsualJson); }},
    {"negotiation/reply-repeats-the-major", kVersion, Requirement::kRequired, RepeatsTheMajor},
    {"negotiation/minor-is-not-raised", kVersion, Requirement::kRequired, MinorsAreNotRaised},
    {"negotiation/unknown-minor-is-lowered", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) { return MinorIsAtMost(server, 900); }},
    {"negotiation/version-data-is-optional", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return Accepted(server, VersionBody(kProtocolMajor, kProtocolMinor, "")).status();
     }},
    {"negotiation/no-capabilities-are-accepted", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) { return AcceptsJson(server, "{}"); }},
    {"negotiation/empty-capabilities-are-accepted", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) { return AcceptsJson(server, R"({"capabilities":{}})"); }},
    {"negotiation/unknown-capability-is-ignored", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return AcceptsJson(server, R"({"capabilities":{"warp_drive":[1,{"speed":9}]}})");
     }},
    {"negotiation/unknown-key-is-ignored", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return AcceptsJson(server, R"({"capabilities":{},"vendor":"none"})");
     }},
    {"negotiation/twin-socket-only-when-asked", kVersion, Requirement::kRequired,
     TwinOnlyWhenAsked},
    {"negotiation/twin-socket-comes-with-its-descriptor", kVersion, Requirement::kRequired,
     TwinIsASocket},
    {"negotiation/no-twin-socket-without-room-for-it", kVersion, Requirement::kRecommended,
     NoTwinWithoutRoomForIt},
    {"negotiation/reply-is-no-longer-than-qemus-request", kQemu, Requirement::kPeerQuirk,
     ReplyFitsQemu},
    {"negotiation/limits-are-those-that-qemu-takes", kQemu, Requirement::kPeerQuirk, LimitsFitQemu},
    {"negotiation/major-version-1-is-refused", kVersion, Requirement::kRequired,
     [](ServerUnderTest& server) {
       return RefusesBody(server, VersionBody(1, 0, Terminated("{}")));
     }},
    {"negotiation/body-of-less-than-4-bytes-is-refused", kVersion, Requirement::kRequired,
     OfLessThanFourBytesIsRefused},
    {"negotiation/another-first-message-is-refused", kVersion, Requirement::kRequired,
     AnotherFirstMessageIsRefused},
    {"negotiation/reply-as-first-message-is-refused", kHeader, Requirement::kRecommended,
     ReplyAsFirstMessageIsRefused},
    {"negotiation/second-version-is-refused", kVersion, Requirement::kRecommended,
     SecondVersionIsRefused},
    {"negotiation/json-without-nul-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesBody(server, VersionBody(0, 2, R"({"capabilities":{}})"));
     }},
    {"negotiation/json-that-does-not-parse-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesJson(server, R"({"capabilities":{)"); }},
    {"negotiation/json-that-is-no-object-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesJson(server, "[1,2]"); }},
    {"negotiation/capabilities-that-are-no-object-are-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) { return RefusesJson(server, R"({"capabilities":7})"); }},
    {"negotiation/max-msg-fds-of-another-type-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesJson(server, R"({"capabilities":{"max_msg_fds":"8"}})");
     }},
    {"negotiation/negative-max-msg-fds-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesJson(server, R"({"capabilities":{"max_msg_fds":-1}})");
     }},
    {"negotiation/absurd-max-msg-fds-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesJson(server, R"({"capabilities":{"max_msg_fds":1000000}})");
     }},
    {"negotiation/max-data-xfer-size-0-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesJson(server, R"({"capabilities":{"max_data_xfer_size":0}})");
     }},
    {"negotiation/twin-socket-of-another-type-is-refused", kVersion, Requirement::kRecommended,
     [](ServerUnderTest& server) {
       return RefusesJson(server, R"({"capabilities":{"twin_socket":true}})");
     }},
    {"negotiation/descriptors-are-refused", kVersion, Requirement::kRecommended,
     WithDescriptorsIsRefused},
};

}  // namespace

std::span<const ServerCheck> NegotiationChecks() { return kChecks; }

}  // namespace vfio_user
