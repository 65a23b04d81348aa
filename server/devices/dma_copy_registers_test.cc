#include "server/devices/dma_copy_registers.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::Optional;

constexpr uint64_t kStatus = 0x08;
constexpr uint64_t kRingIova = 0x10;
constexpr uint64_t kRingEntries = 0x18;
constexpr uint64_t kDoorbell = 0x1c;
constexpr uint64_t kConsumer = 0x20;
constexpr uint64_t kKick = 0x28;

class DmaCopyRegistersTest : public testing::Test {
 protected:
  uint64_t Read(uint64_t offset, size_t bytes = 4) const {
    uint64_t value = 0;
    EXPECT_THAT(registers_.Read(offset, std::as_writable_bytes(std::span(&value, 1)).first(bytes)),
                IsOk());
    return value;
  }
  absl::Status Write(uint64_t offset, uint64_t value, size_t bytes = 4) {
    return registers_.Write(offset, std::as_bytes(std::span(&value, 1)).first(bytes));
  }

  void SetUpRing(uint64_t iova, uint32_t entries) {
    ASSERT_THAT(Write(kRingIova, iova, 8), IsOk());
    ASSERT_THAT(Write(kRingEntries, entries), IsOk());
  }
  void RunAll() {
    while (registers_.NextDescriptor().has_value()) registers_.Advance();
  }

  DmaCopyRegisters registers_;
};

TEST_F(DmaCopyRegistersTest, ShowsMagicAndRevision) {
  EXPECT_EQ(Read(0x00), 0x59504344u);
  EXPECT_EQ(Read(0x04), 1u);
  EXPECT_EQ(Read(0x00, 8), 0x1'59504344u);
}

TEST_F(DmaCopyRegistersTest, IsIdleAndZeroAtFirst) {
  for (uint64_t offset = 0x08; offset < 0x1000; offset += 4) EXPECT_EQ(Read(offset), 0u) << offset;
  EXPECT_FALSE(registers_.busy());
  EXPECT_EQ(registers_.NextDescriptor(), std::nullopt);
}

TEST_F(DmaCopyRegistersTest, IgnoresWritesToWhatIsReadOnlyOrNotThere) {
  for (const uint64_t offset : {0x00u, 0x04u, 0x08u, 0x0cu, 0x20u, 0x24u, 0xffcu}) {
    const uint64_t before = Read(offset);

    EXPECT_THAT(Write(offset, 0xffffffff), IsOk());

    EXPECT_EQ(Read(offset), before) << offset;
  }
}

TEST_F(DmaCopyRegistersTest, RefusesAccessesOfOtherShapes) {
  struct Shape {
    uint64_t offset;
    size_t bytes;
  };
  for (const Shape shape : {Shape{0, 1}, Shape{0, 2}, Shape{0, 3}, Shape{0, 5}, Shape{0, 7},
                            Shape{2, 4}, Shape{4, 8}, Shape{1, 8}, Shape{0x1c, 8}}) {
    std::vector<std::byte> data(shape.bytes);
    EXPECT_THAT(registers_.Read(shape.offset, data), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(registers_.Write(shape.offset, data), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  std::vector<std::byte> long_data(16);
  EXPECT_THAT(registers_.Read(0, long_data), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DmaCopyRegistersTest, KeepsTheRingsPlaceWholeAndInHalves) {
  ASSERT_THAT(Write(kRingIova, 0x1122334455667788, 8), IsOk());
  EXPECT_EQ(Read(kRingIova, 8), 0x1122334455667788u);

  ASSERT_THAT(Write(kRingIova, 0xaabbccd0), IsOk());
  EXPECT_EQ(Read(kRingIova, 8), 0x11223344aabbccd0u);

  ASSERT_THAT(Write(kRingIova + 4, 0x99), IsOk());
  EXPECT_EQ(Read(kRingIova, 8), 0x99aabbccd0u);
}

TEST_F(DmaCopyRegistersTest, TakesARingOfAnyAlignment) {
  EXPECT_THAT(Write(kRingIova, 0x1003, 8), IsOk());
  EXPECT_EQ(Read(kRingIova, 8), 0x1003u);
}

TEST_F(DmaCopyRegistersTest, TakesPowersOfTwoFrom2To4096AsEntries) {
  for (uint32_t entries = 2; entries <= 4096; entries *= 2) {
    EXPECT_THAT(Write(kRingEntries, entries), IsOk());
    EXPECT_EQ(Read(kRingEntries), entries);
  }
  for (const uint32_t entries : {0u, 1u, 3u, 4095u, 4097u, 8192u, 0x80000000u}) {
    EXPECT_THAT(Write(kRingEntries, entries), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_EQ(Read(kRingEntries), 4096u);
}

TEST_F(DmaCopyRegistersTest, IsBusyFromTheDoorbellToTheLastDescriptor) {
  SetUpRing(0x10000, 4);

  ASSERT_THAT(Write(kDoorbell, 2), IsOk());

  EXPECT_EQ(Read(kStatus), 1u);
  EXPECT_THAT(registers_.NextDescriptor(), Optional(Eq(Iova{0x10000})));
  registers_.Advance();
  EXPECT_EQ(Read(kStatus), 1u);
  EXPECT_EQ(Read(kConsumer), 1u);
  EXPECT_THAT(registers_.NextDescriptor(), Optional(Eq(Iova{0x10040})));
  registers_.Advance();
  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kConsumer), 2u);
  EXPECT_EQ(registers_.NextDescriptor(), std::nullopt);
}

TEST_F(DmaCopyRegistersTest, GoesRoundTheRing) {
  SetUpRing(0x10000, 2);
  ASSERT_THAT(Write(kDoorbell, 2), IsOk());
  RunAll();

  ASSERT_THAT(Write(kDoorbell, 4), IsOk());

  EXPECT_THAT(registers_.NextDescriptor(), Optional(Eq(Iova{0x10000})));
  registers_.Advance();
  EXPECT_THAT(registers_.NextDescriptor(), Optional(Eq(Iova{0x10040})));
}

TEST_F(DmaCopyRegistersTest, LetsIndexesWrapAfter32Bits) {
  registers_ = DmaCopyRegisters(/*first_index=*/0xfffffffe);
  SetUpRing(0x10000, 4);

  ASSERT_THAT(Write(kDoorbell, 2), IsOk());

  const uint64_t entries[] = {0x10080, 0x100c0, 0x10000, 0x10040};
  for (const uint64_t entry : entries) {
    EXPECT_THAT(registers_.NextDescriptor(), Optional(Eq(Iova{entry})));
    registers_.Advance();
  }
  EXPECT_FALSE(registers_.busy());
  EXPECT_EQ(Read(kConsumer), 2u);
  EXPECT_THAT(Write(kDoorbell, 7), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DmaCopyRegistersTest, ADoorbellWhileBusyAddsToWhatIsToBeRun) {
  SetUpRing(0x10000, 4);
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  ASSERT_THAT(Write(kDoorbell, 3), IsOk());

  EXPECT_EQ(Read(kDoorbell), 3u);
  RunAll();
  EXPECT_EQ(Read(kConsumer), 3u);
}

TEST_F(DmaCopyRegistersTest, IgnoresTheRingWhileBusy) {
  SetUpRing(0x10000, 4);
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  EXPECT_THAT(Write(kRingIova, 0x20000, 8), IsOk());
  EXPECT_THAT(Write(kRingEntries, 8), IsOk());

  EXPECT_EQ(Read(kRingIova, 8), 0x10000u);
  EXPECT_EQ(Read(kRingEntries), 4u);
  RunAll();
  EXPECT_THAT(Write(kRingEntries, 8), IsOk());
  EXPECT_EQ(Read(kRingEntries), 8u);
}

TEST_F(DmaCopyRegistersTest, RefusesADoorbellThatCannotBe) {
  EXPECT_THAT(Write(kDoorbell, 1), StatusIs(absl::StatusCode::kInvalidArgument));

  SetUpRing(0x10000, 4);
  EXPECT_THAT(Write(kDoorbell, 5), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Write(kDoorbell, 0xffffffff), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Read(kStatus), 0u);

  ASSERT_THAT(Write(kDoorbell, 3), IsOk());
  EXPECT_THAT(Write(kDoorbell, 2), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Read(kDoorbell), 3u);

  RunAll();
  SetUpRing(0xffffffffffffff00, 8);
  EXPECT_THAT(Write(kDoorbell, 4), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(DmaCopyRegistersTest, TakesEntriesAndDoorbellAtOnceOrNeither) {
  ASSERT_THAT(Write(kRingIova, 0x10000, 8), IsOk());

  EXPECT_THAT(Write(kRingEntries, (uint64_t{9} << 32) | 8, 8),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(Read(kRingEntries), 0u);

  EXPECT_THAT(Write(kRingEntries, (uint64_t{8} << 32) | 8, 8), IsOk());
  EXPECT_EQ(Read(kRingEntries), 8u);
  EXPECT_TRUE(registers_.busy());
}

TEST_F(DmaCopyRegistersTest, AddsToTheDoorbellByAKick) {
  SetUpRing(0x10000, 4);

  ASSERT_THAT(Write(kKick, 1), IsOk());
  ASSERT_THAT(Write(kKick, 2), IsOk());
  ASSERT_THAT(registers_.Kick(1), IsOk());
  ASSERT_THAT(Write(kKick, 0), IsOk());

  EXPECT_EQ(Read(kDoorbell), 4u);
  EXPECT_EQ(Read(kKick), 0u);
}

TEST_F(DmaCopyRegistersTest, RefusesAKickForMoreThanTheRingHasRoomFor) {
  EXPECT_THAT(Write(kKick, 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Write(kKick, 0), StatusIs(absl::StatusCode::kInvalidArgument));
  SetUpRing(0x10000, 4);
  ASSERT_THAT(Write(kKick, 2), IsOk());

  EXPECT_THAT(Write(kKick, 3), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Write(kKick, 0xffffffff), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(registers_.Kick(3), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(registers_.Kick((uint64_t{1} << 32) + 1),
              StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_EQ(Read(kDoorbell), 2u);
}

TEST_F(DmaCopyRegistersTest, ComesBackFromItsStateAsItWas) {
  registers_ = DmaCopyRegisters(/*first_index=*/0xfffffffe);
  SetUpRing(0x12345678'9abcdef0, 8);
  ASSERT_THAT(Write(kDoorbell, 3), IsOk());
  const std::vector<uint8_t> state = Serialize(registers_);
  EXPECT_THAT(state, ElementsAre(0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12,  //
                                 8, 0, 0, 0, 3, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff));
  WireReader in(state);

  const auto back = DmaCopyRegisters::Parse(in);

  ASSERT_THAT(back, IsOk());
  EXPECT_EQ(Serialize(*back), state);
  EXPECT_TRUE(back->busy());
  EXPECT_EQ(back->NextDescriptor(), registers_.NextDescriptor());
}

TEST_F(DmaCopyRegistersTest, RefusesAStateThatWritesCannotBringAbout) {
  struct State {
    uint64_t iova;
    uint32_t entries, producer, consumer;
  };
  for (const State& state : {State{0, 3, 0, 0}, State{0, 8192, 0, 0}, State{0, 0, 1, 0},
                             State{0, 8, 9, 0}, State{0, 8, 0, 1}, State{UINT64_MAX, 8, 1, 0}}) {
    std::vector<uint8_t> bytes;
    WireWriter out(bytes);
    out.Write<uint64_t>(state.iova);
    out.Write<uint32_t>(state.entries);
    out.Write<uint32_t>(state.producer);
    out.Write<uint32_t>(state.consumer);
    WireReader in(bytes);

    EXPECT_THAT(DmaCopyRegisters::Parse(in), StatusIs(absl::StatusCode::kInvalidArgument))
        << state.entries << ' ' << state.producer;
  }
}

}  // namespace
}  // namespace vfio_user
