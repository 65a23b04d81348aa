#include "server/dma/dma_write_log.h"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/iova.h"
#include "server/dma_space.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kPage = 0x1000;

class DmaWriteLogTest : public testing::Test {
 protected:
  absl::Status Start() { return log_.Start({.page_size = kPage, .ranges = {}}); }

  // Of the first 64 pages.
  std::vector<uint8_t> Report() {
    DmaLoggingReport report{.address = Iova{0}, .length = 64 * kPage, .page_size = kPage};
    EXPECT_THAT(log_.Report(report), IsOk());
    return report.bitmap;
  }

  DmaWriteLog log_;
  std::array<std::byte, 8> bytes_{};
  const DmaWritePiece piece_ = {Iova{3 * kPage}, bytes_};
};

TEST_F(DmaWriteLogTest, IsOffAtFirst) {
  DmaLoggingReport report{.address = Iova{0}, .length = kPage, .page_size = kPage};

  EXPECT_FALSE(log_.on());
  EXPECT_THAT(log_.Report(report),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not being logged")));
}

TEST_F(DmaWriteLogTest, RefusesToBeginTwice) {
  ASSERT_THAT(Start(), IsOk());

  EXPECT_EQ(ErrnoOf(Start()), EINVAL);

  log_.Stop();
  EXPECT_THAT(Start(), IsOk());
}

TEST_F(DmaWriteLogTest, ForgetsEverythingWhenItStops) {
  ASSERT_THAT(Start(), IsOk());
  { const DmaWriteLog::Writing writing(log_, {&piece_, 1}); }
  log_.Stop();
  log_.Stop();
  ASSERT_THAT(Start(), IsOk());

  EXPECT_THAT(Report(), Each(0));
}

TEST_F(DmaWriteLogTest, HasAWriteBeforeItsBytesMove) {
  ASSERT_THAT(Start(), IsOk());

  const DmaWriteLog::Writing writing(log_, {&piece_, 1});

  EXPECT_THAT(Report(), ElementsAre(8, 0, 0, 0, 0, 0, 0, 0));
}

TEST_F(DmaWriteLogTest, HasAWriteOnceWhereNobodyReadMeanwhile) {
  ASSERT_THAT(Start(), IsOk());
  { const DmaWriteLog::Writing writing(log_, {&piece_, 1}); }

  EXPECT_EQ(Report()[0], 8);
  EXPECT_EQ(Report()[0], 0);
}

TEST_F(DmaWriteLogTest, HasAWriteAgainWhereAReportCameBeforeItsEnd) {
  ASSERT_THAT(Start(), IsOk());
  {
    const DmaWriteLog::Writing writing(log_, {&piece_, 1});
    EXPECT_EQ(Report()[0], 8);
  }

  EXPECT_EQ(Report()[0], 8);
}

TEST_F(DmaWriteLogTest, HasAWriteThatHadBegunBeforeItDid) {
  {
    const DmaWriteLog::Writing writing(log_, {&piece_, 1});
    ASSERT_THAT(Start(), IsOk());
  }

  EXPECT_EQ(Report()[0], 8);
}

TEST_F(DmaWriteLogTest, HasAWriteOfTheTimeBeforeWhereItWasStartedAgainMeanwhile) {
  ASSERT_THAT(Start(), IsOk());
  {
    const DmaWriteLog::Writing writing(log_, {&piece_, 1});
    log_.Stop();
    ASSERT_THAT(Start(), IsOk());
  }

  EXPECT_EQ(Report()[0], 8);
}

TEST_F(DmaWriteLogTest, DoesWithoutPiecesOfNothing) {
  ASSERT_THAT(Start(), IsOk());
  const DmaWritePiece empty = {Iova{UINT64_MAX}, {}};
  { const DmaWriteLog::Writing writing(log_, {&empty, 1}); }

  EXPECT_THAT(Report(), Each(0));
}

// What migration rests on: a copy that is taken after each report has everything in the end.
TEST_F(DmaWriteLogTest, LosesNoWriteToACopyThatFollowsItsReports) {
  constexpr size_t kPages = 64;
  ASSERT_THAT(Start(), IsOk());
  std::array<std::atomic<uint32_t>, kPages> memory{};
  std::atomic<bool> done = false;
  std::thread device([&] {
    for (uint32_t i = 1; i <= 20000; ++i) {
      const size_t page = i * 7 % kPages;
      const DmaWritePiece piece = {Iova{page * kPage}, bytes_};
      const DmaWriteLog::Writing writing(log_, {&piece, 1});
      memory[page] = i;
    }
    done = true;
  });
  std::array<uint32_t, kPages> copy{};
  const auto copy_dirty = [&] {
    const std::vector<uint8_t> bitmap = Report();
    for (size_t page = 0; page < kPages; ++page) {
      if ((bitmap[page / 8] >> page % 8 & 1) != 0) copy[page] = memory[page];
    }
  };

  while (!done) copy_dirty();
  device.join();
  copy_dirty();

  for (size_t page = 0; page < kPages; ++page) EXPECT_EQ(copy[page], memory[page]) << page;
}

}  // namespace
}  // namespace vfio_user
