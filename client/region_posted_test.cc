// Accesses to a region that are not waited for one by one.
#include <poll.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/region.h"
#include "client/region_fixture.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::SizeIs;

using PostedWriteTest = RegionFixture;

TEST_F(PostedWriteTest, IsNotWaitedFor) {
  OpenRegisters();

  EXPECT_THAT(region_->Post<uint32_t>(0x10, 0x12345678), IsOk());

  // Nobody has answered, and nobody has even looked.
  EXPECT_THAT(ServeMemory(1).get(),
              ElementsAre(SeenAccess{Command::kRegionWrite, 0x10, 4, /*no_reply=*/true}));
  EXPECT_EQ(memory_[0x10], 0x78);
}

TEST_F(PostedWriteTest, IsInOrderWithOtherAccesses) {
  OpenRegisters();
  EXPECT_THAT(region_->Post<uint8_t>(4, 1), IsOk());
  EXPECT_THAT(region_->Post<uint8_t>(4, 2), IsOk());
  auto served = ServeMemory(3);

  EXPECT_THAT(region_->Read<uint8_t>(4), IsOkAndHolds(2));

  EXPECT_THAT(served.get(), SizeIs(3));
}

TEST_F(PostedWriteTest, FenceWaitsUntilTheServerHasServedWhatWasPosted) {
  OpenRegisters();
  EXPECT_THAT(region_->Post<uint8_t>(4, 1), IsOk());
  auto served = ServeMemory(2);

  EXPECT_THAT(region_->Fence(), IsOk());

  EXPECT_EQ(memory_[4], 1);
  EXPECT_THAT(served.get(), ElementsAre(SeenAccess{Command::kRegionWrite, 4, 1, true},
                                        SeenAccess{Command::kDeviceGetInfo}));
}

TEST_F(PostedWriteTest, FenceTakesARefusalForAnAnswer) {
  OpenRegisters();
  ServedRequest served = RefuseNext(*server_, EINVAL);

  EXPECT_THAT(region_->Fence(), IsOk());

  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(PostedWriteTest, FenceSaysWhenTheServerIsGone) {
  OpenRegisters();
  server_->Close();

  EXPECT_THAT(region_->Fence(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(region_->Post<uint8_t>(0, 1), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(PostedWriteTest, ManyOfThemWaitNowAndThen) {
  OpenRegisters();
  constexpr int kWrites = 1000;
  auto served = ServeMemory(kWrites + kWrites / 128);

  for (int i = 0; i < kWrites; ++i) ASSERT_THAT(region_->Post<uint32_t>(0, 1), IsOk());

  EXPECT_THAT(served.get(),
              testing::Contains(SeenAccess{Command::kDeviceGetInfo}).Times(kWrites / 128));
}

TEST_F(PostedWriteTest, AnswersThatNobodyAskedForAreDropped) {
  OpenRegisters();
  auto served = std::async(std::launch::async, [&] {
    for (int i = 0; i < 4; ++i) {
      absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      ASSERT_THAT(request, IsOk());
      request->header.no_reply = false;
      // The way of rust-vmm's server, when the access fails and, in older ones, always.
      ASSERT_THAT(i % 2 == 0 ? server_->ReplyError(request->header, EINVAL)
                             : server_->Reply(request->header, std::span(request->body).first(16)),
                  IsOk());
    }
  });
  for (int i = 0; i < 4; ++i) EXPECT_THAT(region_->Post<uint32_t>(8, 1), IsOk());
  served.get();
  auto read = ServeMemory(1);

  EXPECT_THAT(region_->Read<uint32_t>(8), IsOkAndHolds(0u));

  EXPECT_THAT(read.get(), SizeIs(1));
  EXPECT_THAT(client_->status(), IsOk());
}

TEST_F(PostedWriteTest, WithoutATwinItIsAWrite) {
  OpenRegisters(kNoTwin);
  auto served = ServeMemory(1);

  EXPECT_THAT(region_->Post<uint32_t>(8, 1), IsOk());

  EXPECT_THAT(served.get(), ElementsAre(SeenAccess{Command::kRegionWrite, 8, 4, false}));
}

TEST_F(PostedWriteTest, IsHeldAgainstTheRegion) {
  OpenRegisters();

  EXPECT_THAT(region_->Post<uint32_t>(memory_.size() - 3, 1),
              StatusIs(absl::StatusCode::kOutOfRange));
}

class RegionManyTest : public RegionFixture {
 protected:
  std::vector<RegionRead> Reads(std::span<uint32_t> values) {
    std::vector<RegionRead> reads;
    for (size_t i = 0; i < values.size(); ++i) {
      reads.push_back({i * 4, std::as_writable_bytes(values.subspan(i, 1))});
    }
    return reads;
  }
  std::vector<RegionWrite> Writes(std::span<const uint32_t> values) {
    std::vector<RegionWrite> writes;
    for (size_t i = 0; i < values.size(); ++i) {
      writes.push_back({i * 4, std::as_bytes(values.subspan(i, 1))});
    }
    return writes;
  }
};

TEST_F(RegionManyTest, ReadsAreUnderWayTogether) {
  OpenRegisters();
  memory_[0] = 1;
  memory_[4] = 2;
  memory_[8] = 3;
  // Answers none before all are there.
  auto served = std::async(std::launch::async, [&] {
    std::vector<ScriptedPeer::Message> requests;
    for (int i = 0; i < 3; ++i) {
      absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      ASSERT_THAT(request, IsOk());
      requests.push_back(*std::move(request));
    }
    for (const ScriptedPeer::Message& request : requests) {
      std::vector<uint8_t> reply = request.body;
      for (size_t i = 0; i < 4; ++i) reply.push_back(memory_[reply[0] + i]);
      ASSERT_THAT(server_->Reply(request.header, reply), IsOk());
    }
  });
  std::vector<uint32_t> values(3);

  EXPECT_THAT(region_->ReadMany(Reads(values)), IsOk());

  served.get();
  EXPECT_THAT(values, ElementsAre(1, 2, 3));
}

TEST_F(RegionManyTest, ManyMoreThanMayBeUnderWay) {
  OpenRegisters();
  std::vector<uint32_t> out(1000);
  for (uint32_t i = 0; i < out.size(); ++i) out[i] = i * 3;
  std::vector<uint32_t> in(out.size());
  auto served = ServeMemory(2000);

  EXPECT_THAT(region_->WriteMany(Writes(out)), IsOk());
  EXPECT_THAT(region_->ReadMany(Reads(in)), IsOk());

  EXPECT_THAT(served.get(), SizeIs(2000));
  EXPECT_EQ(in, out);
}

TEST_F(RegionManyTest, LongAccesses) {
  OpenRegisters();
  const std::vector<std::byte> out(32 << 10, std::byte{0x5a});
  std::vector<std::byte> in(64 << 10);
  std::vector<RegionWrite> writes;
  for (size_t i = 0; i < 20; ++i) writes.push_back({i * out.size(), out});
  std::vector<RegionRead> reads = {{0, in}, {0, in}, {128 << 10, in}, {0, {}}};
  auto served = ServeMemory(20 + 3);

  EXPECT_THAT(region_->WriteMany(writes), IsOk());
  EXPECT_THAT(region_->ReadMany(reads), IsOk());

  EXPECT_THAT(served.get(), SizeIs(23));
  EXPECT_THAT(in, testing::Each(std::byte{0x5a}));
}

TEST_F(RegionManyTest, AnAccessLongerThanAMessageIsRefusedUnsent) {
  OpenRegisters();
  std::vector<std::byte> bytes((64 << 10) + 1);
  const RegionRead read = {0, bytes};
  const RegionWrite write = {0, bytes};

  EXPECT_THAT(region_->ReadMany({&read, 1}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(region_->WriteMany({&write, 1}), StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(RegionManyTest, TheFirstErrorIsReturnedAndAllRepliesAreTaken) {
  OpenRegisters();
  ServedRequests served = AnswerAll(*server_, {ENXIO, EINVAL, EINVAL});
  std::vector<uint32_t> values(3);

  EXPECT_EQ(ErrnoOf(region_->ReadMany(Reads(values))), ENXIO);

  EXPECT_THAT(served.get(), IsOk());
  auto read = ServeMemory(1);
  EXPECT_THAT(region_->Read<uint32_t>(0), IsOkAndHolds(0u));
  read.get();
}

TEST_F(RegionManyTest, OffsetsAreCheckedBeforeTheFirstAccess) {
  OpenRegisters();
  std::vector<uint32_t> values(2);
  std::vector<RegionRead> reads = Reads(values);
  reads[1].offset = memory_.size();

  EXPECT_THAT(region_->ReadMany(reads), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(RegionManyTest, AServerThatBreaksTheProtocolEndsTheConnection) {
  OpenRegisters();
  // A header-only answer to a read.
  ServedRequests served = AnswerAll(*server_, {0});
  std::vector<uint32_t> values(2);

  EXPECT_THAT(region_->ReadMany(Reads(values)), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(client_->status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(RegionManyTest, WithoutATwinOneIsUnderWayAtATime) {
  OpenRegisters(kNoTwin);
  auto served = std::async(std::launch::async, [&] {
    for (int i = 0; i < 3; ++i) {
      const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      ASSERT_THAT(request, IsOk());
      pollfd more = {.fd = server_->fd().get(), .events = POLLIN, .revents = 0};
      EXPECT_EQ(::poll(&more, 1, 10), 0) << "another one before this was answered";
      ASSERT_THAT(server_->Reply(request->header, std::span(request->body).first(16)), IsOk());
    }
  });

  const std::vector<uint32_t> values(3);
  EXPECT_THAT(region_->WriteMany(Writes(values)), IsOk());
  served.get();
}

TEST_F(RegionManyTest, SmallWritesAreOneMessageWhereTheServerTakesThat) {
  OpenRegisters(kWriteMultiple);
  ServedRequest served = AnswerNext(*server_, Hex("0200000000000000"));
  const std::vector<uint32_t> values = {0x11, 0x22};

  EXPECT_THAT(region_->WriteMany(Writes(values)), IsOk());

  const auto request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kRegionWriteMulti);
  EXPECT_THAT(request->body,
              ElementsAreArray(Hex("0200000000000000"
                                   "0000000000000000 02000000 04000000 1100000000000000"
                                   "0400000000000000 02000000 04000000 2200000000000000")));
}

TEST_F(RegionManyTest, TheErrorOfOneOfThemIsFoundOut) {
  OpenRegisters(kWriteMultiple);
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex("0100000000000000")).get(), IsOk());
    const auto again = RefuseNext(*server_, ENXIO).get();
    ASSERT_THAT(again, IsOk());
    EXPECT_EQ(again->header.command, Command::kRegionWrite);
    EXPECT_THAT(again->body, ElementsAreArray(Hex("0400000000000000 02000000 04000000 22000000")));
  });
  const std::vector<uint32_t> values = {0x11, 0x22, 0x33};

  EXPECT_EQ(ErrnoOf(region_->WriteMany(Writes(values))), ENXIO);

  served.get();
}

TEST_F(RegionManyTest, MoreWritesThanOneMessageHolds) {
  OpenRegisters(kWriteMultiple);
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex("c800000000000000")).get(), IsOk());
    EXPECT_THAT(AnswerNext(*server_, Hex("3200000000000000")).get(), IsOk());
  });

  const std::vector<uint32_t> values(250);
  EXPECT_THAT(region_->WriteMany(Writes(values)), IsOk());

  served.get();
}

TEST_F(RegionManyTest, MoreDoneThanWasAskedForEndsTheConnection) {
  OpenRegisters(kWriteMultiple);
  ServedRequest served = AnswerNext(*server_, Hex("0300000000000000"));

  const std::vector<uint32_t> values(2);
  EXPECT_THAT(region_->WriteMany(Writes(values)), StatusIs(absl::StatusCode::kDataLoss));

  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(RegionManyTest, LongerBlocksToAServerThatIsNoLibvfioUser) {
  OpenRegisters(kWriteMultiple);
  auto served = ServeMemory(2);

  EXPECT_THAT(region_->WriteBlock(0, std::vector<std::byte>(100'000)), IsOk());

  EXPECT_THAT(served.get(), ElementsAre(SeenAccess{Command::kRegionWrite, 0, 65536},
                                        SeenAccess{Command::kRegionWrite, 65536, 34464}));
}

}  // namespace
}  // namespace vfio_user
