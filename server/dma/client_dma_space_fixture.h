// What tests of ClientDmaSpace share: a client that the test plays, and requests as it makes them.
#ifndef SERVER_DMA_CLIENT_DMA_SPACE_FIXTURE_H_
#define SERVER_DMA_CLIENT_DMA_SPACE_FIXTURE_H_

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

inline constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

inline UniqueFd OpenSelfMem(int flags = O_RDWR) {
  return UniqueFd(::open("/proc/self/mem", flags | O_CLOEXEC));
}

inline std::span<std::byte> WritableBytes(std::span<char> text) {
  return std::as_writable_bytes(text);
}
inline std::span<const std::byte> Bytes(std::span<const char> text) { return std::as_bytes(text); }

// A space with a client, whose messages the test answers, or does not.
class ClientDmaSpaceFixture : public testing::Test {
 protected:
  static constexpr uint32_t kMaxDataBytes = 4096;

  explicit ClientDmaSpaceFixture(const ClientDmaSpace::Options& options = {.max_maps = 4096})
      : space_(options) {}

  void SetUp() override { Connect(); }

  // A client, in the process that `credentials` tell of.
  void Connect(const PeerCredentials& credentials = {}) {
    auto connected = ScriptedPeer::Pair();
    if (!connected.ok()) std::abort();
    client_ = std::make_unique<ScriptedPeer>(std::move(connected->peer));
    auto socket = Socket::Adopt(std::move(connected->socket));
    if (!socket.ok()) std::abort();
    channel_ =
        std::make_shared<Channel>(MessageStream(*std::move(socket), {}), [this](IncomingCommand&) {
          command_came_.set_value();
          return absl::OkStatus();
        });
    space_.Connect(channel_, kMaxDataBytes, credentials);
  }

  // Memory that is reached by message.
  absl::Status Map(uint64_t address, uint64_t size, DmaMapFlags access = kReadWrite) {
    return space_.Map({.flags = access, .file_offset = 0, .address = Iova{address}, .size = size},
                      {});
  }
  // Memory of this process, which is the client for now, by file I/O.
  absl::Status MapFileIo(uint64_t address, std::span<const char> memory,
                         DmaMapFlags access = kReadWrite) {
    return MapFd({.flags = access | DmaMapFlag::kFileIo,
                  .file_offset = reinterpret_cast<uintptr_t>(memory.data()),
                  .address = Iova{address},
                  .size = memory.size()},
                 OpenSelfMem());
  }
  absl::Status MapFd(const DmaMapRequest& request, UniqueFd fd) {
    std::vector<UniqueFd> fds;
    fds.push_back(std::move(fd));
    return space_.Map(request, std::move(fds));
  }

  ClientDmaSpace space_;
  std::unique_ptr<ScriptedPeer> client_;
  std::shared_ptr<Channel> channel_;
  std::promise<void> command_came_;  // From the client; at most one does.
};

}  // namespace vfio_user

#endif  // SERVER_DMA_CLIENT_DMA_SPACE_FIXTURE_H_
