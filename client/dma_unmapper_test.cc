// How mappings end: with a report of what was written, and all at once.
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/dirty_pages.h"
#include "client/dma/dma_table.h"
#include "client/dma/write_record.h"
#include "client/dma_mapper.h"
#include "client/dma_mapping.h"
#include "client/session/scripted_server.h"
#include "client/session/session.h"
#include "client/session/session_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

using Messages = std::vector<ScriptedPeer::Message>;

constexpr uint64_t kPage = 4096;

class DmaUnmapperTest : public SessionFixture {
 protected:
  void SetUp() override {
    SessionFixture::SetUp();
    mapper_ = DmaMapper::Create(session_, absl::OkStatus());
  }

  absl::StatusOr<DmaMapping> MapAt(uint64_t iova, DmaPath path = DmaPath::kAuto) {
    return mapper_->Map(std::span<std::byte>(buffer_), {.path = path, .iova = Iova{iova}});
  }

  // Three pages, of which the last is short.
  std::array<std::byte, 0x2800> buffer_ = {};
  std::shared_ptr<DmaMapper> mapper_;
};

std::vector<uint8_t> ReportOf(const std::string& bitmap) {
  return Hex(
      "30000000 01000000 0010000000000000 0028000000000000 0010000000000000"
      "0800000000000000" +
      bitmap);
}

TEST_F(DmaUnmapperTest, ReportsWhatTheServerAndTheMessagesWrote) {
  ServedRequests served = AnswerInOrder(*server_, {{}, {.body = ReportOf("0100000000000000")}});
  ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
  ASSERT_THAT(mapping, IsOk());
  ASSERT_THAT(
      twin_->Send({.command = Command::kDmaWrite}, Hex("0030000000000000 0100000000000000 ff")),
      IsOk());
  ASSERT_THAT(twin_->Receive(), IsOk());

  const absl::StatusOr<DirtyPages> pages = mapping->UnmapAndReport(kPage);

  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(pages->words(), ElementsAre(0b101));
  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[1].body,
              ElementsAreArray(Hex("30000000 01000000"
                                   "0010000000000000 0028000000000000"      // address, size
                                   "0010000000000000 0800000000000000")));  // page, bitmap bytes
  EXPECT_EQ(session_->dma_table().size(), 0u);
  EXPECT_THAT(mapping->Unmap(), IsOk());
}

TEST_F(DmaUnmapperTest, ConvertsToThePageSizeThatWasAskedFor) {
  ServedRequests served = AnswerInOrder(*server_, {{}, {.body = ReportOf("0200000000000000")}});
  ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
  ASSERT_THAT(mapping, IsOk());

  const absl::StatusOr<DirtyPages> pages = mapping->UnmapAndReport(1024);

  ASSERT_THAT(pages, IsOk());
  EXPECT_THAT(pages->words(), ElementsAre(0b11110000));
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaUnmapperTest, AsksForLargerPagesWhereTheBitmapWouldNotFit) {
  Start(R"({"capabilities":{"max_data_xfer_size":64}})");
  mapper_ = DmaMapper::Create(session_, absl::OkStatus());
  // 10 KiB in pages of 1 byte are 1,280 bytes of bitmap; 24 bytes are left: pages of 64.
  ServedRequests served = AnswerInOrder(
      *server_, {{},
                 {.body = Hex("40000000 01000000 0010000000000000 0028000000000000"
                              "4000000000000000 1800000000000000"
                              "0200000000000000 0000000000000000 0000000000000000")}});
  ASSERT_THAT(session_->write_record().Start(1), IsOk());
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
  ASSERT_THAT(mapping, IsOk());

  const absl::StatusOr<DirtyPages> pages = mapping->UnmapAndReport(1);

  ASSERT_THAT(pages, IsOk());
  EXPECT_EQ(pages->dirty_count(), 64u);
  EXPECT_TRUE(pages->IsDirty(Iova{0x1040}));
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaUnmapperTest, ReportsMemoryThatIsServedByMessageFromItsOwnRecord) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000, DmaPath::kMessage);
  ASSERT_THAT(mapping, IsOk());

  const absl::StatusOr<DirtyPages> pages = mapping->UnmapAndReport(kPage);

  ASSERT_THAT(pages, IsOk());
  EXPECT_EQ(pages->dirty_count(), 0u);
  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[1].body,
              ElementsAreArray(Hex("18000000 00000000 0010000000000000 0028000000000000")));
}

TEST_F(DmaUnmapperTest, UnmapsAllTheSameWhereTheServerDoesNotReport) {
  ServedRequests served = AnswerAll(*server_, {0, EINVAL, 0});
  ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
  ASSERT_THAT(mapping, IsOk());

  const absl::Status status = mapping->UnmapAndReport(kPage).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("unmapped, but")));
  EXPECT_EQ(ErrnoOf(status), EINVAL);
  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[2].body,
              ElementsAreArray(Hex("18000000 00000000 0010000000000000 0028000000000000")));
  EXPECT_EQ(session_->dma_table().size(), 0u);
  EXPECT_THAT(session_->status(), IsOk());
}

TEST_F(DmaUnmapperTest, StaysMappedWhenItCannotReport) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
  ASSERT_THAT(mapping, IsOk());

  EXPECT_THAT(mapping->UnmapAndReport(kPage),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("StartDmaLogging")));
  EXPECT_THAT(mapping->UnmapAndReport(1000), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(session_->dma_table().size(), 1u);

  EXPECT_THAT(mapping->Unmap(), IsOk());
  EXPECT_THAT(mapping->UnmapAndReport(kPage), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaUnmapperTest, RejectsReportsThatAreNotWhatWasAskedFor) {
  const std::string range = "0010000000000000 0028000000000000 ";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"30000000 01000000" + range + "0020000000000000 0800000000000000 0000000000000000",
       "page size is 0x2000, want 0x1000"},
      {"30000000 01000000" + range + "0010000000000000 0000000000000000",
       "bitmap size is 0x0, want 0x8"},
      {"30000000 01000000" + range +
           "0010000000000000 1000000000000000 00000000000000000000000000000000",
       "bitmap size is 0x10, want 0x8"},
      {"30000000 01000000" + range + "0010000000000000 0800000000000000 00000000000000",
       "body is 47 bytes"},
      {"30000000 01000000" + range + "0010000000000000 ffffffffffffffff 0000000000000000", "body"},
      {"18000000 00000000" + range, "flags is 0x0, want 0x1"},
      {"30000000 01000000 0010000000000000 0030000000000000"
       "0010000000000000 0800000000000000 0000000000000000",
       "size is 0x3000, want 0x2800"},
  };
  for (const auto& [body, why] : bad) {
    SetUp();
    ServedRequests served = AnswerInOrder(*server_, {{}, {.body = Hex(body)}});
    ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
    absl::StatusOr<DmaMapping> mapping = MapAt(0x1000);
    ASSERT_THAT(mapping, IsOk());

    EXPECT_THAT(mapping->UnmapAndReport(kPage),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr(why)));

    EXPECT_THAT(served.get(), IsOk());
    EXPECT_EQ(session_->dma_table().size(), 0u);
    EXPECT_THAT(server_->ReceiveEof(), IsOk());
  }
}

TEST_F(DmaUnmapperTest, UnmapsAllWithOneRequest) {
  ServedRequests served = AnswerInOrder(
      *server_, {{}, {}, {.body = Hex("18000000 02000000 0000000000000000 0000000000000000")}});
  absl::StatusOr<DmaMapping> one = MapAt(0x10000);
  absl::StatusOr<DmaMapping> other = MapAt(0x20000);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());

  EXPECT_THAT(mapper_->UnmapAll(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_EQ((*requests)[2].header.command, Command::kDmaUnmap);
  EXPECT_THAT((*requests)[2].body,
              ElementsAreArray(Hex("18000000 02000000 0000000000000000 0000000000000000")));
  EXPECT_EQ(session_->dma_table().size(), 0u);
  // Nothing is sent any more: nobody would answer.
  EXPECT_THAT(one->Unmap(), IsOk());
  EXPECT_THAT(mapper_->UnmapAll(), IsOk());
}

TEST_F(DmaUnmapperTest, UnmapsAllOnlyWhenAnUnmapThatIsUnderWayHasItsReport) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  ASSERT_THAT(session_->write_record().Start(kPage), IsOk());
  absl::StatusOr<DmaMapping> one = MapAt(0x1000);
  absl::StatusOr<DmaMapping> other = MapAt(0x20000);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());
  ASSERT_THAT(served.get(), IsOk());
  auto report = std::async(std::launch::async, [&] { return one->UnmapAndReport(kPage); });
  const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
  ASSERT_THAT(request, IsOk());

  auto all = std::async(std::launch::async, [&] { return mapper_->UnmapAll(); });

  server_->set_patience(absl::Milliseconds(50));
  EXPECT_THAT(server_->Receive(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  server_->set_patience(ScriptedPeer::kUsualPatience);
  ASSERT_THAT(server_->Reply(request->header, ReportOf("0100000000000000")), IsOk());
  ServedRequest last = AnswerNext(*server_);
  EXPECT_THAT(all.get(), IsOk());
  const absl::StatusOr<DirtyPages> pages = report.get();
  ASSERT_THAT(pages, IsOk());
  EXPECT_EQ(pages->dirty_count(), 1u);
  const absl::StatusOr<ScriptedPeer::Message> unmapped = last.get();
  ASSERT_THAT(unmapped, IsOk());
  EXPECT_EQ(unmapped->body[4], 2);  // All.
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaUnmapperTest, UnmapsOneByOneWhereTheServerDoesNotKnowAll) {
  ServedRequests served = AnswerAll(*server_, {0, 0, EINVAL, 0, ENOENT});
  absl::StatusOr<DmaMapping> one = MapAt(0x10000);
  absl::StatusOr<DmaMapping> other = MapAt(0x20000);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());

  EXPECT_THAT(mapper_->UnmapAll(), IsOk());

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_EQ(session_->dma_table().size(), 0u);
  EXPECT_THAT(session_->status(), IsOk());
}

TEST_F(DmaUnmapperTest, MappingsMadeAfterAllWereUnmappedStay) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0, 0});
  absl::StatusOr<DmaMapping> old = MapAt(0x10000);
  ASSERT_THAT(old, IsOk());
  ASSERT_THAT(mapper_->UnmapAll(), IsOk());

  absl::StatusOr<DmaMapping> anew = MapAt(0x10000);
  ASSERT_THAT(anew, IsOk());
  EXPECT_THAT(old->Unmap(), IsOk());
  EXPECT_EQ(session_->dma_table().size(), 1u);

  EXPECT_THAT(anew->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
