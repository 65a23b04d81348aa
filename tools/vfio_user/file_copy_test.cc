#include "tools/vfio_user/file_copy.h"

#include <optional>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

constexpr size_t kMiB = 1 << 20;

TEST(CopyBufferingTest, IsWhatASmallFileNeeds) {
  const CopyBuffering buffering = CopyBuffering::For(5000);

  EXPECT_EQ(buffering.slots, 1u);
  EXPECT_EQ(buffering.slot_bytes, 5000u);
  EXPECT_EQ(buffering.total_bytes(), 10000u);
}

TEST(CopyBufferingTest, HasASlotForEachPiece) {
  EXPECT_EQ(CopyBuffering::For(16 * kMiB).slots, 1u);
  EXPECT_EQ(CopyBuffering::For(16 * kMiB + 1).slots, 2u);
  EXPECT_EQ(CopyBuffering::For(40 * kMiB).slots, 3u);
}

TEST(CopyBufferingTest, DoesNotGrowWithTheFile) {
  EXPECT_EQ(CopyBuffering::For(100 * kMiB).total_bytes(), 128 * kMiB);
  EXPECT_EQ(CopyBuffering::For(UINT64_MAX).total_bytes(), 128 * kMiB);
}

TEST(CopyBufferingTest, TakesTheMostWhereTheSizeIsNotKnown) {
  EXPECT_EQ(CopyBuffering::For(std::nullopt).total_bytes(), 128 * kMiB);
}

TEST(CopyBufferingTest, TakesAPageForAFileThatSaysThatItIsEmpty) {
  EXPECT_EQ(CopyBuffering::For(0).slots, 1u);
  EXPECT_EQ(CopyBuffering::For(0).slot_bytes, 4096u);
}

}  // namespace
}  // namespace vfio_user
