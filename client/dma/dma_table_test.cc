#include "client/dma/dma_table.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

class DmaTableTest : public testing::Test {
 protected:
  DmaMemory Memory(uint64_t size, DmaMapFlags access = kReadWrite) {
    return {.data = bytes_.data(), .size = size, .access = access};
  }

  std::array<std::byte, 0x1000> bytes_ = {};
  DmaTable table_;
};

TEST_F(DmaTableTest, FindsTheMemoryOfAMapping) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  const absl::StatusOr<DmaTable::Use> use = table_.Find(Iova{0x1010}, 0x20, DmaMapFlag::kRead);

  ASSERT_THAT(use, IsOk());
  EXPECT_EQ(use->data(), bytes_.data() + 0x10);
}

TEST_F(DmaTableTest, FindsTheWholeOfAMapping) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  EXPECT_THAT(table_.Find(Iova{0x1000}, 0x100, DmaMapFlag::kWrite), IsOk());
}

TEST_F(DmaTableTest, FindsTheLastByteOfTheAddressSpace) {
  ASSERT_THAT(table_.Insert(Iova{UINT64_MAX - 0xff}, Memory(0x100)), IsOk());

  const absl::StatusOr<DmaTable::Use> use = table_.Find(Iova{UINT64_MAX}, 1, DmaMapFlag::kRead);

  ASSERT_THAT(use, IsOk());
  EXPECT_EQ(use->data(), bytes_.data() + 0xff);
}

TEST_F(DmaTableTest, RejectsWhatIsNotInOneMapping) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());
  ASSERT_THAT(table_.Insert(Iova{0x1100}, Memory(0x100)), IsOk());
  const std::vector<std::pair<uint64_t, uint64_t>> ranges = {
      {0x0fff, 1},                   // Just before.
      {0x1200, 1},                   // Just after.
      {0x0fff, 2},                   // Across the start.
      {0x11ff, 2},                   // Across the end.
      {0x10ff, 2},                   // From one into the next.
      {0x1000, 0x200},               // Both.
      {0x1010, UINT64_MAX},          // Beyond 2^64 - 1.
      {0x1010, UINT64_MAX - 0x100f}  // Up to 2^64 - 1.
  };

  for (const auto& [address, count] : ranges) {
    const absl::StatusOr<DmaTable::Use> use = table_.Find(Iova{address}, count, DmaMapFlag::kRead);

    EXPECT_THAT(use, StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("not in one mapping")))
        << address << " +" << count;
    EXPECT_EQ(ErrnoOf(use.status()), EFAULT);
  }
}

TEST_F(DmaTableTest, RejectsAccessAgainstTheDirection) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100, DmaMapFlag::kRead)), IsOk());
  ASSERT_THAT(table_.Insert(Iova{0x2000}, Memory(0x100, DmaMapFlag::kWrite)), IsOk());

  const absl::Status write = table_.Find(Iova{0x1000}, 1, DmaMapFlag::kWrite).status();
  const absl::Status read = table_.Find(Iova{0x2000}, 1, DmaMapFlag::kRead).status();

  EXPECT_THAT(write, StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(ErrnoOf(write), EACCES);
  EXPECT_THAT(read, StatusIs(absl::StatusCode::kPermissionDenied));
}

TEST_F(DmaTableTest, InsertRejectsOverlapOfASingleByteAndNamesBothRanges) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  EXPECT_THAT(table_.Insert(Iova{0x10ff}, Memory(0x10)),
              StatusIs(absl::StatusCode::kAlreadyExists,
                       HasSubstr("[0x10ff, +0x10) overlaps [0x1000, +0x100)")));
  EXPECT_THAT(table_.Insert(Iova{0x0ff1}, Memory(0x10)),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(table_.Insert(Iova{0x0f00}, Memory(0x800)),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)),
              StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(DmaTableTest, InsertTakesAdjoiningRanges) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  EXPECT_THAT(table_.Insert(Iova{0x1100}, Memory(0x100)), IsOk());
  EXPECT_THAT(table_.Insert(Iova{0x0f00}, Memory(0x100)), IsOk());
}

TEST_F(DmaTableTest, InsertRejectsRangesThatAreEmptyOrWrap) {
  EXPECT_THAT(table_.Insert(Iova{0x1000}, Memory(0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 bytes")));
  EXPECT_THAT(table_.Insert(Iova{UINT64_MAX}, Memory(2)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("passes 2^64 - 1")));
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(DmaTableTest, InsertInTakesTheLowestFreeAddress) {
  const IovaWindow window = {.first = Iova{0x10000}, .length = 0x10000};
  ASSERT_THAT(table_.Insert(Iova{0x11800}, Memory(0x100)), IsOk());

  EXPECT_THAT(table_.InsertIn(window, Memory(0x1000)), IsOkAndHolds(Iova{0x10000}));
  // 0x11000 is free, and too short before 0x11800.
  EXPECT_THAT(table_.InsertIn(window, Memory(0x1000)), IsOkAndHolds(Iova{0x12000}));
  EXPECT_THAT(table_.InsertIn(window, Memory(0x800)), IsOkAndHolds(Iova{0x11000}));
}

TEST_F(DmaTableTest, InsertInAlignsWhatItChooses) {
  const IovaWindow window = {.first = Iova{0x10001}, .length = 0x10000, .alignment = 0x100};

  EXPECT_THAT(table_.InsertIn(window, Memory(1)), IsOkAndHolds(Iova{0x10100}));
  EXPECT_THAT(table_.InsertIn(window, Memory(1)), IsOkAndHolds(Iova{0x10200}));
}

TEST_F(DmaTableTest, InsertInSeesAMappingThatBeganBeforeTheWindow) {
  ASSERT_THAT(table_.Insert(Iova{0x800}, Memory(0x1000)), IsOk());

  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = 0x2000, .alignment = 1}, Memory(1)),
              IsOkAndHolds(Iova{0x1800}));
}

TEST_F(DmaTableTest, InsertInFillsAWindowToItsLastByte) {
  const IovaWindow window = {.first = Iova{UINT64_MAX - 1}, .length = 2, .alignment = 1};

  EXPECT_THAT(table_.InsertIn(window, Memory(1)), IsOkAndHolds(Iova{UINT64_MAX - 1}));
  EXPECT_THAT(table_.InsertIn(window, Memory(1)), IsOkAndHolds(Iova{UINT64_MAX}));
  EXPECT_THAT(table_.InsertIn(window, Memory(1)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("no room for 0x1 bytes")));
}

TEST_F(DmaTableTest, InsertInRefusesWhatDoesNotFitTheWindow) {
  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = 0xfff}, Memory(0x1000)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  // Nothing above it is aligned.
  EXPECT_THAT(table_.InsertIn({.first = Iova{UINT64_MAX}, .length = 1}, Memory(1)),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

// The first address of the window, aligned, at which nothing overlaps.
uint64_t LowestBySearching(const std::map<uint64_t, uint64_t>& taken, const IovaWindow& window,
                           uint64_t size) {
  for (uint64_t at = ToU64(window.first);; at += window.alignment) {
    const bool overlaps = std::ranges::any_of(taken, [&](const auto& one) {
      return one.first < at + size && at < one.first + one.second;
    });
    if (!overlaps) return at;
  }
}

TEST_F(DmaTableTest, InsertInTakesTheLowestAddressWhateverCameAndWent) {
  const std::array windows = {
      IovaWindow{.first = Iova{0x1000}, .length = 0x10000, .alignment = 16},
      IovaWindow{.first = Iova{0x1800}, .length = 0x10000, .alignment = 64}};
  std::map<uint64_t, uint64_t> taken;  // Address and size.
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    if (taken.size() > 60 || (!taken.empty() && random() % 3 == 0)) {
      const auto victim = std::next(taken.begin(), static_cast<long>(random() % taken.size()));
      table_.Erase(Iova{victim->first});
      taken.erase(victim);
      continue;
    }
    const IovaWindow& window = windows[random() % 8 == 0];
    const uint64_t size = 1 + random() % 200;
    const uint64_t want = LowestBySearching(taken, window, size);

    const absl::StatusOr<Iova> got = table_.InsertIn(window, Memory(size));

    ASSERT_THAT(got, IsOkAndHolds(Iova{want})) << "step " << i;
    taken.emplace(want, size);
  }
}

TEST_F(DmaTableTest, InsertInRejectsWindowsThatAreNone) {
  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = 0}, Memory(1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("window")));
  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = UINT64_MAX}, Memory(1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("window")));
  EXPECT_THAT(
      table_.InsertIn({.first = Iova{0x1000}, .length = 0x1000, .alignment = 24}, Memory(1)),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("want a power of two")));
  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = 0x1000, .alignment = 0}, Memory(1)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("want a power of two")));
  EXPECT_THAT(table_.InsertIn({.first = Iova{0x1000}, .length = 0x1000}, Memory(0)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 bytes")));
}

TEST_F(DmaTableTest, EraseFreesTheRange) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  table_.Erase(Iova{0x1000});

  EXPECT_THAT(table_.Find(Iova{0x1000}, 1, DmaMapFlag::kRead),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());
}

TEST_F(DmaTableTest, EraseOfWhatIsNotThereDoesNothing) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());

  table_.Erase(Iova{0x1001});

  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(DmaTableTest, EraseWaitsForTheLastUseAndLetsNoNewOneBegin) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());
  absl::StatusOr<DmaTable::Use> found = table_.Find(Iova{0x1000}, 1, DmaMapFlag::kRead);
  ASSERT_THAT(found, IsOk());
  std::optional<DmaTable::Use> use(*std::move(found));
  std::atomic<bool> erased = false;

  std::thread eraser([&] {
    table_.Erase(Iova{0x1000});
    erased = true;
  });
  // Once the eraser has come that far, nobody finds the mapping.
  while (table_.Find(Iova{0x1000}, 1, DmaMapFlag::kRead).ok()) std::this_thread::yield();
  const bool erased_while_used = erased;
  use.reset();
  eraser.join();

  EXPECT_FALSE(erased_while_used);
  EXPECT_TRUE(erased);
  EXPECT_EQ(table_.size(), 0u);
}

TEST_F(DmaTableTest, UsesOfOtherMappingsDoNotHoldUpErase) {
  ASSERT_THAT(table_.Insert(Iova{0x1000}, Memory(0x100)), IsOk());
  ASSERT_THAT(table_.Insert(Iova{0x2000}, Memory(0x100)), IsOk());
  const absl::StatusOr<DmaTable::Use> use = table_.Find(Iova{0x1000}, 1, DmaMapFlag::kRead);
  ASSERT_THAT(use, IsOk());

  table_.Erase(Iova{0x2000});

  EXPECT_EQ(table_.size(), 1u);
}

TEST_F(DmaTableTest, ManyThreadsInsertUseAndErase) {
  const auto work = [&](uint64_t base) {
    for (int i = 0; i < 200; ++i) {
      const Iova iova{base + static_cast<uint64_t>(i % 7) * 0x1000};
      ASSERT_THAT(table_.Insert(iova, Memory(0x1000)), IsOk());
      ASSERT_THAT(table_.Find(iova, 0x1000, DmaMapFlag::kWrite), IsOk());
      table_.Erase(iova);
    }
  };

  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) threads.emplace_back(work, i << 32);
  for (std::thread& thread : threads) thread.join();

  EXPECT_EQ(table_.size(), 0u);
}

}  // namespace
}  // namespace vfio_user
