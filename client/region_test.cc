#include "client/region.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

// BAR2 of a device, of 1 MiB, as a client opens it.
class RegionTest : public testing::Test {
 protected:
  void SetUp() override { Open("03000000"); }

  void Open(const std::string& flags, const std::string& version_json = kTwinGranted) {
    absl::StatusOr<GreetedSocket> greeted = Greet(version_json);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    auto served = std::async(std::launch::async, [&] {
      EXPECT_THAT(server_->Receive(), IsOk());  // VERSION.
      EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000")).get(), IsOk());
      EXPECT_THAT(AnswerNext(*server_, Hex("20000000" + flags +
                                           "02000000 00000000"
                                           "0000100000000000 0000000000000000"))
                      .get(),
                  IsOk());
    });
    absl::StatusOr<Region> region = client->OpenRegion(RegionIndex::kBar2);
    served.get();
    ASSERT_THAT(region, IsOk());
    region_.emplace(*std::move(region));
  }

  // Plays a region of plain memory for `count` accesses, and returns their sizes.
  std::future<std::vector<uint32_t>> ServeMemory(std::vector<uint8_t>& memory, int count) {
    return std::async(std::launch::async, [this, &memory, count] {
      std::vector<uint32_t> sizes;
      for (int i = 0; i < count; ++i) {
        const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
        EXPECT_THAT(request, IsOk());
        if (!request.ok()) break;
        const auto access = RegionAccess::ParsePrefix(request->body, "request");
        EXPECT_THAT(access, IsOk());
        sizes.push_back(access->count);
        std::vector<uint8_t> reply(request->body.begin(),
                                   request->body.begin() + RegionAccess::kBytes);
        const auto at = memory.begin() + static_cast<std::ptrdiff_t>(access->offset);
        if (request->header.command == Command::kRegionRead) {
          reply.insert(reply.end(), at, at + access->count);
        } else {
          std::copy(request->body.begin() + RegionAccess::kBytes, request->body.end(), at);
        }
        EXPECT_THAT(server_->Reply(request->header, reply), IsOk());
      }
      return sizes;
    });
  }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Region> region_;
};

TEST_F(RegionTest, ReadsRegistersOfEachWidth) {
  std::vector<uint8_t> memory = Hex("01 02 03 04 05 06 07 08");
  auto served = ServeMemory(memory, 4);

  EXPECT_THAT(region_->Read<uint8_t>(1), IsOkAndHolds(0x02));
  EXPECT_THAT(region_->Read<uint16_t>(2), IsOkAndHolds(0x0403));
  EXPECT_THAT(region_->Read<uint32_t>(4), IsOkAndHolds(0x08070605u));
  EXPECT_THAT(region_->Read<uint64_t>(0), IsOkAndHolds(0x0807060504030201u));

  EXPECT_THAT(served.get(), testing::ElementsAre(1, 2, 4, 8));
}

TEST_F(RegionTest, WritesRegistersOfEachWidth) {
  std::vector<uint8_t> memory(16);
  auto served = ServeMemory(memory, 4);

  EXPECT_THAT(region_->Write<uint8_t>(0, 0x01), IsOk());
  EXPECT_THAT(region_->Write<uint16_t>(2, 0x0403), IsOk());
  EXPECT_THAT(region_->Write<uint32_t>(4, 0x08070605), IsOk());
  EXPECT_THAT(region_->Write<uint64_t>(8, 0x100f0e0d0c0b0a09), IsOk());

  EXPECT_THAT(served.get(), testing::ElementsAre(1, 2, 4, 8));
  EXPECT_THAT(memory, ElementsAreArray(Hex("01 00 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10")));
}

TEST_F(RegionTest, BlocksAreCutToMessagesThatEveryServerTakes) {
  std::vector<uint8_t> memory(200'000);
  std::vector<std::byte> out(100'000);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 7 >> 3);
  std::vector<std::byte> in(out.size());
  auto served = ServeMemory(memory, 4 + 2);

  EXPECT_THAT(region_->WriteBlock(3, out), IsOk());
  EXPECT_THAT(region_->ReadBlock(3, in), IsOk());

  EXPECT_THAT(served.get(), testing::ElementsAre(32768, 32768, 32768, 1696, 65536, 34464));
  EXPECT_EQ(in, out);
}

TEST_F(RegionTest, BlocksAreCutToWhatTheServerTakes) {
  Open("03000000", R"({"capabilities":{"max_data_xfer_size":5}})");
  std::vector<uint8_t> memory(16);
  std::vector<std::byte> out(12, std::byte{0x5a});
  auto served = ServeMemory(memory, 3);

  EXPECT_THAT(region_->WriteBlock(0, out), IsOk());

  EXPECT_THAT(served.get(), testing::ElementsAre(5, 5, 2));
  EXPECT_THAT(region_->Read<uint64_t>(0), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(RegionTest, AnEmptyBlockIsNoMessage) {
  EXPECT_THAT(region_->ReadBlock(0, {}), IsOk());
  EXPECT_THAT(region_->WriteBlock(region_->size(), {}), IsOk());
}

TEST_F(RegionTest, AccessBeyondTheRegionIsRefusedUnsent) {
  std::byte bytes[2];

  EXPECT_THAT(region_->Read<uint32_t>(0xffffd),
              StatusIs(absl::StatusCode::kOutOfRange,
                       HasSubstr("[0xffffd, +0x4) of bar2, whose size is 0x100000")));
  EXPECT_THAT(region_->Write<uint8_t>(0x100000, 1), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(region_->Read<uint64_t>(UINT64_MAX), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(region_->ReadBlock(0xfffff, bytes), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(region_->WriteBlock(0xfffff, bytes), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(RegionTest, AccessAgainstTheFlagsIsRefusedUnsent) {
  Open("01000000");
  EXPECT_THAT(region_->Write<uint8_t>(0, 1),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("may not be written")));

  Open("02000000");
  EXPECT_THAT(region_->Read<uint8_t>(0),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("may not be read")));
}

TEST_F(RegionTest, WhatTheDeviceRefusesWithIsPassedOn) {
  ServedRequest served = RefuseNext(*server_, EINVAL);

  const absl::Status status = region_->Read<uint16_t>(1).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(ErrnoOf(status), EINVAL);
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(RegionTest, AnErrorEndsABlock) {
  std::vector<std::byte> out(100'000);
  ServedRequest served = RefuseNext(*server_, EINVAL);

  EXPECT_THAT(region_->WriteBlock(0, out), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(served.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
