// What each request sends, and what becomes of replies good and bad.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/scripted_server.h"
#include "client/session.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SessionRequestsTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<ScriptedSession> started = StartScriptedSession(kTwinGranted);
    ASSERT_THAT(started, IsOk());
    server_.emplace(std::move(started->server));
    twin_.emplace(*std::move(started->twin));
    session_ = std::move(started->session);
  }

  // Makes the session know a device of 9 regions and 5 interrupt types.
  void LearnDevice() {
    ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000"));
    session_->GetIrqInfo(IrqIndex{99}).IgnoreError();
    ASSERT_THAT(served.get(), IsOk());
  }

  // After a reply that broke the protocol nothing goes on, on either socket.
  void ExpectClosed(const absl::Status& reason) {
    EXPECT_THAT(reason, StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kDataLoss));
    EXPECT_THAT(server_->ReceiveEof(), IsOk());
    EXPECT_THAT(twin_->ReceiveEof(), IsOk());
  }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::shared_ptr<Session> session_;
};

TEST_F(SessionRequestsTest, GetDeviceInfoAsksAndReads) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000"     // argsz
                                                  "03000000"     // flags
                                                  "09000000"     // num_regions
                                                  "05000000"));  // num_irqs

  const absl::StatusOr<DeviceInfo> info = session_->GetDeviceInfo();

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceGetInfo);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("10000000 00000000 00000000 00000000")));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->num_regions, 9u);
  EXPECT_EQ(info->num_irqs, 5u);
}

TEST_F(SessionRequestsTest, GetDeviceInfoRejectsCountsThatNoDeviceHas) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 65000000 05000000"));

  const absl::Status status = session_->GetDeviceInfo().status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss,
                               HasSubstr("num_regions is 101, want at most 100")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetDeviceInfoRejectsTooManyInterruptTypes) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 09000000 33000000"));

  const absl::Status status = session_->GetDeviceInfo().status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("num_irqs is 51")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetDeviceInfoRejectsAShortReply) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 09000000"));

  const absl::Status status = session_->GetDeviceInfo().status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("body is 12 bytes")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, ARefusalKeepsItsErrnoAndTheConnection) {
  ServedRequest refused = RefuseNext(*server_, ENOTTY);
  const absl::Status status = session_->Reset();
  ASSERT_THAT(refused.get(), IsOk());

  ServedRequest served = AnswerNext(*server_);

  EXPECT_EQ(ErrnoOf(status), ENOTTY);
  EXPECT_THAT(status.message(), HasSubstr("DEVICE_RESET refused by the peer"));
  EXPECT_THAT(session_->Reset(), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionRequestsTest, ARefusalWithoutAnErrnoIsAnErrorAllTheSame) {
  ServedRequest refused = RefuseNext(*server_, 0);

  EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kAborted));
  ASSERT_THAT(refused.get(), IsOk());
}

TEST_F(SessionRequestsTest, GetRegionInfoAsksOnceWhereThereIsNoMoreToKnow) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("20000000 03000000 02000000 00000000"
                                                  "0010000000000000 0000000000000000"));

  const absl::StatusOr<RegionInfo> info = session_->GetRegionInfo(RegionIndex::kBar2);

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceGetRegionInfo);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("20000000 00000000 02000000 00000000"
                                                  "0000000000000000 0000000000000000")));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->size, 0x1000u);
}

TEST_F(SessionRequestsTest, GetRegionInfoAsksAgainForCapabilitiesAndClosesDescriptors) {
  LearnDevice();
  const int before = OpenFdCount();
  ServedRequest first = AnswerNext(*server_, Hex("40000000 07000000 02000000 00000000"
                                                 "0010000000000000 0000000000000000"));
  std::vector<UniqueFd> fds;
  fds.push_back(Memfd("bar"));
  fds.push_back(Memfd("surplus"));
  auto second = std::async(std::launch::async, [&, fds = std::move(fds)]() mutable {
    EXPECT_THAT(first.get(), IsOk());
    return AnswerNext(*server_,
                      Hex("40000000 0f000000 02000000 20000000 0010000000000000 0000000000000000"
                          "0100 0100 00000000 01000000 00000000"  // Sparse areas: one,
                          "0000000000000000 0008000000000000"),   // 2 KiB.
                      std::move(fds))
        .get();
  });

  const absl::StatusOr<RegionInfo> info = session_->GetRegionInfo(RegionIndex::kBar2);

  const absl::StatusOr<ScriptedPeer::Message> request = second.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAreArray(Hex("40000000 00000000 02000000 00000000"
                                                  "0000000000000000 0000000000000000")));
  ASSERT_THAT(info, IsOk());
  ASSERT_TRUE(info->sparse_areas.has_value());
  EXPECT_THAT(*info->sparse_areas, testing::ElementsAre(SparseArea{.offset = 0, .size = 2048}));
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(SessionRequestsTest, GetRegionInfoRejectsAnArgszBeyondAllReason) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("01000100 07000000 02000000 00000000"
                                                  "0010000000000000 0000000000000000"));

  const absl::Status status = session_->GetRegionInfo(RegionIndex::kBar2).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("argsz is 65537")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetRegionInfoRejectsABodyBeyondAllReason) {
  LearnDevice();
  std::vector<uint8_t> body =
      Hex("20000000 03000000 02000000 00000000"
          "0010000000000000 0000000000000000");
  body.resize(65537);
  ServedRequest served = AnswerNext(*server_, body);

  const absl::Status status = session_->GetRegionInfo(RegionIndex::kBar2).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("body is 65537")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetRegionInfoRejectsAnotherRegion) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("20000000 03000000 03000000 00000000"
                                                  "0010000000000000 0000000000000000"));

  const absl::Status status = session_->GetRegionInfo(RegionIndex::kBar2).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("index is 0x3, want 0x2")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetRegionInfoRejectsAChainOfCapabilitiesThatLeavesTheBody) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("20000000 0f000000 02000000 ffffff00"
                                                  "0010000000000000 0000000000000000"));

  const absl::Status status = session_->GetRegionInfo(RegionIndex::kBar2).status();

  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetRegionInfoKnowsTheIndexesWithoutAsking) {
  LearnDevice();

  EXPECT_THAT(session_->GetRegionInfo(RegionIndex{9}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no region 9: its 9 are")));
}

TEST_F(SessionRequestsTest, GetIrqInfoAsksAndReads) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("10000000 01000000 02000000 20000000"));

  const absl::StatusOr<IrqInfo> info = session_->GetIrqInfo(IrqIndex::kMsix);

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceGetIrqInfo);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("10000000 00000000 02000000 00000000")));
  ASSERT_THAT(info, IsOk());
  EXPECT_EQ(info->count, 32u);
}

TEST_F(SessionRequestsTest, GetIrqInfoRejectsMoreVectorsThanATableHolds) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("10000000 01000000 02000000 01080000"));

  const absl::Status status = session_->GetIrqInfo(IrqIndex::kMsix).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr("count is 2049")));
  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetIrqInfoRejectsAnotherType) {
  LearnDevice();
  ServedRequest served = AnswerNext(*server_, Hex("10000000 01000000 01000000 20000000"));

  const absl::Status status = session_->GetIrqInfo(IrqIndex::kMsix).status();

  ASSERT_THAT(served.get(), IsOk());
  ExpectClosed(status);
}

TEST_F(SessionRequestsTest, GetIrqInfoKnowsTheTypesWithoutAsking) {
  LearnDevice();

  EXPECT_THAT(session_->GetIrqInfo(IrqIndex{5}),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no interrupt type 5")));
}

TEST_F(SessionRequestsTest, SetIrqsSendsTheDescriptor) {
  const UniqueFd file = Memfd("eventfd");
  const FdView fd = file;
  ServedRequest served = AnswerNext(*server_);

  EXPECT_THAT(session_->SetIrqs({.data = IrqData::kEventfd,
                                 .action = IrqAction::kTrigger,
                                 .index = IrqIndex::kMsix,
                                 .start = 3,
                                 .count = 1},
                                {&fd, 1}),
              IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceSetIrqs);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("14000000"      // argsz
                                                  "24000000"      // eventfd|trigger
                                                  "02000000"      // index
                                                  "03000000"      // start
                                                  "01000000")));  // count
  ASSERT_EQ(request->fds.size(), 1u);
  EXPECT_TRUE(IsSameFile(request->fds[0], fd));
}

TEST_F(SessionRequestsTest, ResetHasNoBody) {
  ServedRequest served = AnswerNext(*server_);

  EXPECT_THAT(session_->Reset(), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceReset);
  EXPECT_THAT(request->body, IsEmpty());
}

TEST_F(SessionRequestsTest, BytesInAReplyThatShouldHaveNoneAreDropped) {
  ServedRequest served = AnswerNext(*server_, Hex("01 02 03"));

  EXPECT_THAT(session_->Reset(), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionRequestsTest, ReadRegionFillsTheCallersBytes) {
  std::array<std::byte, 4> into = {};
  ServedRequest served = AnswerNext(*server_, Hex("1000000000000000 00000000 04000000 01020304"));

  EXPECT_THAT(session_->ReadRegion(RegionIndex::kBar0, 0x10, into), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kRegionRead);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("1000000000000000 00000000 04000000")));
  EXPECT_THAT(into, testing::ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}));
}

TEST_F(SessionRequestsTest, ReadRegionRejectsRepliesToAnotherRead) {
  const std::vector<std::pair<std::vector<uint8_t>, std::string>> bad = {
      {Hex("1100000000000000 00000000 04000000 01020304"), "offset is 0x11, want 0x10"},
      {Hex("1000000000000000 01000000 04000000 01020304"), "region is 0x1, want 0x0"},
      {Hex("1000000000000000 00000000 05000000 01020304"), "count is 0x5, want 0x4"},
      {Hex("1000000000000000 00000000 04000000 010203"), "3 bytes of data, want 4"},
      {Hex("1000000000000000 00000000 04000000"), "0 bytes of data, want 4"},
      {Hex("1000000000000000 00000000 04000000 0102030405"), "1 more than asked for"},
      {Hex("1000000000000000 00000000 040000"), "body is 15 bytes"},
      {{}, "body is 0 bytes"},
  };
  for (const auto& [body, why] : bad) {
    SetUp();
    std::array<std::byte, 4> into = {};
    ServedRequest served = AnswerNext(*server_, body);

    const absl::Status status = session_->ReadRegion(RegionIndex::kBar0, 0x10, into);

    EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss, HasSubstr(why)));
    ASSERT_THAT(served.get(), IsOk());
    ExpectClosed(status);
  }
}

TEST_F(SessionRequestsTest, WriteRegionSendsTheCallersBytes) {
  const std::array<std::byte, 2> from = {std::byte{0xab}, std::byte{0xcd}};
  ServedRequest served = AnswerNext(*server_, Hex("1000000000000000 07000000 02000000"));

  EXPECT_THAT(session_->WriteRegion(RegionIndex::kConfig, 0x10, from), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kRegionWrite);
  EXPECT_FALSE(request->header.no_reply);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("1000000000000000 07000000 02000000 abcd")));
}

TEST_F(SessionRequestsTest, WriteRegionRejectsRepliesToAnotherWrite) {
  const std::vector<std::vector<uint8_t>> bad = {
      Hex("1100000000000000 07000000 02000000"),    Hex("1000000000000000 08000000 02000000"),
      Hex("1000000000000000 07000000 01000000"),    Hex("1000000000000000 07000000"),
      Hex("1000000000000000 07000000 02000000 00"), {}};
  for (const std::vector<uint8_t>& body : bad) {
    SetUp();
    const std::array<std::byte, 2> from = {};
    ServedRequest served = AnswerNext(*server_, body);

    const absl::Status status = session_->WriteRegion(RegionIndex::kConfig, 0x10, from);

    ASSERT_THAT(served.get(), IsOk());
    ExpectClosed(status);
  }
}

TEST_F(SessionRequestsTest, AccessesBeyondOneMessageAreRefusedUnsent) {
  std::vector<std::byte> bytes(session_->max_read_bytes() + 1);

  EXPECT_THAT(session_->ReadRegion(RegionIndex::kBar0, 0, bytes),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("65537 bytes")));
  EXPECT_THAT(session_->WriteRegion(RegionIndex::kBar0, 0, bytes),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(SessionRequestsTest, MapDmaSendsOneDescriptor) {
  const UniqueFd file = Memfd("memory");
  const FdView fd = file;
  ServedRequest served = AnswerNext(*server_);

  EXPECT_THAT(session_->MapDma({.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kFileIo,
                                .file_offset = 0x1234,
                                .address = Iova{0x10005},
                                .size = 5000},
                               {&fd, 1}),
              IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDmaMap);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("20000000"              // argsz
                                                  "09000000"              // read|file-io
                                                  "3412000000000000"      // offset
                                                  "0500010000000000"      // address
                                                  "8813000000000000")));  // size
  ASSERT_EQ(request->fds.size(), 1u);
  EXPECT_TRUE(IsSameFile(request->fds[0], fd));
}

TEST_F(SessionRequestsTest, UnmapDmaTakesAnEcho) {
  ServedRequest served =
      AnswerNext(*server_, Hex("18000000 00000000 0010000000000000 0020000000000000"));

  EXPECT_THAT(session_->UnmapDma(Iova{0x1000}, 0x2000), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDmaUnmap);
  EXPECT_THAT(request->body,
              ElementsAreArray(Hex("18000000 00000000 0010000000000000 0020000000000000")));
  EXPECT_THAT(request->fds, IsEmpty());
}

TEST_F(SessionRequestsTest, UnmapDmaTakesAnEmptyReply) {
  ServedRequest served = AnswerNext(*server_);

  EXPECT_THAT(session_->UnmapDma(Iova{0x1000}, 0x2000), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionRequestsTest, UnmapDmaTakesEnoentForGone) {
  ServedRequest served = RefuseNext(*server_, ENOENT);

  EXPECT_THAT(session_->UnmapDma(Iova{0x1000}, 0x2000), IsOk());
  EXPECT_THAT(session_->status(), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionRequestsTest, UnmapDmaEndsTheConnectionOnAnyOtherRefusal) {
  ServedRequest served = RefuseNext(*server_, EBUSY);

  const absl::Status status = session_->UnmapDma(Iova{0x1000}, 0x2000);

  EXPECT_THAT(status.message(), HasSubstr("what became of DMA_UNMAP is not known"));
  EXPECT_EQ(ErrnoOf(status), EBUSY);
  ASSERT_THAT(served.get(), IsOk());
  EXPECT_FALSE(session_->status().ok());
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

TEST_F(SessionRequestsTest, UnmapDmaRejectsTheEchoOfAnotherRange) {
  const std::vector<std::vector<uint8_t>> bad = {
      Hex("18000000 00000000 0110000000000000 0020000000000000"),
      Hex("18000000 00000000 0010000000000000 0010000000000000"),
      Hex("18000000 00000000 0010000000000000 00200000000000")};
  for (const std::vector<uint8_t>& body : bad) {
    SetUp();
    ServedRequest served = AnswerNext(*server_, body);

    const absl::Status status = session_->UnmapDma(Iova{0x1000}, 0x2000);

    ASSERT_THAT(served.get(), IsOk());
    ExpectClosed(status);
  }
}

}  // namespace
}  // namespace vfio_user
