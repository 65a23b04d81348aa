// The log of what a device writes, as a client has it told: DEVICE_FEATURE and DMA_UNMAP.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr uint64_t kFile = 0x100000;     // 64 pages that have a descriptor.
constexpr uint64_t kMessage = 0x140000;  // 64 pages next to them that have none.
constexpr uint64_t kBytes = 0x40000;
constexpr uint64_t kPage = 0x1000;

constexpr uint32_t kGet = 1 << 16;
constexpr uint32_t kSet = 1 << 17;
constexpr uint32_t kProbe = 1 << 18;
constexpr uint32_t kStart = 6;
constexpr uint32_t kStop = 7;
constexpr uint32_t kReport = 8;

std::vector<uint8_t> FeatureBody(uint32_t argsz, uint32_t flags,
                                 std::span<const uint8_t> data = {}) {
  std::vector<uint8_t> body;
  WireWriter out(body);
  out.Write<uint32_t>(argsz);
  out.Write<uint32_t>(flags);
  out.WriteBytes(data);
  return body;
}

std::vector<uint8_t> StartBody(const DmaLoggingStart& start = {.page_size = kPage}) {
  const std::vector<uint8_t> data = Serialize(start);
  return FeatureBody(static_cast<uint32_t>(8 + data.size()), kSet | kStart, data);
}

std::vector<uint8_t> ReportBody(uint64_t address, uint64_t bytes, uint64_t page_size,
                                uint32_t argsz = 2 << 20) {
  return FeatureBody(argsz, kGet | kReport,
                     Serialize(DmaLoggingReport{
                         .address = Iova{address}, .length = bytes, .page_size = page_size}));
}

std::vector<uint8_t> UnmapBody(uint64_t address, uint64_t bytes, uint64_t page_size,
                               uint64_t bitmap_bytes) {
  return Serialize(DmaUnmapRequest{
      .argsz = static_cast<uint32_t>(40 + bitmap_bytes),
      .flags = DmaUnmapFlag::kGetDirtyBitmap,
      .address = Iova{address},
      .size = bytes,
      .bitmap = DirtyBitmapHeader{.page_size = page_size, .size_bytes = bitmap_bytes}});
}

// A device that writes 8 bytes of DMA, on its worker, to the address that is written to BAR0.
class ServerLoggingTest : public ServerFixture {
 protected:
  ServerLoggingTest() {
    Serve(std::make_unique<ProbeDevice>([this](DeviceHost& host, uint64_t, uint64_t address) {
      host.Post([this, &host, address] {
        const std::vector<std::byte> bytes(8, std::byte{7});
        written_.Put(host.dma().Write(Iova{address}, bytes).code());
      });
      return absl::OkStatus();
    }));
    Connect();
  }

  // With bus mastering on and both ranges mapped.
  void Connect() {
    auto client = RawClient::Connect(path(), kTwinJson);
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
    ASSERT_THAT(client_->version_fds(), SizeIs(1));
    dma_ = std::make_unique<ScriptedPeer>(std::move(client_->version_fds()[0]));
    ASSERT_THAT(client_->ErrorOf(Command::kRegionWrite,
                                 RawClient::WriteBody(RegionIndex::kConfig, 4, {{6, 0}})),
                IsOkAndHolds(0u));
    const UniqueFd file = Memfd(std::string(kBytes, ' '));
    const FdView fd = file;
    Map({.flags = kReadWrite, .file_offset = 0, .address = Iova{kFile}, .size = kBytes}, {&fd, 1});
    Map({.flags = kReadWrite, .file_offset = 0, .address = Iova{kMessage}, .size = kBytes}, {});
  }
  void Map(const DmaMapRequest& request, std::span<const FdView> fds) {
    ASSERT_THAT(client_->ErrorOf(Command::kDmaMap, Serialize(request), fds), IsOkAndHolds(0u));
  }

  void BeginWrite(uint64_t address) {
    ASSERT_THAT(client_->ErrorOf(
                    Command::kRegionWrite,
                    RawClient::WriteBody(RegionIndex::kBar0, 0,
                                         std::span(reinterpret_cast<const uint8_t*>(&address), 8))),
                IsOkAndHolds(0u));
  }
  void AnswerWrite(const ScriptedPeer::Message& request) {
    const auto access = DmaAccess::Parse(std::span(request.body).first(16), "DMA_WRITE");
    ASSERT_THAT(access, IsOk());
    ASSERT_THAT(dma_->Reply(request.header, Serialize(*access)), IsOk());
  }
  void Write(uint64_t address) {
    BeginWrite(address);
    if (address >= kMessage && address < kMessage + kBytes) {
      const auto request = dma_->Receive();
      ASSERT_THAT(request, IsOk());
      AnswerWrite(*request);
    }
    ASSERT_EQ(written_.Take(), absl::StatusCode::kOk);
  }

  std::vector<uint8_t> BodyOf(Command command, const std::vector<uint8_t>& body) {
    auto reply = client_->Call(command, body);
    EXPECT_THAT(reply, IsOk());
    EXPECT_EQ(reply->header.error, 0u);
    return std::move(reply->body);
  }
  std::vector<uint8_t> BitmapOf(uint64_t address, uint64_t bytes, uint64_t page_size) {
    const std::vector<uint8_t> body =
        BodyOf(Command::kDeviceFeature, ReportBody(address, bytes, page_size));
    EXPECT_GE(body.size(), 32u);
    return {body.begin() + 32, body.end()};
  }
  uint32_t ErrorOf(const std::vector<uint8_t>& feature) {
    const auto error = client_->ErrorOf(Command::kDeviceFeature, feature);
    EXPECT_THAT(error, IsOk());
    return *error;
  }

  Mailbox<absl::StatusCode> written_;
  std::unique_ptr<RawClient> client_;
  std::unique_ptr<ScriptedPeer> dma_;
};

TEST_F(ServerLoggingTest, AnswersStartAndStopWithTheRequest) {
  const std::vector<uint8_t> start =
      StartBody({.page_size = kPage, .ranges = {{Iova{kFile}, kBytes}}});
  EXPECT_EQ(BodyOf(Command::kDeviceFeature, start), start);

  const std::vector<uint8_t> stop = FeatureBody(8, kSet | kStop);
  EXPECT_EQ(BodyOf(Command::kDeviceFeature, stop), stop);
}

TEST_F(ServerLoggingTest, ReportsWritesOfEveryPathAcrossMappings) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile + 3 * kPage);
  Write(kMessage - 8);
  Write(kMessage + kPage);

  EXPECT_THAT(BitmapOf(kFile, 2 * kBytes, kPage),
              ElementsAre(8, 0, 0, 0, 0, 0, 0, 0x80, 2, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(BitmapOf(kFile, 2 * kBytes, kPage), Each(0));
}

TEST_F(ServerLoggingTest, PutsTheRangeBeforeTheBitmapAndItsLengthIntoArgsz) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile + 0x2000);

  EXPECT_THAT(BodyOf(Command::kDeviceFeature, ReportBody(kFile, 0x8000, kPage)),
              ElementsAre(40, 0, 0, 0, 8, 0, 1, 0,    //
                          0, 0, 0x10, 0, 0, 0, 0, 0,  //
                          0, 0x80, 0, 0, 0, 0, 0, 0,  //
                          0, 0x10, 0, 0, 0, 0, 0, 0,  //
                          4, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerLoggingTest, ReportsInOtherPagesThanItLogs) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile + 0x5008);

  EXPECT_THAT(BitmapOf(kFile + 0x4000, 0x2000, 0x400), ElementsAre(0xf0, 0, 0, 0, 0, 0, 0, 0));
  Write(kFile + 0x5008);
  EXPECT_THAT(BitmapOf(kFile, 0x20000, 0x4000), ElementsAre(2, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerLoggingTest, LogsOnlyTheRangesThatItWasStartedWith) {
  ASSERT_EQ(ErrorOf(StartBody({.page_size = kPage, .ranges = {{Iova{kFile + kPage}, kPage}}})), 0u);
  for (uint64_t page = 0; page < 3; ++page) Write(kFile + page * kPage);

  EXPECT_THAT(BitmapOf(kFile, 0x8000, kPage), ElementsAre(2, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerLoggingTest, HasNothingOfTheTimeBeforeItWasStarted) {
  Write(kFile);
  ASSERT_EQ(ErrorOf(StartBody()), 0u);

  EXPECT_THAT(BitmapOf(kFile, 0x8000, kPage), Each(0));
}

TEST_F(ServerLoggingTest, RefusesASecondStartAndAReportWithout) {
  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, kPage)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(FeatureBody(8, kSet | kStop)), 0u);
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  EXPECT_EQ(ErrorOf(StartBody()), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(StartBody({.page_size = 2 * kPage})), static_cast<uint32_t>(EINVAL));

  ASSERT_EQ(ErrorOf(FeatureBody(8, kSet | kStop)), 0u);

  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, kPage)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(StartBody()), 0u);
}

TEST_F(ServerLoggingTest, RefusesAReportThatDoesNotFitAndKeepsWhatItWouldHaveTold) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile);

  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, kPage, 39)), static_cast<uint32_t>(EINVAL));

  EXPECT_EQ(BitmapOf(kFile, kBytes, kPage)[0], 1);
}

TEST_F(ServerLoggingTest, RefusesABitmapLongerThanAMessageHoweverLongTheRange) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);

  EXPECT_EQ(ErrorOf(ReportBody(0, (uint64_t{8} << 32) + 1, kPage / 4096, UINT32_MAX)),
            static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(ReportBody(0, UINT64_MAX, 1, UINT32_MAX)), static_cast<uint32_t>(EINVAL));
  EXPECT_THAT(BitmapOf(0, uint64_t{8} << 20, 1), SizeIs(1 << 20));
}

TEST_F(ServerLoggingTest, RefusesWhatIsNoPageSizeOrNoRange) {
  for (const uint64_t page_size : {0u, 3u}) {
    EXPECT_EQ(ErrorOf(StartBody({.page_size = page_size})), static_cast<uint32_t>(EINVAL));
  }
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, 0)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, 3)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(ReportBody(kFile, 0, kPage)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(ReportBody(UINT64_MAX, 2, kPage)), static_cast<uint32_t>(EINVAL));
}

TEST_F(ServerLoggingTest, ProbesWhatEachFeatureCanDo) {
  for (const uint32_t flags : {kProbe | kStart, kProbe | kSet | kStart, kProbe | kSet | kStop,
                               kProbe | kGet | kReport, kProbe | kReport}) {
    EXPECT_EQ(BodyOf(Command::kDeviceFeature, FeatureBody(8, flags)), FeatureBody(8, flags));
  }
  for (const uint32_t flags : {kProbe | kGet | kStart, kProbe | kSet | kReport,
                               kProbe | kGet | kSet | kStart, kProbe | 3, kProbe | 0xffff}) {
    EXPECT_EQ(ErrorOf(FeatureBody(8, flags)), static_cast<uint32_t>(EINVAL)) << flags;
  }
}

TEST_F(ServerLoggingTest, RefusesOperationsThatAFeatureLacks) {
  for (const uint32_t flags : {kGet | kStart, kGet | kStop, kSet | kReport, kGet | 9u}) {
    EXPECT_EQ(ErrorOf(FeatureBody(1 << 20, flags)), static_cast<uint32_t>(EINVAL)) << flags;
  }
}

TEST_F(ServerLoggingTest, RefusesAnEchoThatDoesNotFit) {
  std::vector<uint8_t> start = StartBody();
  start[0] = static_cast<uint8_t>(start.size() - 1);

  EXPECT_EQ(ErrorOf(start), static_cast<uint32_t>(EINVAL));

  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, kPage)), static_cast<uint32_t>(EINVAL));
}

TEST_F(ServerLoggingTest, AnswersAnUnmapWithTheBitmap) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile + 9 * kPage);

  const std::vector<uint8_t> request = UnmapBody(kFile, kBytes, kPage, 16);
  const std::vector<uint8_t> body = BodyOf(Command::kDmaUnmap, request);

  ASSERT_THAT(body, SizeIs(56));
  EXPECT_EQ(std::vector(body.begin(), body.begin() + 40), request);
  EXPECT_THAT(std::span(body).subspan(40),
              ElementsAre(0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(BitmapOf(kFile, kBytes, kPage), Each(0));
}

TEST_F(ServerLoggingTest, RefusesABitmapThatCannotBeHadAndUnmapsNothing) {
  EXPECT_THAT(client_->ErrorOf(Command::kDmaUnmap, UnmapBody(kFile, kBytes, kPage, 8)),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  EXPECT_THAT(client_->ErrorOf(Command::kDmaUnmap, UnmapBody(kFile, kBytes, kPage, 7)),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  EXPECT_THAT(client_->ErrorOf(Command::kDmaUnmap, UnmapBody(kFile, kBytes, 3, 8)),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  EXPECT_THAT(client_->ErrorOf(Command::kDmaUnmap, UnmapBody(kFile, kBytes, kPage, (1 << 20) + 8)),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));

  Write(kFile);
}

TEST_F(ServerLoggingTest, TakesTheBitmapWhenTheLastWriteIsThrough) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  BeginWrite(kMessage);
  const auto write = dma_->Receive();
  ASSERT_THAT(write, IsOk());
  ASSERT_THAT(client_->Send(Command::kDmaUnmap, UnmapBody(kMessage, kBytes, kPage, 8)), IsOk());
  // A report meanwhile has the page; but its bytes come later, so that the unmap has it, too.
  EXPECT_EQ(BitmapOf(kMessage, kBytes, kPage)[0], 1);

  AnswerWrite(*write);

  const auto unmapped = client_->peer().Receive();
  ASSERT_THAT(unmapped, IsOk());
  EXPECT_EQ(unmapped->header.command, Command::kDmaUnmap);
  EXPECT_THAT(std::span(unmapped->body).subspan(40), ElementsAre(1, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerLoggingTest, SaysThatAllWasWrittenWhereLoggingEndedBeforeTheUnmap) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  BeginWrite(kMessage);
  const auto write = dma_->Receive();
  ASSERT_THAT(write, IsOk());
  ASSERT_THAT(client_->Send(Command::kDmaUnmap, UnmapBody(kMessage, kBytes, 0x10000, 8)), IsOk());
  ASSERT_EQ(ErrorOf(FeatureBody(8, kSet | kStop)), 0u);

  AnswerWrite(*write);

  const auto unmapped = client_->peer().Receive();
  ASSERT_THAT(unmapped, IsOk());
  EXPECT_THAT(std::span(unmapped->body).subspan(40), ElementsAre(0x0f, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(ServerLoggingTest, DoesNotLogWhatIsNotMapped) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);

  BeginWrite(0x10);

  EXPECT_EQ(written_.Take(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(BitmapOf(0, 0x8000, kPage), Each(0));
}

TEST_F(ServerLoggingTest, KeepsTheLogAcrossAReset) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  Write(kFile);

  ASSERT_THAT(client_->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));

  EXPECT_EQ(BitmapOf(kFile, kBytes, kPage)[0], 1);
}

TEST_F(ServerLoggingTest, EndsWithItsClient) {
  ASSERT_EQ(ErrorOf(StartBody()), 0u);
  client_.reset();
  dma_.reset();
  Connect();

  EXPECT_EQ(ErrorOf(ReportBody(kFile, kBytes, kPage)), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrorOf(StartBody()), 0u);
}

}  // namespace
}  // namespace vfio_user
