// What a client gets that asks for what it may ask for.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ServerAnswersTest : public ServerFixture {
 protected:
  void Start(ProbeDevice::WriteHook on_write = nullptr) {
    auto device = std::make_unique<ProbeDevice>(std::move(on_write));
    device_ = device.get();
    Serve(std::move(device));
    auto client = RawClient::Connect(path());
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
  }

  std::vector<uint8_t> BodyOf(Command command, std::vector<uint8_t> body) {
    auto reply = client_->Call(command, body);
    EXPECT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.error, 0u);
    return std::move(reply->body);
  }

  ProbeDevice* device_ = nullptr;
  std::unique_ptr<RawClient> client_;
};

TEST_F(ServerAnswersTest, DeviceInfoIsThatOfAPciDeviceThatCanBeReset) {
  Start();

  EXPECT_THAT(BodyOf(Command::kDeviceGetInfo, {16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}),
              ElementsAre(16, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0));
}

TEST_F(ServerAnswersTest, RegionInfoHasSizeAndRights) {
  Start();
  std::vector<uint8_t> request(32);
  request[0] = 32;
  request[8] = 2;

  EXPECT_THAT(BodyOf(Command::kDeviceGetRegionInfo, request),
              ElementsAre(32, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,  //
                          16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerAnswersTest, RegionInfoTakesTheLongRequestOfSpdk) {
  Start();
  std::vector<uint8_t> request(4064);
  request[0] = 4064 & 0xff;
  request[1] = 4064 >> 8;
  request[8] = 7;

  const std::vector<uint8_t> info = BodyOf(Command::kDeviceGetRegionInfo, request);

  ASSERT_THAT(info, SizeIs(32));
  EXPECT_EQ(info[4], 3);
  EXPECT_EQ(info[17], 16);  // 4,096 bytes.
}

TEST_F(ServerAnswersTest, IrqInfoHasTheVectors) {
  Start();

  EXPECT_THAT(BodyOf(Command::kDeviceGetIrqInfo, {16, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}),
              ElementsAre(16, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0));
  EXPECT_THAT(BodyOf(Command::kDeviceGetIrqInfo, {16, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0}),
              ElementsAre(16, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerAnswersTest, AReadEchoesItsAccessBeforeTheData) {
  Start();
  ASSERT_THAT(client_->ErrorOf(Command::kRegionWrite,
                               RawClient::WriteBody(RegionIndex::kBar0, 0x10, {{1, 2, 3}})),
              IsOkAndHolds(0u));

  EXPECT_THAT(BodyOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 0x10, 4)),
              ElementsAre(0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 0));
}

TEST_F(ServerAnswersTest, AWriteIsAnsweredWithItsAccess) {
  Start();

  EXPECT_THAT(
      BodyOf(Command::kRegionWrite, RawClient::WriteBody(RegionIndex::kBar3, 0xc, {{1, 2, 3, 4}})),
      ElementsAre(0xc, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0));
}

TEST_F(ServerAnswersTest, AccessesOfNothingAreFineToTheLastByte) {
  Start([](DeviceHost&, uint64_t, uint64_t) { return absl::InternalError("never called"); });

  EXPECT_THAT(BodyOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 4096, 0)),
              SizeIs(16));
  EXPECT_THAT(BodyOf(Command::kRegionWrite, RawClient::AccessBody(RegionIndex::kBar0, 4096, 0)),
              SizeIs(16));
}

TEST_F(ServerAnswersTest, ConfigSpaceIsReadWholeAndWrittenInPart) {
  Start();
  const std::vector<uint8_t> all =
      BodyOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kConfig, 0, 256));
  ASSERT_THAT(all, SizeIs(16 + 256));
  EXPECT_EQ(all[16], 0x34);
  EXPECT_EQ(all[17], 0x12);

  ASSERT_THAT(client_->ErrorOf(Command::kRegionWrite,
                               RawClient::WriteBody(RegionIndex::kConfig, 4, {{6, 0}})),
              IsOkAndHolds(0u));

  EXPECT_EQ(BodyOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kConfig, 4, 1))[16], 6);
}

TEST_F(ServerAnswersTest, AResetClearsDeviceAndConfigSpace) {
  Start();
  for (const RegionIndex region : {RegionIndex::kBar0, RegionIndex::kConfig}) {
    ASSERT_THAT(client_->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(region, 4, {{6, 0}})),
                IsOkAndHolds(0u));
  }

  const auto reply = client_->Call(Command::kDeviceReset);

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, 0u);
  EXPECT_THAT(reply->body, IsEmpty());
  EXPECT_EQ(device_->resets(), 1);
  for (const RegionIndex region : {RegionIndex::kBar0, RegionIndex::kConfig}) {
    EXPECT_EQ(BodyOf(Command::kRegionRead, RawClient::AccessBody(region, 4, 1))[16], 0);
  }
}

TEST_F(ServerAnswersTest, TheErrnoOfADeviceReachesTheClient) {
  Start([](DeviceHost&, uint64_t offset, uint64_t) -> absl::Status {
    if (offset == 0) return absl::InvalidArgumentError("plain");
    return ErrnoStatus(ENXIO, "with a number");
  });

  EXPECT_THAT(client_->ErrorOf(Command::kRegionWrite,
                               RawClient::WriteBody(RegionIndex::kBar0, 0, {{1, 2, 3, 4}})),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  EXPECT_THAT(client_->ErrorOf(Command::kRegionWrite,
                               RawClient::WriteBody(RegionIndex::kBar0, 8, {{1, 2, 3, 4}})),
              IsOkAndHolds(static_cast<uint32_t>(ENXIO)));
}

TEST_F(ServerAnswersTest, KeepsToTheTransferSizeThatTheClientAskedFor) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path(), R"({"capabilities":{"max_data_xfer_size":16}})");
  ASSERT_THAT(client, IsOk());

  EXPECT_THAT(
      client->ErrorOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 0, 16)),
      IsOkAndHolds(0u));
  EXPECT_THAT(
      client->ErrorOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 0, 17)),
      IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  const std::vector<uint8_t> data(17, 0xa5);
  EXPECT_THAT(
      client->ErrorOf(Command::kRegionWrite,
                      RawClient::WriteBody(RegionIndex::kBar0, 0, std::span(data).first(16))),
      IsOkAndHolds(0u));
  EXPECT_THAT(
      client->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(RegionIndex::kBar0, 0, data)),
      IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
}

TEST_F(ServerAnswersTest, ADescriptorWithAnUnmapIsClosed) {
  Start();
  ASSERT_THAT(
      client_->ErrorOf(Command::kDmaMap,
                       std::vector<uint8_t>{32, 0, 0, 0, 3, 0, 0, 0, 0, 0,  0, 0, 0, 0, 0, 0,
                                            0,  0, 1, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0}),
      IsOkAndHolds(0u));
  const UniqueFd file = Memfd("stray");
  const FdView fds[] = {file};
  const int before = OpenFdCount();

  const auto reply =
      client_->Call(Command::kDmaUnmap, std::vector<uint8_t>{24, 0, 0, 0, 0, 0,  0, 0, 0, 0, 1, 0,
                                                             0,  0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0},
                    fds);

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, 0u);
  EXPECT_THAT(reply->body, ElementsAre(24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0,  //
                                       0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0));
  EXPECT_EQ(OpenFdCount(), before);
}

// SET_IRQS, with a device that signals MSI-X vector V when V is written to its BAR0.
class ServerInterruptTest : public ServerAnswersTest {
 protected:
  void SetUp() override {
    Start([](DeviceHost& host, uint64_t, uint64_t vector) {
      host.TriggerInterrupt(IrqIndex::kMsix, static_cast<uint32_t>(vector));
      return absl::OkStatus();
    });
  }

  // Flags are data (1 none, 4 eventfd) and action (32 trigger).
  static std::vector<uint8_t> Body(uint8_t flags, uint8_t start, uint8_t count) {
    return {20, 0, 0, 0, flags, 0, 0, 0, 2, 0, 0, 0, start, 0, 0, 0, count, 0, 0, 0};
  }
  uint64_t Signals() {
    uint64_t count = 0;
    return ::read(event_.get(), &count, sizeof(count)) < 0 ? 0 : count;
  }
  void RaiseByRegister(uint8_t vector) {
    ASSERT_THAT(client_->ErrorOf(Command::kRegionWrite,
                                 RawClient::WriteBody(RegionIndex::kBar0, 0, {{vector, 0, 0, 0}})),
                IsOkAndHolds(0u));
  }

  UniqueFd event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

TEST_F(ServerInterruptTest, SignalsABoundVector) {
  const FdView fds[] = {event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 2, 1), fds), IsOkAndHolds(0u));

  RaiseByRegister(2);
  RaiseByRegister(1);

  EXPECT_EQ(Signals(), 1u);
}

TEST_F(ServerInterruptTest, TriggersByLoopbackBeforeTheReply) {
  const FdView fds[] = {event_, event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 2, 2), fds), IsOkAndHolds(0u));

  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(33, 0, 4)), IsOkAndHolds(0u));

  EXPECT_EQ(Signals(), 2u);
}

// As the kernel does it. libvfio-user answers with ENOENT, and has done part of it then.
TEST_F(ServerInterruptTest, TriggersNothingByLoopbackOfAVectorThatIsNotBound) {
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(33, 2, 1)), IsOkAndHolds(0u));

  const FdView fds[] = {event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 2, 1), fds), IsOkAndHolds(0u));
  // Answered behind all signals that were due.
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(33, 3, 1)), IsOkAndHolds(0u));
  EXPECT_EQ(Signals(), 0u);
}

TEST_F(ServerInterruptTest, UnbindsAndDisables) {
  const FdView fds[] = {event_, event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 2, 2), fds), IsOkAndHolds(0u));

  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 3, 1)), IsOkAndHolds(0u));
  RaiseByRegister(2);
  RaiseByRegister(3);
  EXPECT_EQ(Signals(), 1u);

  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(33, 0, 0)), IsOkAndHolds(0u));
  RaiseByRegister(2);
  EXPECT_EQ(Signals(), 0u);
}

TEST_F(ServerInterruptTest, KeepsBindingsAcrossAReset) {
  const FdView fds[] = {event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 0, 1), fds), IsOkAndHolds(0u));

  ASSERT_THAT(client_->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));

  RaiseByRegister(0);
  EXPECT_EQ(Signals(), 1u);
}

TEST_F(ServerInterruptTest, HoldsNoMoreDescriptorsAfterManyBindings) {
  const FdView fds[] = {event_};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 0, 1), fds), IsOkAndHolds(0u));
  const int before = OpenFdCount();

  for (int i = 0; i < 500; ++i) {
    ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 0, 1), fds), IsOkAndHolds(0u));
  }

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ServerInterruptTest, AFullBlockingEventfdHoldsNobodyUp) {
  const UniqueFd full(::eventfd(0, EFD_CLOEXEC));
  const uint64_t most = UINT64_MAX - 1;
  ASSERT_EQ(::write(full.get(), &most, sizeof(most)), 8);
  const FdView fds[] = {full};
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(36, 0, 1), fds), IsOkAndHolds(0u));

  RaiseByRegister(0);
  EXPECT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, Body(33, 0, 1)), IsOkAndHolds(0u));
}

}  // namespace
}  // namespace vfio_user
