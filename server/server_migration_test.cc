// Migration, as a client asks for it: DEVICE_FEATURE, MIG_DATA_READ and MIG_DATA_WRITE.
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/migration_data.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/device.h"
#include "server/migratable.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint32_t kGet = 1 << 16;
constexpr uint32_t kSet = 1 << 17;
constexpr uint32_t kProbe = 1 << 18;
constexpr auto kInvalid = static_cast<uint32_t>(EINVAL);

std::vector<uint8_t> FeatureBody(uint32_t argsz, uint32_t flags,
                                 std::span<const uint8_t> data = {}) {
  std::vector<uint8_t> body;
  WireWriter out(body);
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags);
  out.WriteBytes(data);
  return body;
}

std::vector<uint8_t> StateBody(MigState state) {
  return FeatureBody(16, kSet | 2, Serialize(MigDeviceState{.state = state}));
}

// The first 16 bytes of BAR0 are its state. What a client writes to 0x20 is an address, to which
// the device then writes by DMA, and which is kept for later while it is paused.
class MovableDevice final : public ProbeDevice, private Migratable {
 public:
  explicit MovableDevice(Mailbox<absl::StatusCode>& written)
      : ProbeDevice([this](DeviceHost&, uint64_t offset, uint64_t value) {
          if (offset == 0x20) Start(value);
          return absl::OkStatus();
        }),
        written_(written) {}

  Migratable* migratable() override { return this; }

 private:
  // Everything is the protocol thread's, or happens while that waits for it.
  void Start(uint64_t address) {
    if (paused_) {
      kept_.push_back(address);
      return;
    }
    host().Post([this, address] {
      const std::vector<std::byte> bytes(8, std::byte{7});
      written_.Put(host().dma().Write(Iova{address}, bytes).code());
    });
  }

  void Pause() override { paused_ = true; }
  void Resume() override {
    paused_ = false;
    for (const uint64_t address : std::exchange(kept_, {})) Start(address);
  }
  absl::StatusOr<std::vector<std::byte>> Save() override {
    std::vector<std::byte> state(16);
    return ReadRegion(RegionIndex::kBar0, 0, state).ok() ? state : std::vector<std::byte>();
  }
  absl::Status Restore(std::span<const std::byte> state) override {
    return WriteRegion(RegionIndex::kBar1, 0, state);
  }

  Mailbox<absl::StatusCode>& written_;
  bool paused_ = false;
  std::vector<uint64_t> kept_;
};

class ServerMigrationTest : public ServerFixture {
 protected:
  ServerMigrationTest() {
    Serve(std::make_unique<MovableDevice>(written_));
    Connect();
  }

  void Connect() {
    auto client = RawClient::Connect(path(), kTwinJson);
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
    ASSERT_THAT(client_->version_fds(), SizeIs(1));
    dma_ = std::make_unique<ScriptedPeer>(std::move(client_->version_fds()[0]));
    Write(RegionIndex::kConfig, 4, {6, 0});
  }
  void Reconnect() {
    client_.reset();
    dma_.reset();
    Connect();
  }

  std::vector<uint8_t> BodyOf(Command command, const std::vector<uint8_t>& body) {
    auto reply = client_->Call(command, body);
    EXPECT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.error, 0u);
    return std::move(reply->body);
  }
  uint32_t ErrorOf(Command command, const std::vector<uint8_t>& body = {}) {
    const auto error = client_->ErrorOf(command, body);
    EXPECT_THAT(error, IsOk());
    return *error;
  }
  void Write(RegionIndex region, uint64_t offset, const std::vector<uint8_t>& data) {
    EXPECT_EQ(ErrorOf(Command::kRegionWrite, RawClient::WriteBody(region, offset, data)), 0u);
  }
  std::vector<uint8_t> Read(RegionIndex region, uint64_t offset, uint32_t count) {
    const std::vector<uint8_t> body =
        BodyOf(Command::kRegionRead, RawClient::AccessBody(region, offset, count));
    return {body.begin() + 16, body.end()};
  }

  uint32_t Go(MigState state) { return ErrorOf(Command::kDeviceFeature, StateBody(state)); }
  MigState State() {
    const std::vector<uint8_t> body = BodyOf(Command::kDeviceFeature, FeatureBody(16, kGet | 2));
    EXPECT_THAT(body, SizeIs(16));
    return MigState{body[8]};
  }
  std::vector<uint8_t> ReadData(uint32_t size) {
    const std::vector<uint8_t> body = BodyOf(
        Command::kMigDataRead, Serialize(MigDataReadRequest{.argsz = 8 + size, .size = size}));
    const auto reply = MigDataReadReply::Parse(body);
    EXPECT_THAT(reply, IsOk());
    EXPECT_EQ(body.size(), 8 + reply->data.size());
    return {reply->data.begin(), reply->data.end()};
  }
  uint32_t WriteData(std::span<const uint8_t> data) {
    return ErrorOf(Command::kMigDataWrite, Serialize(MigDataWriteRequest{.data = data}));
  }

  Mailbox<absl::StatusCode> written_;
  std::unique_ptr<RawClient> client_;
  std::unique_ptr<ScriptedPeer> dma_;
};

TEST_F(ServerMigrationTest, TellsThatTheDeviceCanStopAndCopyAndPreCopy) {
  EXPECT_THAT(BodyOf(Command::kDeviceFeature, FeatureBody(16, kGet | 1)),
              ElementsAre(16, 0, 0, 0, 1, 0, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerMigrationTest, ProbesItsFeatures) {
  for (const uint32_t flags :
       {kProbe | 1, kProbe | kGet | 1, kProbe | 2, kProbe | kGet | kSet | 2, kProbe | kGet | 9}) {
    EXPECT_EQ(BodyOf(Command::kDeviceFeature, FeatureBody(8, flags)), FeatureBody(8, flags));
  }
  EXPECT_EQ(ErrorOf(Command::kDeviceFeature, FeatureBody(8, kProbe | kSet | 1)), kInvalid);
}

TEST_F(ServerMigrationTest, TellsHowMuchOfTheStateIsStillToBeRead) {
  const auto left = [this] {
    const auto reply = BodyOf(Command::kDeviceFeature, FeatureBody(16, kGet | 9));
    return MigDataSize::Parse(std::span(reply).subspan(8))->stop_copy_length;
  };
  EXPECT_EQ(ErrorOf(Command::kDeviceFeature, FeatureBody(16, kGet | 9)), kInvalid);
  ASSERT_EQ(Go(MigState::kStopCopy), 0u);
  const uint64_t all = left();
  ReadData(16);
  EXPECT_EQ(left(), all - 16);
  EXPECT_THAT(ReadData(8192), SizeIs(all - 16));
}

TEST_F(ServerMigrationTest, AnswersAChangeOfStateWithTheRequest) {
  EXPECT_EQ(BodyOf(Command::kDeviceFeature, StateBody(MigState::kStop)),
            StateBody(MigState::kStop));
  EXPECT_EQ(State(), MigState::kStop);
}

TEST_F(ServerMigrationTest, RefusesArgszThatDoesNotHoldTheReply) {
  for (const uint32_t flags : {kGet | 1, kGet | 2}) {
    EXPECT_EQ(ErrorOf(Command::kDeviceFeature, FeatureBody(15, flags)), kInvalid);
  }
  std::vector<uint8_t> stop = StateBody(MigState::kStop);
  stop[0] = 15;
  EXPECT_EQ(ErrorOf(Command::kDeviceFeature, stop), kInvalid);

  EXPECT_EQ(State(), MigState::kRunning);
}

TEST_F(ServerMigrationTest, RefusesStatesThatCannotBeAskedFor) {
  for (const uint32_t state : {0u, 5u, 7u, 8u, UINT32_MAX}) {
    EXPECT_EQ(Go(MigState{state}), kInvalid) << state;
  }
  EXPECT_EQ(ErrorOf(Command::kDeviceFeature, FeatureBody(16, kSet | 2, {{1, 0, 0, 0}})), kInvalid);
  ASSERT_EQ(Go(MigState::kStopCopy), 0u);

  EXPECT_EQ(Go(MigState::kPreCopy), kInvalid);

  EXPECT_EQ(State(), MigState::kStopCopy);
}

TEST_F(ServerMigrationTest, MovesDeviceAndConfigSpaceToTheNextClientsDevice) {
  Write(RegionIndex::kBar0, 0, {1, 2, 3, 4});
  Write(RegionIndex::kConfig, 0x3c, {0x5a});
  ASSERT_EQ(Go(MigState::kPreCopy), 0u);
  EXPECT_THAT(ReadData(4096), IsEmpty());
  ASSERT_EQ(Go(MigState::kStopCopy), 0u);
  std::vector<uint8_t> state;
  for (std::vector<uint8_t> piece = ReadData(16); !piece.empty(); piece = ReadData(16)) {
    state.insert(state.end(), piece.begin(), piece.end());
  }
  Reconnect();
  ASSERT_EQ(ErrorOf(Command::kDeviceReset), 0u);
  ASSERT_EQ(Read(RegionIndex::kBar0, 0, 4), std::vector<uint8_t>(4));

  ASSERT_EQ(Go(MigState::kResuming), 0u);
  for (std::span<const uint8_t> left = state; !left.empty();) {
    const auto piece = left.first(std::min<size_t>(left.size(), 7));
    ASSERT_EQ(WriteData(piece), 0u);
    left = left.subspan(piece.size());
  }
  ASSERT_EQ(Go(MigState::kRunning), 0u);

  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 5), ElementsAre(1, 2, 3, 4, 0));
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x3c, 1), ElementsAre(0x5a));
  EXPECT_THAT(Read(RegionIndex::kConfig, 4, 1), ElementsAre(6));
}

TEST_F(ServerMigrationTest, IsInErrorAfterBadDataAndLeavesItByAReset) {
  Write(RegionIndex::kBar0, 0, {1, 2, 3, 4});
  ASSERT_EQ(Go(MigState::kResuming), 0u);
  ASSERT_EQ(WriteData(std::vector<uint8_t>{1, 2, 3}), 0u);

  EXPECT_EQ(Go(MigState::kRunning), kInvalid);

  WaitForLog("refused MIG_DEVICE_STATE: device state: body is 3 bytes");
  EXPECT_EQ(State(), MigState::kError);
  EXPECT_EQ(Go(MigState::kStop), kInvalid);
  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 4), ElementsAre(1, 2, 3, 4));
  ASSERT_EQ(ErrorOf(Command::kDeviceReset), 0u);
  EXPECT_EQ(State(), MigState::kRunning);
  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 4), ElementsAre(0, 0, 0, 0));
}

TEST_F(ServerMigrationTest, IsRunningAfterAResetInEachState) {
  for (const MigState state :
       {MigState::kStop, MigState::kStopCopy, MigState::kResuming, MigState::kPreCopy}) {
    ASSERT_EQ(Go(state), 0u);

    ASSERT_EQ(ErrorOf(Command::kDeviceReset), 0u);

    EXPECT_EQ(State(), MigState::kRunning);
  }
}

TEST_F(ServerMigrationTest, IsRunningForTheNextClient) {
  for (const MigState state :
       {MigState::kStop, MigState::kStopCopy, MigState::kResuming, MigState::kPreCopy}) {
    ASSERT_EQ(Go(state), 0u);
    if (state == MigState::kResuming) {
      EXPECT_EQ(WriteData(std::vector<uint8_t>{1}), 0u);
    }

    Reconnect();

    EXPECT_EQ(State(), MigState::kRunning);
  }
  ASSERT_EQ(Go(MigState::kResuming), 0u);
  EXPECT_EQ(Go(MigState::kRunning), 0u);
}

TEST_F(ServerMigrationTest, BoundsWhatIsReadAndWrittenAtOnceByWhatWasNegotiated) {
  ASSERT_EQ(Go(MigState::kStopCopy), 0u);
  for (const uint32_t size : {(1u << 20) + 1, 0x7fff'fff0u}) {
    EXPECT_EQ(ErrorOf(Command::kMigDataRead,
                      Serialize(MigDataReadRequest{.argsz = 8 + size, .size = size})),
              kInvalid);
  }
  EXPECT_EQ(ErrorOf(Command::kMigDataRead, Serialize(MigDataReadRequest{.argsz = 8, .size = 1})),
            kInvalid);
  ASSERT_EQ(Go(MigState::kResuming), 0u);
  EXPECT_EQ(WriteData(std::vector<uint8_t>((1 << 20) + 1)), kInvalid);
  EXPECT_EQ(WriteData(std::vector<uint8_t>(1 << 20)), 0u);
}

TEST_F(ServerMigrationTest, RefusesDataInOtherStates) {
  for (const MigState state : {MigState::kRunning, MigState::kStop, MigState::kResuming}) {
    ASSERT_EQ(Go(state), 0u);
    EXPECT_EQ(ErrorOf(Command::kMigDataRead, Serialize(MigDataReadRequest{.argsz = 16, .size = 8})),
              kInvalid);
  }
  for (const MigState state : {MigState::kRunning, MigState::kPreCopy, MigState::kStopCopy}) {
    ASSERT_EQ(Go(state), 0u);
    EXPECT_EQ(WriteData(std::vector<uint8_t>{1}), kInvalid);
  }
}

TEST_F(ServerMigrationTest, GoesOnServingWhileItIsStopped) {
  ASSERT_EQ(Go(MigState::kStop), 0u);
  Write(RegionIndex::kBar0, 0, {9});
  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 1), ElementsAre(9));
  EXPECT_EQ(ErrorOf(Command::kDmaMap, Serialize(DmaMapRequest{.flags = DmaMapFlag::kWrite,
                                                              .file_offset = 0,
                                                              .address = Iova{0x1000},
                                                              .size = 0x1000})),
            0u);
  ASSERT_EQ(Go(MigState::kStopCopy), 0u);
  EXPECT_THAT(Read(RegionIndex::kBar0, 0, 1), ElementsAre(9));
}

TEST_F(ServerMigrationTest, StopsWhenTheDmaThatWasBegunIsThroughAndStartsWhatCameMeanwhile) {
  ASSERT_EQ(ErrorOf(Command::kDmaMap, Serialize(DmaMapRequest{.flags = DmaMapFlag::kWrite,
                                                              .file_offset = 0,
                                                              .address = Iova{0x1000},
                                                              .size = 0x1000})),
            0u);
  Write(RegionIndex::kBar0, 0x20, {0, 0x10, 0, 0, 0, 0, 0, 0});
  const auto first = dma_->Receive();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(client_->Send(Command::kDeviceFeature, StateBody(MigState::kStop)), IsOk());
  // Asked later, answered earlier: the device is not at rest yet.
  EXPECT_EQ(State(), MigState::kRunning);
  EXPECT_EQ(Go(MigState::kRunning), static_cast<uint32_t>(EBUSY));

  ASSERT_THAT(dma_->Reply(first->header, std::span(first->body).first(16)), IsOk());
  const auto stopped = client_->peer().Receive();
  ASSERT_THAT(stopped, IsOk());
  EXPECT_EQ(stopped->header.command, Command::kDeviceFeature);
  EXPECT_EQ(stopped->header.error, 0u);
  EXPECT_EQ(written_.Take(), absl::StatusCode::kOk);

  Write(RegionIndex::kBar0, 0x20, {8, 0x10, 0, 0, 0, 0, 0, 0});
  ASSERT_EQ(Go(MigState::kRunning), 0u);
  const auto second = dma_->Receive();
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(second->body[0], 8);
  ASSERT_THAT(dma_->Reply(second->header, std::span(second->body).first(16)), IsOk());
  EXPECT_EQ(written_.Take(), absl::StatusCode::kOk);
}

TEST_F(ServerMigrationTest, AResetOvertakesAChangeThatWaitsForTheDevice) {
  ASSERT_EQ(ErrorOf(Command::kDmaMap, Serialize(DmaMapRequest{.flags = DmaMapFlag::kWrite,
                                                              .file_offset = 0,
                                                              .address = Iova{0x1000},
                                                              .size = 0x1000})),
            0u);
  Write(RegionIndex::kBar0, 0x20, {0, 0x10, 0, 0, 0, 0, 0, 0});
  ASSERT_THAT(dma_->Receive(), IsOk());
  ASSERT_THAT(client_->Send(Command::kDeviceFeature, StateBody(MigState::kStop)), IsOk());
  ASSERT_THAT(client_->Send(Command::kDeviceReset), IsOk());

  for (const Command command : {Command::kDeviceFeature, Command::kDeviceReset}) {
    const auto reply = client_->peer().Receive();
    ASSERT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.command, command);
    EXPECT_EQ(reply->header.error, 0u);
  }
  EXPECT_EQ(written_.Take(), absl::StatusCode::kCancelled);
  EXPECT_EQ(State(), MigState::kRunning);
}

TEST_F(ServerMigrationTest, IsRefusedForADeviceThatCannotMove) {
  ServeAt(directory_.File("fixed"), std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(directory_.File("fixed"));
  ASSERT_THAT(client, IsOk());

  for (const uint32_t flags : {kGet | 1, kProbe | 1, kProbe | kGet | 1, kGet | 2, kProbe | 2}) {
    EXPECT_THAT(client->ErrorOf(Command::kDeviceFeature, FeatureBody(64, flags)),
                IsOkAndHolds(kInvalid));
  }
  EXPECT_THAT(client->ErrorOf(Command::kDeviceFeature, StateBody(MigState::kStop)),
              IsOkAndHolds(kInvalid));
  EXPECT_THAT(
      client->ErrorOf(Command::kMigDataRead, Serialize(MigDataReadRequest{.argsz = 16, .size = 8})),
      IsOkAndHolds(kInvalid));
  EXPECT_THAT(client->ErrorOf(Command::kMigDataWrite, Serialize(MigDataWriteRequest{})),
              IsOkAndHolds(kInvalid));
}

}  // namespace
}  // namespace vfio_user
