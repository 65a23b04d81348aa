// The server from Create to Stop.
#include <sys/stat.h>

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

bool Exists(const std::string& path) {
  struct stat file;
  return ::lstat(path.c_str(), &file) == 0;
}

class ServerLifetimeTest : public ServerFixture {};

TEST_F(ServerLifetimeTest, RefusesOptionsThatCannotBe) {
  ServerOptions no_data;
  no_data.max_data_xfer_bytes = 0;
  ServerOptions much_data;
  much_data.max_data_xfer_bytes = (64 << 20) + 1;
  ServerOptions no_time;
  no_time.negotiation_timeout = absl::ZeroDuration();
  ServerOptions negative_spin;
  negative_spin.busy_poll = -absl::Microseconds(1);

  for (const ServerOptions& wrong : {no_data, much_data, no_time, negative_spin}) {
    EXPECT_THAT(Server::Create(wrong), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST_F(ServerLifetimeTest, MakesItsSocketForTheUserAloneAndRemovesIt) {
  Serve(std::make_unique<ProbeDevice>());
  struct stat file;
  ASSERT_EQ(::lstat(path().c_str(), &file), 0);
  EXPECT_TRUE(S_ISSOCK(file.st_mode));
  EXPECT_EQ(file.st_mode & 0777, 0600u);

  server_->Stop();

  EXPECT_FALSE(Exists(path()));
}

TEST_F(ServerLifetimeTest, RefusesAPathAndADeviceThatCannotBe) {
  Serve(std::make_unique<ProbeDevice>());
  class Nonsense : public ProbeDevice {
   public:
    Nonsense() { wrong_.bars = {{.index = RegionIndex::kBar0, .size = 5}}; }
    const DeviceDescription& description() const override { return wrong_; }

   private:
    DeviceDescription wrong_;
  };

  EXPECT_THAT(server_->Listen(std::string(200, 'x'), std::make_unique<ProbeDevice>()),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(server_->Listen(path(), std::make_unique<ProbeDevice>()),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(server_->Listen(directory_.File("wrong"), std::make_unique<Nonsense>()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("power of two")));
  EXPECT_FALSE(Exists(directory_.File("wrong")));
}

TEST_F(ServerLifetimeTest, TakesNothingOnOnceStopped) {
  Serve(std::make_unique<ProbeDevice>());
  server_->Stop();
  server_->Stop();

  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  EXPECT_THAT(server_->Listen(path(), std::make_unique<ProbeDevice>()),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(server_->Adopt(std::move(pair->socket), std::make_unique<ProbeDevice>()),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_FALSE(Exists(path()));
}

TEST_F(ServerLifetimeTest, RunsUntilItIsStopped) {
  Serve(std::make_unique<ProbeDevice>());
  std::thread runner([this] { server_->Run(); });

  server_->Stop();

  runner.join();
}

TEST_F(ServerLifetimeTest, DisconnectsClientsAndClosesEverythingWhenStopped) {
  const int before = OpenFdCount();
  Serve(std::make_unique<ProbeDevice>());
  ServeAt(directory_.File("other"), std::make_unique<ProbeDevice>());
  auto served = RawClient::Connect(path(), kTwinJson);
  auto negotiating = ScriptedPeer::Connect(directory_.File("other"));
  auto waiting = ScriptedPeer::Connect(path());

  server_->Stop();

  EXPECT_THAT(served->peer().ReceiveEof(), IsOk());
  EXPECT_THAT(negotiating->ReceiveEof(), IsOk());
  EXPECT_THAT(waiting->ReceiveEof(), IsOk());
  server_.reset();
  served->peer().Close();
  served->version_fds().clear();
  negotiating->Close();
  waiting->Close();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ServerLifetimeTest, SaysThatItIsTheServerThatEndsTheConnection) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());

  server_->Stop();

  EXPECT_THAT(log(), ElementsAre(HasSubstr("client disconnected: the server stops")));
}

TEST_F(ServerLifetimeTest, StopsWhileADeviceWaitsForDma) {
  auto device = std::make_unique<ProbeDevice>([](DeviceHost& host, uint64_t, uint64_t) {
    host.Post([&host] {
      std::byte byte;
      (void)host.dma().Read(Iova{0x10000}, {&byte, 1});
    });
    return absl::OkStatus();
  });
  Serve(std::move(device));
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(client->EnableBusMaster(), IsOk());
  ASSERT_THAT(
      client->ErrorOf(Command::kDmaMap,
                      std::vector<uint8_t>{32, 0, 0, 0, 3, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0,
                                           0,  0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0}),
      IsOkAndHolds(0u));
  ASSERT_THAT(
      client->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(RegionIndex::kBar0, 0, {{1}})),
      IsOkAndHolds(0u));
  ASSERT_EQ(client->peer().Receive()->header.command, Command::kDmaRead);

  server_->Stop();

  EXPECT_THAT(client->peer().ReceiveEof(), IsOk());
}

TEST_F(ServerLifetimeTest, MayBeStoppedByManyAtOnce) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path());
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this] {
      server_->Stop();
      EXPECT_FALSE(Exists(path()));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ServerLifetimeTest, ServesAnAdoptedClientAndDropsTheDeviceWithIt) {
  auto server = Server::Create(options_);
  ASSERT_THAT(server, IsOk());
  server_ = *std::move(server);
  auto pair = ScriptedPeer::Pair();
  ASSERT_THAT(pair, IsOk());
  auto device = std::make_unique<ProbeDevice>();
  std::promise<void> destroyed;
  device->set_on_destroyed([&destroyed] { destroyed.set_value(); });

  ASSERT_THAT(server_->Adopt(std::move(pair->socket), std::move(device)), IsOk());
  ASSERT_THAT(pair->peer.NegotiateVersion(kPlainJson), IsOk());
  RawClient client(std::move(pair->peer));
  EXPECT_THAT(client.ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  client.peer().Close();

  destroyed.get_future().wait();
}

TEST_F(ServerLifetimeTest, RefusesToAdoptWhatIsNoConnectedSocket) {
  Serve(std::make_unique<ProbeDevice>());

  EXPECT_THAT(server_->Adopt(Memfd("file"), std::make_unique<ProbeDevice>()), testing::Not(IsOk()));
}

}  // namespace
}  // namespace vfio_user
