// Requests about the device: what is sent, and what becomes of replies good and bad.
#include <cerrno>
#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/scripted_server.h"
#include "client/session/session.h"
#include "client/session/session_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/hex_bytes.h"
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

class SessionRequestsTest : public SessionFixture {
 protected:
  // Makes the session know a device of 9 regions and 5 interrupt types.
  void LearnDevice() {
    ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000"));
    session_->GetIrqInfo(IrqIndex{99}).IgnoreError();
    ASSERT_THAT(served.get(), IsOk());
  }
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

}  // namespace
}  // namespace vfio_user
