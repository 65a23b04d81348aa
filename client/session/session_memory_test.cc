// Region accesses and mappings: what is sent, and what becomes of replies good and bad.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
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
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using SessionMemoryTest = SessionFixture;

TEST_F(SessionMemoryTest, ReadRegionFillsTheCallersBytes) {
  std::array<std::byte, 4> into = {};
  ServedRequest served = AnswerNext(*server_, Hex("1000000000000000 00000000 04000000 01020304"));

  EXPECT_THAT(session_->ReadRegion(RegionIndex::kBar0, 0x10, into), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kRegionRead);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("1000000000000000 00000000 04000000")));
  EXPECT_THAT(into, testing::ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}));
}

TEST_F(SessionMemoryTest, ReadRegionRejectsRepliesToAnotherRead) {
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

TEST_F(SessionMemoryTest, WriteRegionSendsTheCallersBytes) {
  const std::array<std::byte, 2> from = {std::byte{0xab}, std::byte{0xcd}};
  ServedRequest served = AnswerNext(*server_, Hex("1000000000000000 07000000 02000000"));

  EXPECT_THAT(session_->WriteRegion(RegionIndex::kConfig, 0x10, from), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kRegionWrite);
  EXPECT_FALSE(request->header.no_reply);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("1000000000000000 07000000 02000000 abcd")));
}

TEST_F(SessionMemoryTest, WriteRegionRejectsRepliesToAnotherWrite) {
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

TEST_F(SessionMemoryTest, AccessesBeyondOneMessageAreRefusedUnsent) {
  std::vector<std::byte> bytes(session_->max_read_bytes() + 1);

  EXPECT_THAT(session_->ReadRegion(RegionIndex::kBar0, 0, bytes),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("65537 bytes")));
  EXPECT_THAT(session_->WriteRegion(RegionIndex::kBar0, 0, bytes),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_F(SessionMemoryTest, MapDmaSendsOneDescriptor) {
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

TEST_F(SessionMemoryTest, UnmapDmaTakesAnEcho) {
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

TEST_F(SessionMemoryTest, UnmapDmaTakesAnEmptyReply) {
  ServedRequest served = AnswerNext(*server_);

  EXPECT_THAT(session_->UnmapDma(Iova{0x1000}, 0x2000), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionMemoryTest, UnmapDmaTakesEnoentForGone) {
  ServedRequest served = RefuseNext(*server_, ENOENT);

  EXPECT_THAT(session_->UnmapDma(Iova{0x1000}, 0x2000), IsOk());
  EXPECT_THAT(session_->status(), IsOk());
  ASSERT_THAT(served.get(), IsOk());
}

TEST_F(SessionMemoryTest, UnmapDmaEndsTheConnectionOnAnyOtherRefusal) {
  ServedRequest served = RefuseNext(*server_, EBUSY);

  const absl::Status status = session_->UnmapDma(Iova{0x1000}, 0x2000);

  EXPECT_THAT(status.message(), HasSubstr("what became of DMA_UNMAP is not known"));
  EXPECT_EQ(ErrnoOf(status), EBUSY);
  ASSERT_THAT(served.get(), IsOk());
  EXPECT_FALSE(session_->status().ok());
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

TEST_F(SessionMemoryTest, UnmapDmaRejectsTheEchoOfAnotherRange) {
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
