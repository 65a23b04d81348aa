// One client at a time: who gets the device, who is told what, and what is left of a client.
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/header.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/fd_limit.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

std::vector<uint8_t> WriteBody(uint64_t offset, uint8_t value) {
  return RawClient::WriteBody(RegionIndex::kBar0, offset, {{value}});
}
std::vector<uint8_t> ReadBody(uint64_t offset) {
  return RawClient::AccessBody(RegionIndex::kBar0, offset, 1);
}

class ServerClientsTest : public ServerFixture {
 protected:
  std::unique_ptr<RawClient> Connect() {
    auto client = RawClient::Connect(path());
    EXPECT_THAT(client, IsOk());
    return client.ok() ? std::make_unique<RawClient>(*std::move(client)) : nullptr;
  }
};

TEST_F(ServerClientsTest, TellsASecondClientThatTheDeviceIsTakenAndKeepsTheFirst) {
  Serve(std::make_unique<ProbeDevice>());
  const auto first = Connect();
  auto second = ScriptedPeer::Connect(path());
  ASSERT_THAT(second, IsOk());

  const auto reply = second->NegotiateVersion(kPlainJson);

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.command, Command::kVersion);
  EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EBUSY));
  EXPECT_THAT(second->ReceiveEof(), IsOk());
  EXPECT_THAT(first->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  EXPECT_THAT(log(), Contains(HasSubstr("another one is served")));
}

TEST_F(ServerClientsTest, EchoesTheIdOfWhoIsTurnedAway) {
  Serve(std::make_unique<ProbeDevice>());
  const auto first = Connect();
  auto second = ScriptedPeer::Connect(path());
  ASSERT_THAT(second, IsOk());
  const auto header = MessageHeader{.msg_id = 0xabcd, .command = Command::kVersion}.Serialize();

  // In two pieces, with a pause in which the server is seen to serve others.
  ASSERT_THAT(second->SendBytes(std::span(header).first(5)), IsOk());
  ASSERT_THAT(first->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  ASSERT_THAT(second->SendBytes(std::span(header).subspan(5)), IsOk());

  const auto reply = second->Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.msg_id, 0xabcd);
  EXPECT_EQ(reply->header.error, static_cast<uint32_t>(EBUSY));
}

TEST_F(ServerClientsTest, ServesOneClientAfterAnotherWithoutAPause) {
  Serve(std::make_unique<ProbeDevice>());
  for (int i = 0; i < 200; ++i) {
    const auto client = Connect();
    ASSERT_NE(client, nullptr) << i;
    ASSERT_THAT(client->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  }
}

TEST_F(ServerClientsTest, KeepsTheDevicesStateForTheNextClient) {
  Serve(std::make_unique<ProbeDevice>());
  ASSERT_THAT(Connect()->ErrorOf(Command::kRegionWrite, WriteBody(5, 77)), IsOkAndHolds(0u));

  const auto reply = Connect()->Call(Command::kRegionRead, ReadBody(5));

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->body.back(), 77);
}

TEST_F(ServerClientsTest, TakesBackWhatAClientHadMapped) {
  Serve(std::make_unique<ProbeDevice>());
  const std::vector<uint8_t> map = {32, 0, 0, 0, 3, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0,
                                    0,  0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0};
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT(Connect()->ErrorOf(Command::kDmaMap, map), IsOkAndHolds(0u));
  }
}

TEST_F(ServerClientsTest, HasNoMoreDescriptorsAfterManyClients) {
  Serve(std::make_unique<ProbeDevice>());
  ASSERT_NE(Connect(), nullptr);
  // One that is served to the end, so that the one before it is gone.
  auto probe = Connect();
  ASSERT_NE(probe, nullptr);
  const int before = OpenFdCount();

  for (int i = 0; i < 300; ++i) {
    probe.reset();
    auto client = RawClient::Connect(path(), i % 2 == 0 ? kTwinJson : kPlainJson);
    ASSERT_THAT(client, IsOk());
    client->version_fds().clear();
    probe = std::make_unique<RawClient>(*std::move(client));
  }
  probe.reset();
  probe = Connect();

  EXPECT_EQ(OpenFdCount(), before);
}

// Leaves with its own socket under way to the server, on a twin that nobody has to read.
void LeaveBehindOneself(RawClient client, std::span<const uint8_t> before) {
  ScriptedPeer twin(std::move(client.version_fds()[0]));
  const FdView own = client.peer().fd();
  EXPECT_THAT(twin.SendBytes(before), IsOk());
  EXPECT_THAT(twin.Send({.command = Command::kDmaRead}, {}, {&own, 1}), IsOk());
}

TEST_F(ServerClientsTest, IsRidOfAClientWhoseSocketIsOnTheTwin) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path(), kTwinJson);
  ASSERT_THAT(client, IsOk());

  LeaveBehindOneself(*std::move(client), {});

  WaitForLog("client left");
  EXPECT_NE(Connect(), nullptr);
}

TEST_F(ServerClientsTest, IsRidOfAClientWhoseSocketIsOnABrokenTwin) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path(), kTwinJson);
  ASSERT_THAT(client, IsOk());

  // A message of type 2 comes first, after which there is no telling what anything is.
  LeaveBehindOneself(*std::move(client), {{0, 0, 11, 0, 16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}});

  WaitForLog("client lost");
  EXPECT_NE(Connect(), nullptr);
}

TEST_F(ServerClientsTest, KeepsAClientThatClosesItsTwin) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path(), kTwinJson);
  ASSERT_THAT(client, IsOk());

  client->version_fds().clear();

  // For longer than it takes the server to find out.
  const absl::Time end = absl::Now() + absl::Milliseconds(700);
  while (absl::Now() < end) ASSERT_THAT(client->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
}

TEST_F(ServerClientsTest, GivesTheDeviceToTheNextWhenAClientSaysNothing) {
  options_.negotiation_timeout = absl::Milliseconds(50);
  Serve(std::make_unique<ProbeDevice>());
  auto silent = ScriptedPeer::Connect(path());
  ASSERT_THAT(silent, IsOk());

  EXPECT_THAT(silent->ReceiveEof(), IsOk());

  EXPECT_NE(Connect(), nullptr);
}

TEST_F(ServerClientsTest, DropsTheSilentWhoWaitToBeTurnedAway) {
  options_.negotiation_timeout = absl::Milliseconds(50);
  Serve(std::make_unique<ProbeDevice>());
  const auto first = Connect();
  auto silent = ScriptedPeer::Connect(path());
  ASSERT_THAT(silent, IsOk());

  EXPECT_THAT(silent->ReceiveEof(), IsOk());

  EXPECT_THAT(first->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  EXPECT_THAT(log(), Contains(HasSubstr("its time to say VERSION is over")));
}

TEST_F(ServerClientsTest, LetsOnlySoManyWaitToBeTurnedAway) {
  Serve(std::make_unique<ProbeDevice>());
  const auto first = Connect();
  std::vector<ScriptedPeer> silent;
  for (int i = 0; i < 16; ++i) silent.push_back(*ScriptedPeer::Connect(path()));
  auto one_too_many = ScriptedPeer::Connect(path());
  ASSERT_THAT(one_too_many, IsOk());

  EXPECT_THAT(one_too_many->ReceiveEof(), IsOk());

  EXPECT_THAT(silent[15].NegotiateVersion(kPlainJson), IsOk());
  EXPECT_THAT(first->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
}

TEST_F(ServerClientsTest, KeepsTheDevicesOfItsSocketsApart) {
  Serve(std::make_unique<ProbeDevice>());
  ServeAt(directory_.File("other"), std::make_unique<ProbeDevice>());
  const auto one = Connect();
  auto other = RawClient::Connect(directory_.File("other"));
  ASSERT_THAT(other, IsOk());

  ASSERT_THAT(one->ErrorOf(Command::kRegionWrite, WriteBody(0, 1)), IsOkAndHolds(0u));

  EXPECT_EQ(other->Call(Command::kRegionRead, ReadBody(0))->body.back(), 0);
}

absl::Duration ProcessorTime() {
  timespec time;
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// Of this process, while it does nothing.
absl::Duration ProcessorTimeOfAnIdleMoment() {
  const absl::Duration before = ProcessorTime();
  ::usleep(200'000);
  return ProcessorTime() - before;
}

TEST_F(ServerClientsTest, WaitsAndGoesOnWhenItIsOutOfDescriptors) {
  Serve(std::make_unique<ProbeDevice>());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  path().copy(address.sun_path, sizeof(address.sun_path) - 1);
  absl::Duration processor_time;
  {
    const ScopedFdLimit no_more(0);
    ASSERT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    WaitForLog("no client can be taken in");
    processor_time = ProcessorTimeOfAnIdleMoment();
  }

  EXPECT_LT(processor_time, absl::Milliseconds(50));
  EXPECT_THAT(ScriptedPeer(std::move(socket)).NegotiateVersion(kPlainJson), IsOk());
}

// A device that is at work until the test lets it go.
class ServerBusyDeviceTest : public ServerClientsTest {
 protected:
  // The client before has left, and its work is not done.
  void SetUp() override {
    Serve(std::make_unique<ProbeDevice>([this](DeviceHost& host, uint64_t, uint64_t) {
      host.Post([released = release_.get_future().share()] { released.wait(); });
      return absl::OkStatus();
    }));
    ASSERT_THAT(Connect()->ErrorOf(Command::kRegionWrite, WriteBody(0, 1)), IsOkAndHolds(0u));
  }

  std::promise<void> release_;
};

TEST_F(ServerBusyDeviceTest, LetsTheNextClientWaitForWorkOfTheOneBefore) {
  auto next = ScriptedPeer::Connect(path());
  ASSERT_THAT(next, IsOk());
  const std::vector<uint8_t> version = {0, 0, 2, 0};
  ASSERT_THAT(next->Send({.msg_id = 5, .command = Command::kVersion}, version), IsOk());

  // What it has sent is there to be read, by whoever will serve it.
  EXPECT_LT(ProcessorTimeOfAnIdleMoment(), absl::Milliseconds(50));
  release_.set_value();

  const auto reply = next->Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.msg_id, 5);
  EXPECT_EQ(reply->header.error, 0u);
}

TEST_F(ServerBusyDeviceTest, ForgetsAClientThatDoesNotWaitForItsTurn) {
  auto impatient = ScriptedPeer::Connect(path());
  ASSERT_THAT(impatient, IsOk());
  impatient->Close();

  EXPECT_LT(ProcessorTimeOfAnIdleMoment(), absl::Milliseconds(50));
  release_.set_value();

  EXPECT_NE(Connect(), nullptr);
}

TEST_F(ServerClientsTest, UsesNoProcessorTimeWhenIdle) {
  Serve(std::make_unique<ProbeDevice>());
  const auto client = Connect();
  ASSERT_THAT(client->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));

  EXPECT_LT(ProcessorTimeOfAnIdleMoment(), absl::Milliseconds(20));
}

}  // namespace
}  // namespace vfio_user
