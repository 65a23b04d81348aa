// DEVICE_RESET.
#include <cerrno>
#include <cstdint>
#include <set>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/check_families.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

constexpr std::string_view kReset = "VFIO_USER_DEVICE_RESET";
constexpr Command kCommand = Command::kDeviceReset;

absl::StatusOr<WireClient> ConnectToResettable(ServerUnderTest& server) {
  if (!server.traits().can_reset()) return Skip("the device cannot be reset");
  return server.Connect();
}

absl::Status IsDone(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  for (int i = 0; i < 3; ++i) VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = kCommand}));
  return client.InStep();
}

absl::Status WithABodyIsRefused(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  return client.RefusedInStep({.command = kCommand, .body = std::vector<uint8_t>(4096)}, {EINVAL});
}

// Replies may overtake each other: a reset can take long.
absl::Status AmongOthersIsAnswered(ServerUnderTest& server) {
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  std::multiset<uint16_t> waiting;
  for (int i = 0; i < 10; ++i) {
    for (const WireRequest& request :
         {WireRequest{.command = kCommand}, WireRequest{.command = Command::kDeviceGetInfo,
                                            .body = Serialize(DeviceInfoRequest())}}) {
      VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader sent, client.Send(request));
      waiting.insert(sent.msg_id);
    }
  }
  while (!waiting.empty()) {
    VFIO_USER_ASSIGN_OR_RETURN(const WireClient::Message reply, client.Receive());
    if (!reply.header.is_reply() || reply.header.error_flag) {
      return Misbehaved("a command among resets was not answered, or refused");
    }
    if (waiting.erase(reply.header.msg_id) == 0) return Misbehaved("a reply to nothing");
  }
  return absl::OkStatus();
}

absl::Status KeepsMappings(ServerUnderTest& server) {
  if (server.traits().ignores_dma) return Skip("the device takes no notice of mappings");
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain(MapRequest({})));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = kCommand}));
  return client.Do(UnmapRequest({})).status();
}

absl::Status ClearsTheCommandRegister(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  const std::vector<uint8_t> enabled = {kMemoryEnable | kBusMaster, 0};
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kCommandRegister, enabled));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = kCommand}));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> now,
                             ReadConfig(client, kCommandRegister, 2));
  if ((now[0] & (kMemoryEnable | kBusMaster)) == 0) return absl::OkStatus();
  return Misbehaved(fmt::format("the command register is {:#x} after a reset", now[0]));
}

absl::Status KeepsTheIdentity(ServerUnderTest& server) {
  VFIO_USER_RETURN_IF_ERROR(NeedsConfig(server));
  VFIO_USER_ASSIGN_OR_RETURN(WireClient client, ConnectToResettable(server));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> before, ReadConfig(client, 0, 4));
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = kCommand}));
  VFIO_USER_ASSIGN_OR_RETURN(const std::vector<uint8_t> after, ReadConfig(client, 0, 4));
  return before == after ? absl::OkStatus() : Misbehaved("another device after a reset");
}

constexpr ServerCheck kChecks[] = {
    {"reset/is-done", kReset, Requirement::kRequired, IsDone},
    {"reset/among-other-commands-is-answered", "Command Concurrency", Requirement::kRequired,
     AmongOthersIsAnswered},
    {"reset/with-a-body-is-refused", kReset, Requirement::kRecommended, WithABodyIsRefused},
    {"reset/keeps-mappings", "QEMU's client", Requirement::kPeerQuirk, KeepsMappings},
    {"reset/clears-the-command-register", "PCI", Requirement::kRecommended,
     ClearsTheCommandRegister},
    {"reset/keeps-the-identity", "PCI", Requirement::kRequired, KeepsTheIdentity},
};

}  // namespace

std::span<const ServerCheck> ResetChecks() { return kChecks; }

}  // namespace vfio_user
