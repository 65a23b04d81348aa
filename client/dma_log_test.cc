#include "client/dma_log.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dirty_pages.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kManyBytes = uint64_t{64} << 30;

IovaRange Range(uint64_t first, uint64_t length) { return {Iova{first}, length}; }

std::vector<IovaRange> WrittenOf(const DirtyPages& pages) {
  std::vector<IovaRange> written;
  for (const IovaRange& range : pages) written.push_back(range);
  return written;
}

// The server of a device that logs. What it is asked for is answered until the connection ends.
class LoggingServer {
 public:
  // What a report is refused with; 0 to give it.
  using Refuse = std::function<uint32_t(const DmaLoggingReport&)>;

  explicit LoggingServer(ScriptedPeer& peer) : peer_(peer) {}

  Refuse refuse = [](const DmaLoggingReport&) { return 0u; };
  std::vector<IovaRange> dirty = {};          // Forgotten once told.
  std::vector<IovaRange> reported = {};       // The ranges that were asked for.
  std::vector<uint64_t> reported_pages = {};  // And in which pages.
  std::vector<ScriptedPeer::Message> others = {};

  void Serve() {
    while (true) {
      absl::StatusOr<ScriptedPeer::Message> request = peer_.Receive();
      if (!request.ok() || !Answer(*request).ok()) return;
    }
  }

 private:
  absl::Status Answer(ScriptedPeer::Message& request) {
    const absl::StatusOr<DeviceFeature> feature = DeviceFeature::Parse(request.body);
    if (request.header.command != Command::kDeviceFeature || !feature.ok()) {
      return peer_.Reply(request.header);
    }
    if (feature->feature != Feature::kDmaLoggingReport) {
      others.push_back(std::move(request));
      return peer_.Reply(others.back().header, others.back().body);
    }
    absl::StatusOr<DmaLoggingReport> report = DmaLoggingReport::Parse(feature->data);
    if (!report.ok()) return report.status();
    const uint32_t error = refuse(*report);
    if (error != 0) return peer_.ReplyError(request.header, error);
    return Report(request.header, *feature, *report);
  }

  absl::Status Report(const MessageHeader& header, DeviceFeature feature, DmaLoggingReport report) {
    const IovaRange range = {report.address, report.length};
    reported.push_back(range);
    reported_pages.push_back(report.page_size);
    DirtyPages pages = *DirtyPages::Create(range, report.page_size);
    std::vector<IovaRange> left;
    for (const IovaRange& written : dirty) {
      const bool inside = written.first >= range.first && *LastByte(written) <= *LastByte(range);
      if (inside) pages.Mark(written);
      if (!inside) left.push_back(written);
    }
    dirty = left;
    report.bitmap.resize(pages.words().size_bytes());
    std::memcpy(report.bitmap.data(), pages.words().data(), report.bitmap.size());
    feature.data = Serialize(report);
    return peer_.Reply(header, Serialize(feature));
  }

  ScriptedPeer& peer_;
};

class DmaLogTest : public testing::Test {
 protected:
  void SetUp() override { Connect(kTwinGranted); }
  void TearDown() override { Disconnect(); }

  void Connect(const std::string& version_json) {
    absl::StatusOr<GreetedSocket> greeted = Greet(version_json);
    ASSERT_THAT(greeted, IsOk());
    peer_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(peer_->Receive(), IsOk());  // VERSION.
    server_.emplace(*peer_);
    serving_ = std::async(std::launch::async, [this] { server_->Serve(); });
  }
  void Disconnect() {
    peer_->Shutdown();
    if (serving_.valid()) serving_.get();
  }

  absl::StatusOr<DmaMapping> MapAt(uint64_t iova, DmaPath path = DmaPath::kFileIo) {
    return client_->Map(buffer_, {.path = path, .iova = Iova{iova}});
  }

  std::array<std::byte, 4 * kPage> buffer_ = {};
  std::optional<ScriptedPeer> peer_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
  std::optional<LoggingServer> server_;
  std::future<void> serving_;
};

TEST_F(DmaLogTest, StartsWithItsRangesAndStops) {
  {
    const absl::StatusOr<DmaLog> log = client_->StartDmaLogging(
        {.page_size = 0x2000, .ranges = {Range(0x10000, 0x1000), Range(0x40000, 0x3000)}});
    ASSERT_THAT(log, IsOk());
    EXPECT_EQ(log->page_size(), 0x2000u);
  }
  client_.reset();
  Disconnect();

  ASSERT_EQ(server_->others.size(), 2u);
  EXPECT_THAT(server_->others[0].body, ElementsAreArray(Hex("38000000 06000200"
                                                            "0020000000000000 02000000 00000000"
                                                            "0000010000000000 0010000000000000"
                                                            "0000040000000000 0030000000000000")));
  EXPECT_THAT(server_->others[1].body, ElementsAreArray(Hex("08000000 07000200")));
}

TEST_F(DmaLogTest, StartsForAllThereIsWithoutRanges) {
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());
  Disconnect();

  EXPECT_THAT(server_->others[0].body, ElementsAreArray(Hex("28000000 06000200"
                                                            "0010000000000000 01000000 00000000"
                                                            "0000000000000000 00f0ffffffffffff")));
}

TEST_F(DmaLogTest, RejectsPagesRangesAndASecondLogUnsent) {
  EXPECT_THAT(client_->StartDmaLogging({.page_size = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(client_->StartDmaLogging({.page_size = 0x1001}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(client_->StartDmaLogging({.ranges = {Range(UINT64_MAX, 2)}}),
              StatusIs(absl::StatusCode::kInvalidArgument));

  absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());
  EXPECT_THAT(client_->StartDmaLogging(), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(log->Stop(), IsOk());
  EXPECT_THAT(log->Stop(), IsOk());
  EXPECT_THAT(log->Report(Range(0, 1), kPage), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(client_->StartDmaLogging(), IsOk());
}

TEST_F(DmaLogTest, ReportsAnyRangeOnce) {
  server_->dirty = {Range(0x12000, 1), Range(0x15000, 0x2000)};
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());

  absl::StatusOr<DirtyPages> pages = log->Report(Range(0x10000, 0x10000), kPage);
  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(Range(0x12000, 0x1000), Range(0x15000, 0x2000)));

  pages = log->Report(Range(0x10000, 0x10000), kPage);
  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), IsEmpty());
}

TEST_F(DmaLogTest, AsksInTheDevicesPagesAndConvertsItself) {
  server_->dirty = {Range(0x12000, 1)};
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());

  const absl::StatusOr<DirtyPages> large = log->Report(Range(0x10000, 0x10000), 0x4000);
  ASSERT_THAT(large, IsOk());
  EXPECT_THAT(WrittenOf(*large), ElementsAre(Range(0x10000, 0x4000)));
  server_->dirty = {Range(0x12000, 1)};
  const absl::StatusOr<DirtyPages> small = log->Report(Range(0x12800, 0x1000), 64);
  ASSERT_THAT(small, IsOk());
  Disconnect();

  EXPECT_THAT(server_->reported_pages, ElementsAre(kPage, kPage));
}

TEST_F(DmaLogTest, AsksForNoMoreThanFitsAMessage) {
  Disconnect();
  Connect(R"({"capabilities":{"max_data_xfer_size":64}})");
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());
  // 32 bytes are left for bits.
  constexpr uint64_t kChunk = 32 * 8 * kPage;
  server_->dirty = {Range(kPage, 1), Range(kChunk, 1), Range(2 * kChunk - 1, 1)};

  const absl::StatusOr<DirtyPages> pages = log->Report(Range(0, 2 * kChunk + 5), kPage);
  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(Range(kPage, kPage), Range(kChunk, kPage),
                                             Range(2 * kChunk - kPage, kPage)));
  Disconnect();

  EXPECT_THAT(server_->reported,
              ElementsAre(Range(0, kChunk), Range(kChunk, kChunk), Range(2 * kChunk, 5)));
}

TEST_F(DmaLogTest, ReportsMoreThanAMessageHoldsInAFewMessages) {
  server_->dirty = {Range(5 * kPage, 1), Range(kManyBytes - 1, 1)};
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());

  const absl::StatusOr<DirtyPages> pages = log->Report(Range(0, kManyBytes), kPage);

  ASSERT_THAT(pages, IsOk());
  EXPECT_EQ(pages->dirty_count(), 2u);
  Disconnect();
  EXPECT_EQ(server_->reported.size(), 3u);
}

// libvfio-user's way: a report is of one mapping, from its beginning.
class DmaLogByMappingTest : public DmaLogTest {
 protected:
  void SetUp() override {
    DmaLogTest::SetUp();
    server_->refuse = [](const DmaLoggingReport& report) -> uint32_t {
      const uint64_t first = ToU64(report.address);
      if (first != 0x10000 && first != 0x20000) return first == 0x11000 ? ENOTSUP : ENOENT;
      return report.length <= 4 * kPage ? 0 : EINVAL;
    };
  }
};

TEST_F(DmaLogByMappingTest, ReportsAcrossMappings) {
  const absl::StatusOr<DmaMapping> one = MapAt(0x10000);
  const absl::StatusOr<DmaMapping> other = MapAt(0x20000);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());
  server_->dirty = {Range(0x10000, 1), Range(0x23000, 1)};
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());

  const absl::StatusOr<DirtyPages> pages = log->Report(Range(0, 0x100000), kPage);

  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(Range(0x10000, kPage), Range(0x23000, kPage)));
}

TEST_F(DmaLogByMappingTest, KeepsWhatTheServerToldBesideTheRange) {
  const absl::StatusOr<DmaMapping> mapping = MapAt(0x10000);
  ASSERT_THAT(mapping, IsOk());
  server_->dirty = {Range(0x10000, 1), Range(0x12000, 1)};
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());

  const absl::StatusOr<DirtyPages> middle = log->Report(Range(0x11000, 2 * kPage), kPage);
  ASSERT_THAT(middle, IsOk());
  const absl::StatusOr<DirtyPages> all = log->Report(Range(0x10000, 4 * kPage), kPage);
  ASSERT_THAT(all, IsOk());

  EXPECT_THAT(WrittenOf(*middle), ElementsAre(Range(0x12000, kPage)));
  EXPECT_THAT(WrittenOf(*all), ElementsAre(Range(0x10000, kPage)));
}

TEST_F(DmaLogByMappingTest, SaysWhenAMappingIsTooLargeForAMessage) {
  Disconnect();
  Connect(R"({"capabilities":{"max_data_xfer_size":40}})");
  server_->refuse = [](const DmaLoggingReport& report) -> uint32_t {
    return report.address == Iova{0x10000} ? 0 : ENOENT;
  };
  absl::StatusOr<DmaMapping> mapping = MapAt(0x10000);
  ASSERT_THAT(mapping, IsOk());
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging({.page_size = 64});
  ASSERT_THAT(log, IsOk());

  EXPECT_THAT(log->Report(Range(0x8000, 0x10000), kPage),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("log in larger pages")));
}

TEST_F(DmaLogByMappingTest, AddsWhatMessagesWroteAndAsksNothingOfTheirMappings) {
  const absl::StatusOr<DmaMapping> mapping = MapAt(0x30000, DmaPath::kMessage);
  ASSERT_THAT(mapping, IsOk());
  const absl::StatusOr<DmaLog> log = client_->StartDmaLogging();
  ASSERT_THAT(log, IsOk());
  ASSERT_THAT(
      twin_->Send({.command = Command::kDmaWrite}, Hex("ff0f030000000000 0200000000000000 ffff")),
      IsOk());
  ASSERT_THAT(twin_->Receive(), IsOk());
  ASSERT_THAT(
      twin_->Send({.command = Command::kDmaWrite}, Hex("ff1f030000000000 0200000000000000 ffff")),
      IsOk());
  ASSERT_THAT(twin_->Receive(), IsOk());

  const absl::StatusOr<DirtyPages> pages = log->Report(Range(0x30000, 4 * kPage), kPage);

  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(WrittenOf(*pages), ElementsAre(Range(0x30000, 3 * kPage)));
  Disconnect();
  EXPECT_THAT(server_->reported, IsEmpty());
}

}  // namespace
}  // namespace vfio_user
