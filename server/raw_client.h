// A client for tests of the server, that speaks bytes.
#ifndef SERVER_RAW_CLIENT_H_
#define SERVER_RAW_CLIENT_H_

#include <linux/pci_regs.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

inline constexpr std::string_view kPlainJson = R"({"capabilities":{"max_msg_fds":8}})";
inline constexpr std::string_view kTwinJson =
    R"({"capabilities":{"max_msg_fds":8,"twin_socket":{"supported":true}}})";

// Reads and sends on the thread of the test, and only when it is told to.
class RawClient {
 public:
  using Message = ScriptedPeer::Message;

  explicit RawClient(ScriptedPeer peer) : peer_(std::move(peer)) {}

  // Connects, and negotiates with `json`.
  static absl::StatusOr<RawClient> Connect(const std::string& path,
                                           std::string_view json = kPlainJson) {
    VFIO_USER_ASSIGN_OR_RETURN(ScriptedPeer peer, ScriptedPeer::Connect(path));
    RawClient client(std::move(peer));
    VFIO_USER_ASSIGN_OR_RETURN(Message version, client.peer_.NegotiateVersion(json));
    if (version.header.error_flag) {
      return PeerError(Command::kVersion, version.header.error);
    }
    client.version_fds_ = std::move(version.fds);
    return client;
  }

  // Sends a command, and returns its header.
  absl::StatusOr<MessageHeader> Send(Command command, std::span<const uint8_t> body = {},
                                     std::span<const FdView> fds = {}) {
    MessageHeader header;
    header.msg_id = next_id_++;
    header.command = command;
    VFIO_USER_RETURN_IF_ERROR(peer_.Send(header, body, fds));
    return header;
  }

  // Sends a command and receives one message.
  absl::StatusOr<Message> Call(Command command, std::span<const uint8_t> body = {},
                               std::span<const FdView> fds = {}) {
    VFIO_USER_RETURN_IF_ERROR(Send(command, body, fds).status());
    return peer_.Receive();
  }

  // The error of the reply: 0 for success.
  absl::StatusOr<uint32_t> ErrorOf(Command command, std::span<const uint8_t> body = {},
                                   std::span<const FdView> fds = {}) {
    VFIO_USER_ASSIGN_OR_RETURN(const Message reply, Call(command, body, fds));
    return reply.header.error;
  }

  // The server's device transfers nothing without.
  absl::Status EnableBusMaster() {
    VFIO_USER_ASSIGN_OR_RETURN(
        const Message reply,
        Call(Command::kRegionWrite, WriteBody(RegionIndex::kConfig, PCI_COMMAND,
                                              {{PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0}})));
    return reply.header.error_flag ? PeerError(Command::kRegionWrite, reply.header.error)
                                   : absl::OkStatus();
  }

  static std::vector<uint8_t> AccessBody(RegionIndex region, uint64_t offset, uint32_t count) {
    return Serialize(RegionAccess{.offset = offset, .region = region, .count = count});
  }
  static std::vector<uint8_t> WriteBody(RegionIndex region, uint64_t offset,
                                        std::span<const uint8_t> data) {
    std::vector<uint8_t> body = AccessBody(region, offset, static_cast<uint32_t>(data.size()));
    body.insert(body.end(), data.begin(), data.end());
    return body;
  }

  ScriptedPeer& peer() { return peer_; }
  // That came with the server's VERSION.
  std::vector<UniqueFd>& version_fds() { return version_fds_; }

 private:
  ScriptedPeer peer_;
  uint16_t next_id_ = 100;
  std::vector<UniqueFd> version_fds_;
};

}  // namespace vfio_user

#endif  // SERVER_RAW_CLIENT_H_
