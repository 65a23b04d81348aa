// Clients that go, come back, and do not wait for their turn.
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kDisconnection = "Client Disconnection";
constexpr std::string_view kSocket = "Socket";

WireRequest InfoRequest() {
  return {.command = Command::kDeviceGetInfo, .body = Serialize(DeviceInfoRequest())};
}

std::vector<uint8_t> InfoMessage() {
  const MessageHeader header = {.msg_id = 1,
                                .command = Command::kDeviceGetInfo,
                                .msg_size = kHeaderBytes + DeviceInfoRequest::kBytes};
  const std::array<uint8_t, kHeaderBytes> head = header.Serialize();
  std::vector<uint8_t> bytes(head.begin(), head.end());
  const std::vector<uint8_t> body = InfoRequest().body;
  bytes.insert(bytes.end(), body.begin(), body.end());
  return bytes;
}

absl::Status ServesTheNext(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
  return next.InStep();
}

absl::Status AnywhereInAMessage(ServerUnderTest& server) {
  const std::vector<uint8_t> bytes = InfoMessage();
  for (size_t sent = 0; sent < bytes.size(); ++sent) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(std::span(bytes).first(sent)));
    client.Close();
    VFIO_USER_RETURN_IF_ERROR(InCase(ServesTheNext(server), fmt::format("after {} bytes", sent)));
  }
  return absl::OkStatus();
}

absl::Status AnywhereInVersion(ServerUnderTest& server) {
  const MessageHeader header = {.command = Command::kVersion, .msg_size = kHeaderBytes + 4};
  const std::array<uint8_t, kHeaderBytes> head = header.Serialize();
  for (const size_t sent : {size_t{0}, size_t{1}, size_t{kHeaderBytes}}) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.ConnectWithoutVersion());
    VFIO_USER_RETURN_IF_ERROR(client.SendBytes(std::span(head).first(sent)));
    client.Close();
    VFIO_USER_RETURN_IF_ERROR(InCase(ServesTheNext(server), fmt::format("after {} bytes", sent)));
  }
  return absl::OkStatus();
}

absl::Status WithoutReadingReplies(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  for (int i = 0; i < 100; ++i) VFIO_USER_RETURN_IF_ERROR(client.SendBytes(InfoMessage()));
  client.Close();
  return ServesTheNext(server);
}

absl::Status HalfClosed(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
  if (::shutdown(client.fd().get(), SHUT_WR) != 0) return Misbehaved("the connection is gone");
  VFIO_USER_RETURN_IF_ERROR(client.ReceiveEnd());
  return ServesTheNext(server);
}

absl::Status ManyInARow(ServerUnderTest& server) {
  for (int i = 0; i < 100; ++i) {
    VFIO_USER_RETURN_IF_ERROR(InCase(ServesTheNext(server), fmt::format("client {}", i)));
  }
  return absl::OkStatus();
}

absl::Status KeepsState(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  for (const uint8_t value : {uint8_t{0x3c}, uint8_t{0xc3}}) {
    {
      VFIO_USER_ASSIGN_OR_RETURN(WireClient client, server.Connect());
      VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kInterruptLine, {&value, 1}));
    }
    VFIO_USER_ASSIGN_OR_RETURN(WireClient next, server.Connect());
    VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> line,
                               ReadConfig(next, kInterruptLine, 1));
    if (line[0] != value) {
      return Misbehaved(
          fmt::format("the next client reads {:#x} where {:#x} was written", line[0], value));
    }
  }
  return absl::OkStatus();
}

// However the server treats the second one, the first one does not feel it.
absl::Status SecondDoesNotDisturb(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient first, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(first.InStep());
  const absl::StatusOr<WireClient> second = server.ConnectWithoutVersion();
  VFIO_USER_RETURN_IF_ERROR(first.InStep());
  return first.InStep();
}

absl::Status SecondIsTold(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient first, server.Connect());
  VFIO_USER_RETURN_IF_ERROR(first.InStep());
  VFIO_USER_ASSIGN_OR_RETURN(WireClient second, server.ConnectWithoutVersion());
  const absl::StatusOr<WireClient::Message> version = second.Negotiate(kUsualJson);
  if (absl::IsDeadlineExceeded(version.status())) {
    return Misbehaved("a second client is left to wait, want it told or closed");
  }
  if (version.ok() && !version->header.error_flag) {
    // One of "one or more clients".
    second.Remark("a second client is served too");
    VFIO_USER_RETURN_IF_ERROR(second.InStep());
  }
  return first.InStep();
}

absl::Status SilentOneLosesItsTurn(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient silent, server.ConnectWithoutVersion());
  const absl::Status end = silent.ReceiveEndWithin(absl::Seconds(15));
  if (!end.ok()) return Misbehaved("a client that says nothing keeps the device for 15 s and more");
  return ServesTheNext(server);
}

absl::Status SlowOneLosesItsTurn(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient slow, server.Connect());
  const std::vector<uint8_t> bytes = InfoMessage();
  VFIO_USER_RETURN_IF_ERROR(slow.SendBytes(std::span(bytes).first(20)));
  const absl::Status end = slow.ReceiveEndWithin(absl::Seconds(15));
  if (!end.ok()) {
    return Misbehaved("a client that stops within a message keeps the device for 15 s and more");
  }
  return ServesTheNext(server);
}

constexpr ServerCheck kChecks[] = {
    {"disconnect/anywhere-in-a-message-is-survived", kDisconnection, Requirement::kRequired,
     AnywhereInAMessage},
    {"disconnect/anywhere-in-version-is-survived", kDisconnection, Requirement::kRequired,
     AnywhereInVersion},
    {"disconnect/with-unread-replies-is-survived", kDisconnection, Requirement::kRequired,
     WithoutReadingReplies},
    {"disconnect/half-closed-connection-is-closed", kDisconnection, Requirement::kRequired,
     HalfClosed},
    {"disconnect/100-clients-in-a-row-are-served", kDisconnection, Requirement::kRequired,
     ManyInARow},
    {"disconnect/device-state-is-kept", kDisconnection, Requirement::kRequired, KeepsState},
    {"disconnect/second-client-does-not-disturb-the-first", kSocket, Requirement::kRequired,
     SecondDoesNotDisturb},
    {"disconnect/second-client-is-told", kSocket, Requirement::kRecommended, SecondIsTold},
    {"disconnect/silent-client-loses-its-turn", "Security Considerations",
     Requirement::kRecommended, SilentOneLosesItsTurn},
    {"disconnect/client-that-stops-in-a-message-loses-its-turn", "Security Considerations",
     Requirement::kRecommended, SlowOneLosesItsTurn},
};

}  // namespace

std::span<const ServerCheck> DisconnectChecks() { return kChecks; }

}  // namespace vfio_user
