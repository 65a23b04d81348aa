// What a client gets of regions beyond single accesses: their descriptions, memory to map, and many
// writes in one message.
#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/wire_writer.h"
#include "server/device.h"
#include "server/mappable_bar.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kPage = 4096;
constexpr std::string_view kManyJson =
    R"({"capabilities":{"max_msg_fds":8,"write_multiple":true,"max_data_xfer_size":1048576,)"
    R"("max_dma_maps":65535,"pgsizes":4096}})";

// BAR0 may be mapped whole, of BAR1 the second and the fourth page.
class MemoryDevice final : public Device {
 public:
  MemoryDevice() : whole_(*MappableBar::Create(kPage)), sparse_(*MappableBar::Create(4 * kPage)) {
    description_.name = "memory";
    description_.bars = {{.index = RegionIndex::kBar0, .size = kPage, .memory = whole_.Describe()},
                         {.index = RegionIndex::kBar1,
                          .size = 4 * kPage,
                          .memory = sparse_.Describe({{.offset = kPage, .size = kPage},
                                                      {.offset = 3 * kPage, .size = kPage}})},
                         {.index = RegionIndex::kBar2, .size = kPage}};
  }

  const DeviceDescription& description() const override { return description_; }
  void Attach(DeviceHost&) override {}
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> data) override {
    return bar(index).Read(offset, data);
  }
  absl::Status WriteRegion(RegionIndex index, uint64_t offset,
                           std::span<const std::byte> data) override {
    return bar(index).Write(offset, data);
  }
  void Reset() override {
    whole_.Clear();
    sparse_.Clear();
  }

  MappableBar& bar(RegionIndex index) { return index == RegionIndex::kBar1 ? sparse_ : whole_; }

 private:
  MappableBar whole_;
  MappableBar sparse_;
  DeviceDescription description_;
};

std::vector<uint8_t> InfoBody(RegionIndex index, uint32_t argsz) {
  return Serialize(RegionInfoRequest{.argsz = argsz, .index = index});
}

class RegionInfoServerTest : public ServerFixture {
 protected:
  RegionInfoServerTest() {
    auto device = std::make_unique<MemoryDevice>();
    device_ = device.get();
    Serve(std::move(device));
  }

  MemoryDevice* device_;
};

TEST_F(RegionInfoServerTest, DescribesABarThatMayBeMappedWholeWithItsDescriptor) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());

  const auto reply =
      client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar0, 4064));

  ASSERT_THAT(reply, IsOk());
  // argsz 64, flags 15, index 0, cap_offset 32, size 4096, file offset 0; sparse, version 1, last;
  // one area, from 0, of 4096.
  EXPECT_THAT(reply->body, ElementsAre(64, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0,  //
                                       0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    //
                                       1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,     //
                                       0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0));
  ASSERT_THAT(reply->fds, SizeIs(1));
  EXPECT_TRUE(IsSameFile(reply->fds[0], *device_->bar(RegionIndex::kBar0).Describe().file));
}

TEST_F(RegionInfoServerTest, TellsAShortArgszHowLongItWouldHaveToBeAndGivesNoDescriptor) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  for (const uint32_t argsz : {32u, 63u}) {
    const auto reply =
        client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar0, argsz));

    ASSERT_THAT(reply, IsOk());
    EXPECT_THAT(reply->fds, IsEmpty());
    EXPECT_THAT(reply->body, SizeIs(32));
    const auto info = RegionInfo::Parse(reply->body);
    ASSERT_THAT(info, IsOk());
    EXPECT_EQ(info->argsz, 64u);
    EXPECT_EQ(info->flags.ToWire(), 7u);
  }
}

TEST_F(RegionInfoServerTest, ListsAreasAndGivesOneDescriptorForAllOfThem) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());

  const auto reply = client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar1, 80));

  ASSERT_THAT(reply, IsOk());
  EXPECT_THAT(reply->fds, SizeIs(1));
  const auto info = RegionInfo::Parse(reply->body);
  ASSERT_THAT(info, IsOk());
  ASSERT_TRUE(info->sparse_areas.has_value());
  EXPECT_THAT(*info->sparse_areas, ElementsAre(SparseArea{.offset = kPage, .size = kPage},
                                               SparseArea{.offset = 3 * kPage, .size = kPage}));
}

TEST_F(RegionInfoServerTest, OffersNothingToMapOfABarWithoutMemory) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());

  const auto reply = client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar2, 64));

  ASSERT_THAT(reply, IsOk());
  EXPECT_THAT(reply->fds, IsEmpty());
  EXPECT_THAT(reply->body, SizeIs(32));
  EXPECT_EQ(reply->body[4], 3);
}

TEST_F(RegionInfoServerTest, OffersNothingToMapToAClientThatTakesNoDescriptors) {
  auto client = RawClient::Connect(path(), R"({"capabilities":{"max_msg_fds":0}})");
  ASSERT_THAT(client, IsOk());

  const auto reply = client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar0, 64));

  ASSERT_THAT(reply, IsOk());
  EXPECT_THAT(reply->fds, IsEmpty());
  EXPECT_THAT(reply->body, SizeIs(32));
  EXPECT_EQ(reply->body[4], 3);
}

TEST_F(RegionInfoServerTest, GivesAgainWhatAClientAsksForAgain) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const int before = OpenFdCount();
  for (int i = 0; i < 300; ++i) {
    const auto reply =
        client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar0, 64));
    ASSERT_THAT(reply, IsOk());
    ASSERT_THAT(reply->fds, SizeIs(1));
  }

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(RegionInfoServerTest, ShowsBytesOfMessagesAndOfMappingsToEachOther) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const auto info = client->Call(Command::kDeviceGetRegionInfo, InfoBody(RegionIndex::kBar1, 80));
  ASSERT_THAT(info, IsOk());
  ASSERT_THAT(info->fds, SizeIs(1));
  void* const pages = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, info->fds[0].get(),
                             static_cast<off_t>(kPage));
  ASSERT_NE(pages, MAP_FAILED);
  auto* const words = static_cast<uint8_t*>(pages);

  EXPECT_THAT(
      client->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(RegionIndex::kBar1, kPage + 4,
                                                                  std::array<uint8_t, 2>{5, 6})),
      IsOkAndHolds(0u));
  words[6] = 7;
  const auto read =
      client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar1, kPage + 5, 2));

  EXPECT_EQ(words[4], 5);
  ASSERT_THAT(read, IsOk());
  EXPECT_THAT(std::span(read->body).subspan(16), ElementsAre(6, 7));
  ::munmap(pages, kPage);
}

WriteMultiEntry Entry(RegionIndex region, uint64_t offset, uint32_t count, uint8_t value) {
  WriteMultiEntry entry;
  entry.access = {.offset = offset, .region = region, .count = count};
  entry.data.fill(value);
  return entry;
}

class WriteMultiTest : public ServerFixture {
 protected:
  WriteMultiTest() {
    Serve(std::make_unique<ProbeDevice>(
        [this](DeviceHost&, uint64_t offset, uint64_t value) -> absl::Status {
          if (offset == 0x80) return absl::InvalidArgumentError("not this one");
          written_.Put({offset, value});
          return absl::OkStatus();
        }));
  }

  Mailbox<std::pair<uint64_t, uint64_t>> written_;
};

TEST_F(WriteMultiTest, WritesInOrderAndCountsThem) {
  auto client = RawClient::Connect(path(), kManyJson);
  ASSERT_THAT(client, IsOk());
  const WriteMultiRequest request = {.entries = {Entry(RegionIndex::kBar0, 8, 4, 1),
                                                 Entry(RegionIndex::kBar0, 4, 8, 2),
                                                 Entry(RegionIndex::kBar0, 8, 1, 3)}};

  const auto reply = client->Call(Command::kRegionWriteMulti, Serialize(request));

  ASSERT_THAT(reply, IsOk());
  ASSERT_EQ(reply->header.error, 0u);
  EXPECT_THAT(reply->body, ElementsAre(3, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(written_.Take(), Eq(std::pair<uint64_t, uint64_t>(8, 0x01010101)));
  EXPECT_THAT(written_.Take(), Eq(std::pair<uint64_t, uint64_t>(4, 0x0202020202020202)));
  EXPECT_THAT(written_.Take(), Eq(std::pair<uint64_t, uint64_t>(8, 3)));
}

TEST_F(WriteMultiTest, StopsAtTheFirstThatIsRefusedAndSaysHowManyItWrote) {
  auto client = RawClient::Connect(path(), kManyJson);
  ASSERT_THAT(client, IsOk());
  for (const WriteMultiEntry& refused :
       {Entry(RegionIndex::kBar0, 0x80, 4, 1), Entry(RegionIndex::kBar0, 0xffd, 4, 1),
        Entry(RegionIndex::kBar2, 0, 4, 1), Entry(RegionIndex::kBar5, 0, 4, 1)}) {
    const WriteMultiRequest request = {.entries = {Entry(RegionIndex::kBar0, 8, 4, 1), refused,
                                                   Entry(RegionIndex::kBar0, 12, 4, 1)}};

    const auto reply = client->Call(Command::kRegionWriteMulti, Serialize(request));

    ASSERT_THAT(reply, IsOk());
    EXPECT_THAT(reply->body, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0));
    const auto third =
        client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 12, 1));
    ASSERT_THAT(third, IsOk());
    EXPECT_EQ(third->body.back(), 0);
  }
  EXPECT_THAT(log(), SizeIs(4));
  EXPECT_THAT(log()[0], HasSubstr("refused REGION_WRITE_MULTI: write 1 of 3: not this one"));
}

TEST_F(WriteMultiTest, TakesNoneAndWritesToConfigSpace) {
  auto client = RawClient::Connect(path(), kManyJson);
  ASSERT_THAT(client, IsOk());
  const WriteMultiRequest config = {.entries = {Entry(RegionIndex::kConfig, 0x3c, 1, 0x0b)}};

  const auto none = client->Call(Command::kRegionWriteMulti, Serialize(WriteMultiRequest()));
  const auto one = client->Call(Command::kRegionWriteMulti, Serialize(config));
  const auto line =
      client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kConfig, 0x3c, 1));

  ASSERT_THAT(none, IsOk());
  EXPECT_THAT(none->body, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  ASSERT_THAT(one, IsOk());
  EXPECT_EQ(one->body[0], 1);
  ASSERT_THAT(line, IsOk());
  EXPECT_EQ(line->body.back(), 0x0b);
}

TEST_F(WriteMultiTest, GetsNoReplyWhenItWantsNoneAndIsLoggedWhenItFails) {
  auto client = RawClient::Connect(path(), kManyJson);
  ASSERT_THAT(client, IsOk());
  const MessageHeader header = {
      .msg_id = 7, .command = Command::kRegionWriteMulti, .no_reply = true};
  const WriteMultiRequest good = {.entries = {Entry(RegionIndex::kBar0, 8, 4, 9)}};
  const WriteMultiRequest bad = {.entries = {Entry(RegionIndex::kBar0, 0x80, 4, 9)}};

  ASSERT_THAT(client->peer().Send(header, Serialize(good)), IsOk());
  ASSERT_THAT(client->peer().Send(header, Serialize(bad)), IsOk());
  ASSERT_THAT(client->peer().Send(header, std::vector<uint8_t>(9)), IsOk());
  const auto next =
      client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 8, 1));

  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->header.command, Command::kRegionRead);
  EXPECT_EQ(next->body.back(), 9);
  EXPECT_THAT(log(), ElementsAre(HasSubstr("write 0 of 1"), HasSubstr("refused ")));
}

TEST_F(WriteMultiTest, IsRefusedWhereItWasNotNegotiated) {
  auto client = RawClient::Connect(path(), kPlainJson);
  ASSERT_THAT(client, IsOk());
  const WriteMultiRequest request = {.entries = {Entry(RegionIndex::kBar0, 8, 4, 1)}};

  EXPECT_THAT(client->ErrorOf(Command::kRegionWriteMulti, Serialize(request)),
              IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  const auto read =
      client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 8, 1));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->body.back(), 0);
}

TEST_F(WriteMultiTest, IsRefusedWholeWhereItIsMalformed) {
  auto client = RawClient::Connect(path(), kManyJson);
  ASSERT_THAT(client, IsOk());
  const std::vector<uint8_t> good =
      Serialize(WriteMultiRequest{.entries = {Entry(RegionIndex::kBar0, 8, 4, 1)}});
  std::vector<uint8_t> two = good;
  two[0] = 2;
  std::vector<uint8_t> none = good;
  none[0] = 0;
  std::vector<uint8_t> many = good;
  many[7] = 0x80;
  std::vector<uint8_t> nine_bytes = good;
  nine_bytes[8 + 12] = 9;
  for (const std::vector<uint8_t>& body :
       {std::vector<uint8_t>(), std::vector<uint8_t>(7), two, none, many, nine_bytes}) {
    EXPECT_THAT(client->ErrorOf(Command::kRegionWriteMulti, body),
                IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  }
  const auto read =
      client->Call(Command::kRegionRead, RawClient::AccessBody(RegionIndex::kBar0, 8, 1));
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->body.back(), 0);
}

}  // namespace
}  // namespace vfio_user
