#include "proto_defs/wire/field_check.h"

#include <cstdint>

#include "gtest/gtest.h"
#include "proto_defs/wire/invalid_argument_matcher.h"

namespace vfio_user {
namespace {

TEST(CheckArgszTest, RejectsLessThanWanted) {
  EXPECT_TRUE(CheckArgsz("DMA_MAP", 32, 32).ok());
  EXPECT_TRUE(CheckArgsz("DMA_MAP", UINT32_MAX, 32).ok());
  EXPECT_THAT(CheckArgsz("DMA_MAP", 31, 32),
              IsInvalidArgument("DMA_MAP: argsz is 31, want at least 32"));
  EXPECT_THAT(CheckArgsz("DMA_MAP", UINT32_MAX, uint64_t{UINT32_MAX} + 1),
              IsInvalidArgument("want at least 4294967296"));
}

TEST(UnknownFlagsTest, SaysBothSets) {
  EXPECT_THAT(UnknownFlags("DMA_MAP", 0x13, 0xf),
              IsInvalidArgument("DMA_MAP: flags are 0x13, want only bits of 0xf"));
}

TEST(CheckNoWrapTest, TakesEverythingUpToTheLastByte) {
  EXPECT_TRUE(CheckNoWrap("M", {"offset", 0, "size", 0}).ok());
  EXPECT_TRUE(CheckNoWrap("M", {"offset", UINT64_MAX, "size", 0}).ok());
  EXPECT_TRUE(CheckNoWrap("M", {"offset", UINT64_MAX, "size", 1}).ok());
  EXPECT_TRUE(CheckNoWrap("M", {"offset", 1, "size", UINT64_MAX}).ok());
}

TEST(CheckNoWrapTest, RejectsWhatPassesIt) {
  EXPECT_THAT(CheckNoWrap("M", {"offset", UINT64_MAX, "size", 2}),
              IsInvalidArgument("M: offset 0xffffffffffffffff with size 0x2 passes 2^64 - 1"));
  EXPECT_THAT(CheckNoWrap("M", {"offset", 2, "size", UINT64_MAX}), IsInvalidArgument("passes"));
}

TEST(CheckRangeTest, RejectsEmptyAndWrapping) {
  EXPECT_TRUE(CheckRange("M", {"address", UINT64_MAX, "size", 1}).ok());
  EXPECT_THAT(CheckRange("M", {"address", 1, "size", 0}),
              IsInvalidArgument("M: size is 0, want at least 1"));
  EXPECT_THAT(CheckRange("M", {"address", UINT64_MAX, "size", 2}), IsInvalidArgument("passes"));
}

TEST(CheckPageSizeTest, TakesPowersOfTwoOnly) {
  for (int bit = 0; bit < 64; ++bit) EXPECT_TRUE(CheckPageSize("M", uint64_t{1} << bit).ok());
  for (const uint64_t size : {uint64_t{0}, uint64_t{3}, uint64_t{4097}, UINT64_MAX}) {
    EXPECT_THAT(CheckPageSize("M", size), IsInvalidArgument("want a power of two")) << size;
  }
}

}  // namespace
}  // namespace vfio_user
