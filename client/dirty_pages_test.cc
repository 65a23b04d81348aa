#include "client/dirty_pages.h"

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

DirtyPages Clean(uint64_t first, uint64_t length, uint64_t page_size = 0x1000) {
  return *DirtyPages::Create({Iova{first}, length}, page_size);
}

IovaRange Range(uint64_t first, uint64_t length) { return {Iova{first}, length}; }

std::vector<IovaRange> WrittenOf(const DirtyPages& pages) {
  std::vector<IovaRange> written;
  for (const IovaRange& range : pages) written.push_back(range);
  return written;
}

TEST(DirtyPagesTest, CreateRejectsRangesAndPagesThatCannotBe) {
  EXPECT_THAT(DirtyPages::Create(Range(0x1000, 0), 0x1000),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("[0x1000, +0x0) is empty")));
  EXPECT_THAT(DirtyPages::Create(Range(UINT64_MAX, 2), 0x1000),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DirtyPages::Create(Range(0, 1), 0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DirtyPages::Create(Range(0, 1), 0x1001),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0x1001, want a power")));
}

TEST(DirtyPagesTest, CreateRejectsMorePagesThanItHasMemoryFor) {
  EXPECT_THAT(DirtyPages::Create(Range(0, (DirtyPages::kMaxPages << 12) + 1), 0x1000),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("larger pages")));
  EXPECT_THAT(DirtyPages::Create(Range(0, UINT64_MAX), uint64_t{1} << 63), IsOk());
}

TEST(DirtyPagesTest, IsCleanAtFirst) {
  const DirtyPages pages = Clean(0x1000, 0x40001);

  EXPECT_EQ(pages.page_count(), 65u);
  EXPECT_THAT(pages.words(), ElementsAre(0, 0));
  EXPECT_EQ(pages.dirty_count(), 0u);
  EXPECT_THAT(WrittenOf(pages), IsEmpty());
}

TEST(DirtyPagesTest, MarksEachPageOfWhichAByteWasWritten) {
  DirtyPages pages = Clean(0x1005, 0x10000);

  pages.Mark(Range(0x2004, 2));

  EXPECT_EQ(pages.words()[0], 0b11u);
  EXPECT_TRUE(pages.IsDirty(Iova{0x1005}));
  EXPECT_TRUE(pages.IsDirty(Iova{0x3004}));
  EXPECT_FALSE(pages.IsDirty(Iova{0x3005}));
  EXPECT_FALSE(pages.IsDirty(Iova{0x1004}));
  EXPECT_FALSE(pages.IsDirty(Iova{0x11005}));
}

TEST(DirtyPagesTest, LeavesOutWhatIsOutsideItsRange) {
  DirtyPages pages = Clean(0x10000, 0x2000);

  pages.Mark(Range(0xf000, 0x1000));
  pages.Mark(Range(0x12000, 0x1000));
  pages.Mark(Range(0x10000, 0));
  EXPECT_EQ(pages.dirty_count(), 0u);

  pages.Mark(Range(0, UINT64_MAX));
  EXPECT_EQ(pages.words()[0], 0b11u);
}

TEST(DirtyPagesTest, MarksAcrossWords) {
  DirtyPages pages = Clean(0, 200 * 0x1000);

  pages.Mark(Range(63 * 0x1000, 0x1000 * 66));

  EXPECT_THAT(pages.words(), ElementsAre(uint64_t{1} << 63, UINT64_MAX, 1, 0));
  EXPECT_EQ(pages.dirty_count(), 66u);
}

TEST(DirtyPagesTest, ListsWhatWasWrittenInOrderAndJoined) {
  DirtyPages pages = Clean(0x1000, 200 * 0x1000 + 5);
  pages.Mark(Range(0x1000, 1));
  pages.Mark(Range(0x3000, 0x1001));
  pages.Mark(Range(0x1000 + 127 * 0x1000, 0x2000));
  pages.Mark(Range(0x1000 + 200 * 0x1000, 1));

  EXPECT_THAT(WrittenOf(pages), ElementsAre(Range(0x1000, 0x1000), Range(0x3000, 0x2000),
                                            Range(0x80000, 0x2000), Range(0xc9000, 5)));
}

TEST(DirtyPagesTest, EndsWithTheLastAddressThereIs) {
  DirtyPages pages = Clean(UINT64_MAX - 0x17ff, 0x1800);

  pages.Mark(Range(UINT64_MAX, 1));

  EXPECT_TRUE(pages.IsDirty(Iova{UINT64_MAX}));
  EXPECT_THAT(WrittenOf(pages), ElementsAre(Range(UINT64_MAX - 0x7ff, 0x800)));
}

TEST(DirtyPagesTest, ConvertsToLargerAndToSmallerPages) {
  DirtyPages small = Clean(0, 0x8000);
  small.Mark(Range(0x3000, 1));
  DirtyPages large = Clean(0, 0x8000, 0x4000);

  large.Mark(small);
  EXPECT_THAT(WrittenOf(large), ElementsAre(Range(0, 0x4000)));

  DirtyPages again = Clean(0x1000, 0x8000);
  again.Mark(large);
  EXPECT_THAT(WrittenOf(again), ElementsAre(Range(0x1000, 0x3000)));
}

TEST(DirtyPagesTest, ConvertsMoreThan256PagesIntoOne) {
  DirtyPages small = Clean(0, 0x100000 * 2);
  small.Mark(Range(299 * 0x1000, 1));
  DirtyPages large = Clean(0, 0x100000 * 2, 0x100000);

  large.Mark(small);

  EXPECT_THAT(WrittenOf(large), ElementsAre(Range(0x100000, 0x100000)));
}

TEST(DirtyPagesTest, TakesABitmapAndDropsBitsBehindTheLastPage) {
  DirtyPages pages = Clean(0, 67 * 0x1000);

  pages.MarkBitmap(Hex("0100000000000080 0dffffffffffffff"));

  EXPECT_THAT(pages.words(), ElementsAre(0x8000000000000001, 5));
  EXPECT_EQ(pages.dirty_count(), 4u);
}

}  // namespace
}  // namespace vfio_user
