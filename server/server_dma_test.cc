// Commands and DMA at the same time, over one socket and over two.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/events/work_queue.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr Iova kMapped{0x10000};
constexpr uint64_t kMappedBytes = 0x1000;

std::vector<uint8_t> MapBody(Iova address, uint64_t size) {
  DmaMapRequest request;
  request.flags = kReadWrite;
  request.address = address;
  request.size = size;
  return Serialize(request);
}

std::vector<uint8_t> UnmapBody(Iova address, uint64_t size) {
  DmaUnmapRequest request;
  request.address = address;
  request.size = size;
  return Serialize(request);
}

// A device that, when its BAR0 is written to, reads 8 bytes of DMA on its worker, and then puts
// them into BAR0 at 0x100. How that went is the test's to look at.
class ServerDmaFixture : public ServerFixture {
 protected:
  explicit ServerDmaFixture(absl::Duration busy_poll = absl::ZeroDuration()) {
    options_.busy_poll = busy_poll;
    auto device = std::make_unique<ProbeDevice>([this](DeviceHost& host, uint64_t offset,
                                                       uint64_t address) -> absl::Status {
      if (offset != 0) return absl::OkStatus();
      host.Post([this, &host, address] {
        uint64_t value = 0;
        const absl::Status read =
            host.dma().Read(Iova{address}, std::as_writable_bytes(std::span(&value, 1)));
        (void)device_->WriteRegion(RegionIndex::kBar2, 0x100, std::as_bytes(std::span(&value, 1)));
        dma_done_.Put(read.code());
      });
      return absl::OkStatus();
    });
    device_ = device.get();
    Serve(std::move(device));
  }

  // With kMapped mapped, by message. The peer on which the server's commands arrive is dma().
  void Connect(std::string_view json) {
    auto client = RawClient::Connect(path(), json);
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
    ASSERT_THAT(client_->EnableBusMaster(), IsOk());
    if (!client_->version_fds().empty()) {
      twin_ = std::make_unique<ScriptedPeer>(std::move(client_->version_fds()[0]));
    }
    ASSERT_THAT(client_->ErrorOf(Command::kDmaMap, MapBody(kMapped, kMappedBytes)),
                IsOkAndHolds(0u));
  }
  ScriptedPeer& dma() { return twin_ != nullptr ? *twin_ : client_->peer(); }

  // What makes the device read.
  static std::vector<uint8_t> StartBody(Iova address) {
    const uint64_t value = ToU64(address);
    return RawClient::WriteBody(RegionIndex::kBar0, 0,
                                std::span(reinterpret_cast<const uint8_t*>(&value), sizeof(value)));
  }

  // Starts the transfer, and returns the server's DMA_READ.
  absl::StatusOr<ScriptedPeer::Message> StartTransfer() {
    VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message reply,
                               client_->Call(Command::kRegionWrite, StartBody(kMapped)));
    if (!reply.header.is_reply()) return absl::InternalError("the reply is not first");
    return dma().Receive();
  }

  absl::Status AnswerRead(const MessageHeader& command) {
    std::vector<uint8_t> body = Serialize(DmaAccess{.address = kMapped, .count = 8});
    for (uint8_t i = 1; i <= 8; ++i) body.push_back(i);
    return dma().Reply(command, body);
  }

  ProbeDevice* device_ = nullptr;
  // No Status: the counts that its copies share are Abseil's, which is not built for
  // ThreadSanitizer.
  Mailbox<absl::StatusCode> dma_done_;
  std::unique_ptr<RawClient> client_;
  std::unique_ptr<ScriptedPeer> twin_;
};

// By what a client says of a twin socket, and by how long the server's threads spin.
class ServerDmaTest
    : public ServerDmaFixture,
      public testing::WithParamInterface<std::tuple<std::string_view, absl::Duration>> {
 protected:
  ServerDmaTest() : ServerDmaFixture(std::get<1>(GetParam())) {}

  static std::string_view Json() { return std::get<0>(GetParam()); }
};

std::string SettingName(const testing::TestParamInfo<ServerDmaTest::ParamType>& tested) {
  const auto& [json, busy_poll] = tested.param;
  const std::string sockets = json == kPlainJson ? "One" : "Two";
  return busy_poll > absl::ZeroDuration() ? sockets + "Spinning" : sockets;
}

INSTANTIATE_TEST_SUITE_P(OneSocketAndTwo, ServerDmaTest,
                         testing::Combine(testing::Values(kPlainJson, kTwinJson),
                                          testing::Values(absl::ZeroDuration(),
                                                          absl::Microseconds(200))),
                         SettingName);

TEST_P(ServerDmaTest, AnswersARegisterWriteBeforeTheDmaThatItStarts) {
  Connect(Json());
  for (int i = 0; i < 100; ++i) {
    ASSERT_THAT(client_->Send(Command::kRegionWrite, StartBody(kMapped)), IsOk());

    const absl::StatusOr<ScriptedPeer::Message> reply = client_->peer().Receive();

    ASSERT_THAT(reply, IsOk());
    ASSERT_TRUE(reply->header.is_reply());
    EXPECT_EQ(reply->header.command, Command::kRegionWrite);
    const absl::StatusOr<ScriptedPeer::Message> read = dma().Receive();
    ASSERT_THAT(read, IsOk());
    EXPECT_EQ(read->header.command, Command::kDmaRead);
    EXPECT_THAT(read->body, ElementsAre(0, 0, 1, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0));
    ASSERT_THAT(AnswerRead(read->header), IsOk());
    EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
  }
}

TEST_P(ServerDmaTest, ServesCommandsWhileItWaitsForDma) {
  Connect(Json());
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());

  for (int i = 0; i < 10; ++i) {
    EXPECT_THAT(
        client_->ErrorOf(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 0x100, 8)),
        IsOkAndHolds(0u));
  }

  ASSERT_THAT(AnswerRead(read->header), IsOk());
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
}

TEST_P(ServerDmaTest, AnswersAnUnmapOnlyWhenTheTransferIsThrough) {
  Connect(Json());
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());

  const auto unmap = client_->Send(Command::kDmaUnmap, UnmapBody(kMapped, kMappedBytes));
  ASSERT_THAT(unmap, IsOk());
  // Asked later, answered earlier.
  const auto info =
      client_->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 0x100, 8));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->header.command, Command::kRegionRead);

  ASSERT_THAT(AnswerRead(read->header), IsOk());
  const auto unmapped = client_->peer().Receive();
  ASSERT_THAT(unmapped, IsOk());
  EXPECT_EQ(unmapped->header.command, Command::kDmaUnmap);
  EXPECT_EQ(unmapped->header.msg_id, unmap->msg_id);
  EXPECT_EQ(unmapped->header.error, 0u);
  EXPECT_THAT(unmapped->body, SizeIs(24));
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
}

TEST_P(ServerDmaTest, AResetCancelsWhatIsUnderWay) {
  Connect(Json());
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());

  const auto reset = client_->Call(Command::kDeviceReset);

  ASSERT_THAT(reset, IsOk());
  EXPECT_EQ(reset->header.command, Command::kDeviceReset);
  EXPECT_EQ(reset->header.error, 0u);
  EXPECT_EQ(device_->resets(), 1);
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kCancelled);
}

TEST_P(ServerDmaTest, KeepsMappingsAcrossAResetAndDropsTheLateAnswer) {
  Connect(Json());
  const auto late = StartTransfer();
  ASSERT_THAT(late, IsOk());
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kCancelled);
  ASSERT_THAT(AnswerRead(late->header), IsOk());
  ASSERT_THAT(client_->EnableBusMaster(), IsOk());

  const auto read = StartTransfer();

  ASSERT_THAT(read, IsOk());
  ASSERT_THAT(AnswerRead(read->header), IsOk());
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
}

TEST_P(ServerDmaTest, TakesAsManyResetsAsThereAre) {
  Connect(Json());
  const auto first = StartTransfer();
  ASSERT_THAT(first, IsOk());
  for (int i = 0; i < 5; ++i) ASSERT_THAT(client_->Send(Command::kDeviceReset), IsOk());
  for (int i = 0; i < 5; ++i) {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.command, Command::kDeviceReset);
  }
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kCancelled);

  // The last one has let transfers go on.
  ASSERT_THAT(client_->EnableBusMaster(), IsOk());
  const auto read = StartTransfer();

  ASSERT_THAT(read, IsOk());
  ASSERT_THAT(AnswerRead(read->header), IsOk());
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
  EXPECT_EQ(device_->resets(), 5);
}

TEST_P(ServerDmaTest, AResetDoesNotLetGoOnWhatALaterOneCancels) {
  Connect(Json());
  ASSERT_THAT(StartTransfer(), IsOk());

  // All of it before the first reset can be done, which waits for the transfer.
  ASSERT_THAT(client_->Send(Command::kDeviceReset), IsOk());
  ASSERT_THAT(client_->Send(Command::kRegionWrite, StartBody(kMapped)), IsOk());
  ASSERT_THAT(client_->Send(Command::kDeviceReset), IsOk());

  // The client answers no DMA, and sees it only where it was under way before the second reset.
  int resets = 0;
  while (resets < 2) {
    const auto message = client_->peer().Receive();
    ASSERT_THAT(message, IsOk());
    if (message->header.command == Command::kDeviceReset) ++resets;
  }
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kCancelled);
  // The first reset has switched bus mastering off; the second may not have been seen yet.
  EXPECT_THAT(dma_done_.Take(),
              AnyOf(absl::StatusCode::kCancelled, absl::StatusCode::kPermissionDenied));
}

TEST_P(ServerDmaTest, RefusesCommandsThatPileUpBehindATransfer) {
  Connect(Json());
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());
  const std::vector<uint8_t> trigger = Serialize(SetIrqsRequest{.data = IrqData::kNone,
                                                                .action = IrqAction::kTrigger,
                                                                .index = IrqIndex::kMsix,
                                                                .start = 0,
                                                                .count = 1});

  // The worker is in the transfer, so that all of these wait for it.
  for (size_t i = 0; i <= WorkQueue::kMostQueued; ++i) {
    ASSERT_THAT(client_->Send(Command::kDeviceSetIrqs, trigger), IsOk());
  }

  const auto refused = client_->peer().Receive();
  ASSERT_THAT(refused, IsOk());
  EXPECT_EQ(refused->header.error, static_cast<uint32_t>(EBUSY));
  ASSERT_THAT(AnswerRead(read->header), IsOk());
  for (size_t i = 0; i < WorkQueue::kMostQueued; ++i) {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.error, 0u);
  }
}

TEST_P(ServerDmaTest, EndsTheTransferOfAClientThatLeaves) {
  Connect(Json());
  ASSERT_THAT(StartTransfer(), IsOk());

  client_->peer().Close();

  EXPECT_NE(dma_done_.Take(), absl::StatusCode::kOk);
  // Its place is free, and what it had mapped is not the next client's.
  twin_.reset();
  auto next = RawClient::Connect(path(), Json());
  ASSERT_THAT(next, IsOk());
  EXPECT_THAT(next->ErrorOf(Command::kRegionWrite, StartBody(kMapped)), IsOkAndHolds(0u));
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOutOfRange);
}

TEST_P(ServerDmaTest, PassesOnWhatTheClientAnsweredToDma) {
  Connect(Json());
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());

  ASSERT_THAT(dma().ReplyError(read->header, 19), IsOk());  // ENODEV, as QEMU says.

  EXPECT_NE(dma_done_.Take(), absl::StatusCode::kOk);
  EXPECT_THAT(client_->ErrorOf(Command::kDmaUnmap, UnmapBody(kMapped, kMappedBytes)),
              IsOkAndHolds(0u));
}

TEST_P(ServerDmaTest, TakesEightMappingsInFlight) {
  Connect(Json());
  std::vector<uint16_t> ids;
  for (uint64_t i = 1; i <= 8; ++i) {
    const auto sent = client_->Send(Command::kDmaMap, MapBody(Iova{i << 32}, 0x1000));
    ASSERT_THAT(sent, IsOk());
    ids.push_back(sent->msg_id);
  }

  for (const uint16_t id : ids) {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.msg_id, id);
    EXPECT_EQ(reply->header.error, 0u);
    EXPECT_THAT(reply->body, SizeIs(0));
  }
}

TEST_P(ServerDmaTest, UnmapsEverythingAtOnce) {
  Connect(Json());
  ASSERT_THAT(client_->ErrorOf(Command::kDmaMap, MapBody(Iova{0x20000}, 0x1000)), IsOkAndHolds(0u));
  DmaUnmapRequest all;
  all.flags = DmaUnmapFlag::kAll;

  const auto reply = client_->Call(Command::kDmaUnmap, Serialize(all));

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.error, 0u);
  EXPECT_EQ(reply->body, Serialize(all));
  EXPECT_THAT(client_->ErrorOf(Command::kDmaMap, MapBody(Iova{0}, 0x100000)), IsOkAndHolds(0u));
}

using ServerTwinSocketTest = ServerDmaFixture;

TEST_F(ServerTwinSocketTest, AnswersCommandsOnTheTwinSocketWithAnError) {
  Connect(kTwinJson);
  // A transfer waits there, and so somebody reads.
  const auto read = StartTransfer();
  ASSERT_THAT(read, IsOk());
  MessageHeader command;
  command.command = Command::kDeviceGetInfo;

  ASSERT_THAT(twin_->Send(command, std::vector<uint8_t>(16)), IsOk());

  const auto reply = twin_->Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.is_reply());
  EXPECT_EQ(reply->header.error, 22u);
  ASSERT_THAT(AnswerRead(read->header), IsOk());
  EXPECT_EQ(dma_done_.Take(), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace vfio_user
