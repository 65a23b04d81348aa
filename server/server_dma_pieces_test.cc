// How the server cuts a long transfer, seen from the socket.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/device.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr Iova kMapped{0x100000};
constexpr uint64_t kBytes = 100000;

// A device that reads kBytes at kMapped when its BAR0 is written to.
class ServerDmaPiecesTest : public ServerFixture {
 protected:
  ServerDmaPiecesTest() { Serve(MakeDevice()); }

  static std::unique_ptr<Device> MakeDevice() {
    return std::make_unique<ProbeDevice>([](DeviceHost& host, uint64_t, uint64_t) {
      host.Post([&host] {
        std::vector<std::byte> data(kBytes);
        (void)host.dma().Read(kMapped, std::span(data));
      });
      return absl::OkStatus();
    });
  }

  // Connects, maps, and starts the transfer.
  RawClient Start(std::string_view json) { return StartAt(path(), json); }
  static RawClient StartAt(const std::string& path, std::string_view json) {
    auto client = RawClient::Connect(path, json);
    EXPECT_THAT(client, IsOk());
    EXPECT_THAT(client->EnableBusMaster(), IsOk());
    DmaMapRequest map;
    map.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
    map.address = kMapped;
    map.size = kBytes;
    EXPECT_THAT(client->ErrorOf(Command::kDmaMap, Serialize(map)), IsOkAndHolds(0u));
    const std::vector<uint8_t> zeros(8);
    EXPECT_THAT(
        client->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(RegionIndex::kBar0, 0, zeros)),
        IsOkAndHolds(0u));
    return *std::move(client);
  }
};

// The count of the next DMA_READ.
uint64_t NextCount(ScriptedPeer& peer) {
  const auto read = peer.Receive();
  EXPECT_THAT(read, IsOk());
  EXPECT_EQ(read->header.command, Command::kDmaRead);
  const auto access = DmaAccess::Parse(read->body, "DMA_READ");
  EXPECT_THAT(access, IsOk());
  return access->count;
}

TEST_F(ServerDmaPiecesTest, AsksForNoMoreThanASocketQueuesAtOnceWithoutATwin) {
  RawClient client = Start(kPlainJson);

  for (const uint64_t count : {32768u, 32768u, 32768u, 1696u}) {
    EXPECT_EQ(NextCount(client.peer()), count);
  }
}

TEST_F(ServerDmaPiecesTest, AsksForAsMuchAsWasNegotiatedOnATwin) {
  RawClient client = Start(kTwinJson);
  ScriptedPeer twin(std::move(client.version_fds()[0]));

  EXPECT_EQ(NextCount(twin), kBytes);
}

// libvfio-user counts for the whole process, and its threads take ids from each other.
TEST_F(ServerDmaPiecesTest, NumbersTheMessagesOfEachConnectionByThemselves) {
  const std::string other_path = directory_.File("other");
  ServeAt(other_path, MakeDevice());
  RawClient one = Start(kPlainJson);
  RawClient other = StartAt(other_path, kPlainJson);

  for (uint16_t id = 0; id < 4; ++id) {
    for (RawClient* const client : {&one, &other}) {
      const auto read = client->peer().Receive();
      ASSERT_THAT(read, IsOk());
      EXPECT_EQ(read->header.command, Command::kDmaRead);
      EXPECT_EQ(read->header.msg_id, id);
    }
  }
}

}  // namespace
}  // namespace vfio_user
