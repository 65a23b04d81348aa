#include "server/dma/dirty_log.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

DirtyLog LogOf(uint64_t page_size, std::vector<DmaLoggingRange> ranges = {}) {
  return DirtyLog({.page_size = page_size, .ranges = std::move(ranges)});
}

void Mark(DirtyLog& log, uint64_t address, uint64_t bytes) {
  log.Mark(Iova{address}, Iova{address + (bytes - 1)});
}

// The bitmap of [address, address + bytes), without the padding that the wire has.
std::vector<uint8_t> Take(DirtyLog& log, uint64_t address, uint64_t bytes, uint64_t page_size) {
  const uint64_t pages = (bytes - 1) / page_size + 1;
  std::vector<uint8_t> bitmap((pages + 7) / 8);
  log.Take(Iova{address}, Iova{address + (bytes - 1)}, page_size, bitmap);
  return bitmap;
}

TEST(SetBitsTest, SetsBothEndsAndWhatIsBetween) {
  for (uint64_t first = 0; first < 40; ++first) {
    for (uint64_t last = first; last < 40; ++last) {
      std::vector<uint8_t> bitmap(5);

      SetBits(bitmap, first, last);

      for (uint64_t bit = 0; bit < 40; ++bit) {
        EXPECT_EQ(bitmap[bit / 8] >> bit % 8 & 1, first <= bit && bit <= last) << first << last;
      }
    }
  }
}

TEST(DirtyLogTest, HasABitForEachPageOfWhichAByteWasWritten) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, 0x10fff, 2);
  Mark(log, 0x1a000, 1);

  EXPECT_THAT(Take(log, 0x10000, 0x10000, 0x1000), ElementsAre(0x03, 0x04));
}

TEST(DirtyLogTest, ForgetsWhatItTold) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, 0x10000, 1);
  Take(log, 0x10000, 0x10000, 0x1000);

  EXPECT_THAT(Take(log, 0x10000, 0x10000, 0x1000), Each(0));
  EXPECT_EQ(log.range_count(), 0u);
}

TEST(DirtyLogTest, KeepsWhatIsOutsideOfTheReport) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, 0x10000, 0x8000);

  EXPECT_THAT(Take(log, 0x12000, 0x2000, 0x1000), ElementsAre(0x03));

  EXPECT_THAT(Take(log, 0x10000, 0x8000, 0x1000), ElementsAre(0xf3));
}

TEST(DirtyLogTest, KeepsTheRestOfAPageThatAReportEndsIn) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, 0x10000, 1);

  EXPECT_THAT(Take(log, 0x10000, 0x800, 0x100), ElementsAre(0xff));

  EXPECT_THAT(Take(log, 0x10000, 0x1000, 0x100), ElementsAre(0x00, 0xff));
}

TEST(DirtyLogTest, SaysAllSmallPagesOfALargeOneThatWasLogged) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, 0x11234, 1);

  EXPECT_THAT(Take(log, 0x10000, 0x2000, 0x400), ElementsAre(0xf0));
}

TEST(DirtyLogTest, SaysALargePageForASmallOneThatWasLogged) {
  DirtyLog log = LogOf(0x200);
  Mark(log, 0x13210, 1);

  EXPECT_THAT(Take(log, 0x10000, 0x8000, 0x1000), ElementsAre(0x08));
}

TEST(DirtyLogTest, CountsPagesFromTheBeginOfTheReport) {
  DirtyLog log = LogOf(0x100);
  Mark(log, 0x1100, 0x100);

  EXPECT_THAT(Take(log, 0x1080, 0x1000, 0x80), ElementsAre(0x06, 0, 0, 0));
}

TEST(DirtyLogTest, KnowsPagesBeyondTheBitsOfAByteAndOfAWord) {
  DirtyLog log = LogOf(0x1000);
  Mark(log, uint64_t{299} << 12, 1);

  const std::vector<uint8_t> bitmap = Take(log, 0, uint64_t{304} << 12, 0x1000);

  EXPECT_EQ(bitmap[37], 1 << 3);
  EXPECT_EQ(std::ranges::count(bitmap, uint8_t{0}), 37);
}

TEST(DirtyLogTest, ReachesBothEndsOfTheAddressSpace) {
  DirtyLog log = LogOf(0x1000);
  log.Mark(Iova{UINT64_MAX}, Iova{UINT64_MAX});
  log.Mark(Iova{0}, Iova{0});
  std::vector<uint8_t> bitmap(8);

  log.Take(Iova{0}, Iova{UINT64_MAX}, uint64_t{1} << 58, bitmap);

  EXPECT_THAT(bitmap, ElementsAre(1, 0, 0, 0, 0, 0, 0, 0x80));
  EXPECT_EQ(log.range_count(), 0u);
}

TEST(DirtyLogTest, TakesTheLargestPageSizeThereIs) {
  DirtyLog log = LogOf(uint64_t{1} << 63);
  Mark(log, 0x1000, 1);
  std::vector<uint8_t> bitmap(1);

  log.Take(Iova{0}, Iova{UINT64_MAX}, uint64_t{1} << 63, bitmap);

  EXPECT_THAT(bitmap, ElementsAre(0x01));
}

TEST(DirtyLogTest, LogsOnlyWithinTheRangesThatWereAskedFor) {
  DirtyLog log = LogOf(0x1000, {{Iova{0x14000}, 0x1000}, {Iova{0x11000}, 0x1000}});
  Mark(log, 0x10000, 0x6000);

  EXPECT_THAT(Take(log, 0x10000, 0x8000, 0x1000), ElementsAre(0x12));
}

TEST(DirtyLogTest, TakesRangesThatOverlapOrTouchForOne) {
  DirtyLog log =
      LogOf(0x1000, {{Iova{0x11000}, 0x2000}, {Iova{0x12000}, 0x2000}, {Iova{0x14000}, 0x1000}});
  Mark(log, 0x10000, 0x8000);

  EXPECT_EQ(log.range_count(), 1u);
  EXPECT_THAT(Take(log, 0x10000, 0x8000, 0x1000), ElementsAre(0x1e));
}

TEST(DirtyLogTest, DoesNotSpeakOfBytesOutsideOfARangeThatEndsWithinAPage) {
  DirtyLog log = LogOf(0x1000, {{Iova{0x10800}, 0x200}});
  Mark(log, 0x10000, 0x100);
  EXPECT_EQ(log.range_count(), 0u);

  Mark(log, 0x10900, 1);

  EXPECT_THAT(Take(log, 0x10000, 0x1000, 0x200), ElementsAre(0x10));
}

TEST(DirtyLogTest, KeepsOneRangeForPagesThatTouch) {
  DirtyLog log = LogOf(1);
  for (uint64_t at = 0; at < 1000; at += 2) Mark(log, at, 1);
  EXPECT_EQ(log.range_count(), 500u);

  for (uint64_t at = 1; at < 1000; at += 2) Mark(log, at, 1);

  EXPECT_EQ(log.range_count(), 1u);
}

// What a report costs: the ranges it meets and the bitmap, however far apart they are. In the
// 2^52 pages of this one something would be left to do for hours otherwise.
TEST(DirtyLogTest, ReportsTheWholeAddressSpaceByWhatIsDirtyInIt) {
  DirtyLog log = LogOf(0x1000);
  for (uint64_t i = 0; i < 1000; ++i) Mark(log, i << 50, 1);
  EXPECT_EQ(log.range_count(), 1000u);
  std::vector<uint8_t> bitmap((1 << 14) / 8);

  log.Take(Iova{0}, Iova{UINT64_MAX}, uint64_t{1} << 50, bitmap);

  EXPECT_THAT(std::span(bitmap).first(125), Each(0xff));
  EXPECT_THAT(std::span(bitmap).subspan(125), Each(0));
}

TEST(DirtyLogTest, BecomesCoarserWhereItWouldOtherwiseGrowWithoutEnd) {
  DirtyLog log({.page_size = 1, .ranges = {}}, 64);
  std::vector<uint64_t> written;
  for (uint64_t i = 0; i < 10000; ++i) {
    written.push_back(i * 37);
    Mark(log, i * 37, 1);
    ASSERT_LE(log.range_count(), 64u);
  }
  EXPECT_GT(log.page_size(), 1u);

  const std::vector<uint8_t> bitmap = Take(log, 0, 10000 * 37, 1);

  for (const uint64_t at : written) EXPECT_EQ(bitmap[at / 8] >> at % 8 & 1, 1) << at;
  EXPECT_EQ(log.page_size(), 1u);
}

TEST(DirtyLogTest, DoesNotGrowByReportsFromWithinARange) {
  DirtyLog log({.page_size = uint64_t{1} << 40, .ranges = {}}, 16);
  log.Mark(Iova{0}, Iova{0});

  for (uint64_t i = 1; i <= 100; ++i) {
    Take(log, 0x10000 * i, 1, 1);
    ASSERT_LE(log.range_count(), 16u);
  }
}

TEST(DirtyLogTest, BecomesFineAgainWhenMostWasTaken) {
  DirtyLog log({.page_size = 1, .ranges = {}}, 64);
  for (uint64_t i = 0; i < 1000; ++i) Mark(log, i << 10, 1);
  Take(log, 0, 1000 << 10, 1 << 10);

  Mark(log, 0x5000, 1);

  EXPECT_THAT(Take(log, 0x5000, 8, 1), ElementsAre(0x01));
}

// Against a set of bytes, which is what a log of pages of one byte means.
TEST(DirtyLogTest, SaysWhatASetOfPagesSays) {
  std::mt19937 random(20260101);
  constexpr uint64_t kSpace = 2048;
  for (int round = 0; round < 40; ++round) {
    const uint64_t log_page = uint64_t{1} << random() % 8;
    DirtyLog log = LogOf(log_page);
    std::set<uint64_t> dirty;
    for (int step = 0; step < 50; ++step) {
      const uint64_t first = random() % kSpace;
      const uint64_t last = first + random() % std::min<uint64_t>(300, kSpace - first);
      if (random() % 3 != 0) {
        log.Mark(Iova{first}, Iova{last});
        const uint64_t end = (last / log_page + 1) * log_page;
        for (uint64_t at = first / log_page * log_page; at < end; ++at) dirty.insert(at);
        continue;
      }
      const uint64_t page = uint64_t{1} << random() % 10;
      std::vector<uint8_t> expected(((last - first) / page) / 8 + 1);
      for (uint64_t at = first; at <= last; ++at) {
        if (dirty.erase(at) > 0) SetBits(expected, (at - first) / page, (at - first) / page);
      }

      ASSERT_EQ(Take(log, first, last - first + 1, page), expected) << round << ' ' << step;
    }
  }
}

}  // namespace
}  // namespace vfio_user
