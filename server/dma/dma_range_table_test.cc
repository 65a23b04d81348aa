#include "server/dma/dma_range_table.h"

#include <cstdint>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::Eq;
using testing::IsNull;
using testing::NotNull;
using testing::Optional;

using Table = DmaRangeTable<int>;

TEST(DmaRangeTableTest, FindsTheRangeOfEveryAddressInIt) {
  Table table;
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));
  ASSERT_TRUE(table.Insert({Iova{0x3000}, Iova{0x3fff}, 3}));

  EXPECT_THAT(table.Find(Iova{0xfff}), IsNull());
  EXPECT_THAT(table.Find(Iova{0x2000}), IsNull());
  EXPECT_THAT(table.Find(Iova{0x4000}), IsNull());
  for (const uint64_t address : {uint64_t{0x1000}, uint64_t{0x1abc}, uint64_t{0x1fff}}) {
    ASSERT_THAT(table.Find(Iova{address}), NotNull()) << address;
    EXPECT_EQ(table.Find(Iova{address})->value, 1);
  }
  ASSERT_THAT(table.Find(Iova{0x3000}), NotNull());
  EXPECT_EQ(table.Find(Iova{0x3000})->first, Iova{0x3000});
  EXPECT_EQ(table.Find(Iova{0x3000})->last, Iova{0x3fff});
}

TEST(DmaRangeTableTest, TakesBothEndsOfTheAddressSpace) {
  Table table;

  EXPECT_TRUE(table.Insert({Iova{0}, Iova{0}, 0}));
  EXPECT_TRUE(table.Insert({Iova{UINT64_MAX}, Iova{UINT64_MAX}, 9}));
  EXPECT_TRUE(table.Insert({Iova{1}, Iova{UINT64_MAX - 1}, 5}));

  EXPECT_EQ(table.Find(Iova{0})->value, 0);
  EXPECT_EQ(table.Find(Iova{UINT64_MAX - 1})->value, 5);
  EXPECT_EQ(table.Find(Iova{UINT64_MAX})->value, 9);
}

TEST(DmaRangeTableTest, RejectsOverlapOfASingleByte) {
  Table table;
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));

  EXPECT_FALSE(table.Insert({Iova{0x800}, Iova{0x1000}, 2}));
  EXPECT_FALSE(table.Insert({Iova{0x1fff}, Iova{0x2fff}, 2}));
  EXPECT_FALSE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 2}));
  EXPECT_FALSE(table.Insert({Iova{0x1800}, Iova{0x1800}, 2}));
  EXPECT_FALSE(table.Insert({Iova{0}, Iova{UINT64_MAX}, 2}));

  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.Find(Iova{0x1000})->value, 1);
}

TEST(DmaRangeTableTest, TakesNeighbours) {
  Table table;
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));

  EXPECT_TRUE(table.Insert({Iova{0xfff}, Iova{0xfff}, 0}));
  EXPECT_TRUE(table.Insert({Iova{0x2000}, Iova{0x2000}, 2}));

  EXPECT_EQ(table.Find(Iova{0x1fff})->value, 1);
  EXPECT_EQ(table.Find(Iova{0x2000})->value, 2);
}

TEST(DmaRangeTableTest, RemovesOnlyWhatMatchesExactly) {
  Table table;
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));
  ASSERT_TRUE(table.Insert({Iova{0x2000}, Iova{0x2fff}, 2}));

  EXPECT_THAT(table.Remove(Iova{0x1000}, Iova{0x1ffe}), Eq(std::nullopt));
  EXPECT_THAT(table.Remove(Iova{0x1001}, Iova{0x1fff}), Eq(std::nullopt));
  EXPECT_THAT(table.Remove(Iova{0x1000}, Iova{0x2fff}), Eq(std::nullopt));
  EXPECT_THAT(table.Remove(Iova{0x1000}, Iova{0x1fff}), Optional(1));
  EXPECT_THAT(table.Remove(Iova{0x1000}, Iova{0x1fff}), Eq(std::nullopt));

  EXPECT_EQ(table.size(), 1u);
  EXPECT_THAT(table.Find(Iova{0x1800}), IsNull());
}

TEST(DmaRangeTableTest, FindsNothingThatWasThereBefore) {
  Table table;
  Table::Recent recent;
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));
  ASSERT_EQ(table.Find(Iova{0x1800}, recent)->value, 1);

  ASSERT_THAT(table.Remove(Iova{0x1000}, Iova{0x1fff}), Optional(1));
  EXPECT_THAT(table.Find(Iova{0x1800}, recent), IsNull());

  ASSERT_TRUE(table.Insert({Iova{0x1800}, Iova{0x18ff}, 2}));
  EXPECT_EQ(table.Find(Iova{0x1800}, recent)->value, 2);
  ASSERT_THAT(table.RemoveAll(), ElementsAre(2));
  EXPECT_THAT(table.Find(Iova{0x1800}, recent), IsNull());
}

TEST(DmaRangeTableTest, FindsAmongMany) {
  Table table;
  Table::Recent recent;
  for (int i = 0; i < 5000; ++i) {
    const uint64_t first = uint64_t{0x100} * static_cast<uint64_t>((i * 7) % 5000);
    ASSERT_TRUE(table.Insert({Iova{first}, Iova{first + 0x7f}, (i * 7) % 5000}));
    ASSERT_EQ(table.Find(Iova{first + 5}, recent)->value, (i * 7) % 5000);
  }

  for (uint64_t i = 0; i < 5000; ++i) {
    ASSERT_THAT(table.Find(Iova{0x100 * i + 0x7f}, recent), NotNull());
    EXPECT_EQ(table.Find(Iova{0x100 * i + 0x7f}, recent)->value, static_cast<int>(i));
    EXPECT_THAT(table.Find(Iova{0x100 * i + 0x80}, recent), IsNull());
  }
}

TEST(DmaRangeTableTest, GivesEverythingAway) {
  Table table;
  ASSERT_TRUE(table.Insert({Iova{0x2000}, Iova{0x2fff}, 2}));
  ASSERT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));

  EXPECT_THAT(table.RemoveAll(), ElementsAre(1, 2));

  EXPECT_EQ(table.size(), 0u);
  EXPECT_TRUE(table.Insert({Iova{0x1000}, Iova{0x1fff}, 1}));
}

}  // namespace
}  // namespace vfio_user
