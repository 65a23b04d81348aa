#include "server/devices/edu_registers.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {
namespace {

using ::testing::Each;

constexpr uint64_t kLiveness = 0x04;
constexpr uint64_t kFactorial = 0x08;
constexpr uint64_t kStatus = 0x20;
constexpr uint64_t kInterruptStatus = 0x24;
constexpr uint64_t kRaise = 0x60;
constexpr uint64_t kAcknowledge = 0x64;
constexpr uint64_t kSource = 0x80;
constexpr uint64_t kDestination = 0x88;
constexpr uint64_t kCount = 0x90;
constexpr uint64_t kCommand = 0x98;

class EduRegistersTest : public testing::Test {
 protected:
  uint64_t Read(uint64_t offset, size_t bytes = 4) const {
    uint64_t value = 0;
    registers_.Read(offset, std::as_writable_bytes(std::span(&value, 1)).first(bytes));
    return value;
  }
  void Write(uint64_t offset, uint64_t value, size_t bytes = 4) {
    registers_.Write(offset, std::as_bytes(std::span(&value, 1)).first(bytes));
  }
  void StartTransfer(uint64_t source, uint64_t destination, uint64_t count, uint64_t command) {
    Write(kSource, source, 8);
    Write(kDestination, destination, 8);
    Write(kCount, count, 8);
    Write(kCommand, command, 8);
  }

  EduRegisters registers_{EduRegisters::kUsualDmaMask};
};

TEST_F(EduRegistersTest, IdentifiesItself) { EXPECT_EQ(Read(0), 0x010000edu); }

TEST_F(EduRegistersTest, InvertsWhatIsWrittenToLiveness) {
  Write(kLiveness, 0x12345678);

  EXPECT_EQ(Read(kLiveness), 0xedcba987u);
}

TEST_F(EduRegistersTest, ReadsAllOnesWhereThereIsNoRegisterAndInOtherLengths) {
  for (const uint64_t offset : {0x0cu, 0x1cu, 0x28u, 0x60u, 0x64u, 0x68u, 0x7cu, 0x84u, 0x9cu,
                                0xa0u, 0x40000u, 0xffffcu, 0x02u, 0x22u, 0x86u}) {
    EXPECT_EQ(Read(offset), 0xffffffffu) << offset;
  }
  for (const size_t bytes : {1u, 2u, 3u, 5u, 8u, 16u}) {
    std::vector<std::byte> data(bytes);
    registers_.Read(0, data);
    EXPECT_THAT(data, Each(std::byte{0xff})) << bytes;
  }
  for (const size_t bytes : {1u, 2u, 3u, 5u, 16u}) {
    std::vector<std::byte> data(bytes);
    registers_.Read(kSource, data);
    EXPECT_THAT(data, Each(std::byte{0xff})) << bytes;
  }
  EXPECT_EQ(Read(0x7c, 8), UINT64_MAX);
}

TEST_F(EduRegistersTest, IgnoresWritesOfOtherLengthsAndToWhatIsReadOnly) {
  const EduRegisters::State before = registers_.state();
  for (const uint64_t offset :
       {kLiveness, kFactorial, kStatus, kRaise, kSource, kDestination, kCount, kCommand}) {
    for (const size_t bytes : {1u, 2u, 3u, 5u}) Write(offset, 0xff, bytes);
  }
  for (const uint64_t offset : {kLiveness, kFactorial, kStatus, kRaise}) Write(offset, 0xff, 8);
  registers_.Write(kSource, std::vector<std::byte>(16, std::byte{1}));
  for (const uint64_t offset : {0x00u, 0x24u, 0x0cu, 0x84u, 0x40000u}) Write(offset, 0xff);

  EXPECT_EQ(registers_.state(), before);
}

TEST_F(EduRegistersTest, ShowsTheNumberUntilItsFactorialIsThere) {
  Write(kFactorial, 5);

  EXPECT_TRUE(registers_.computing());
  EXPECT_EQ(Read(kStatus), 1u);
  EXPECT_EQ(Read(kFactorial), 5u);
  EXPECT_EQ(registers_.factorial(), 5u);

  registers_.FinishFactorial(120);
  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kFactorial), 120u);
  EXPECT_FALSE(registers_.raised());
}

TEST_F(EduRegistersTest, TakesNoOtherNumberWhileComputing) {
  Write(kFactorial, 5);
  Write(kFactorial, 6);

  EXPECT_EQ(Read(kFactorial), 5u);
}

TEST_F(EduRegistersTest, TakesOnlyBit7OfStatus) {
  Write(kStatus, 0xffffffff);
  EXPECT_EQ(Read(kStatus), 0x80u);
  EXPECT_FALSE(registers_.computing());

  Write(kFactorial, 1);
  Write(kStatus, 0);
  EXPECT_EQ(Read(kStatus), 1u);
}

TEST_F(EduRegistersTest, RaisesWhenTheFactorialIsDoneAndThatWasAskedFor) {
  Write(kFactorial, 5);
  Write(kStatus, 0x80);

  registers_.FinishFactorial(120);

  EXPECT_EQ(Read(kInterruptStatus), 1u);
  EXPECT_TRUE(registers_.TakeRaised());
  EXPECT_FALSE(registers_.TakeRaised());
}

TEST_F(EduRegistersTest, KeepsWhatIsRaisedUntilItIsAcknowledged) {
  Write(kRaise, 0x5);
  Write(kRaise, 0x10);
  EXPECT_EQ(Read(kInterruptStatus), 0x15u);
  EXPECT_TRUE(registers_.TakeRaised());

  Write(kAcknowledge, 0x4);
  EXPECT_EQ(Read(kInterruptStatus), 0x11u);
  EXPECT_TRUE(registers_.interrupting());

  Write(kAcknowledge, 0xffffffff);
  EXPECT_EQ(Read(kInterruptStatus), 0u);
  EXPECT_FALSE(registers_.interrupting());
  EXPECT_FALSE(registers_.raised());
}

TEST_F(EduRegistersTest, RaisesNothingByRaising0WhenNothingIsRaised) {
  Write(kRaise, 0);
  EXPECT_FALSE(registers_.raised());

  Write(kRaise, 1);
  EXPECT_TRUE(registers_.TakeRaised());
  Write(kRaise, 0);
  EXPECT_TRUE(registers_.TakeRaised());
}

TEST_F(EduRegistersTest, TakesItsDmaRegistersIn8BytesOr4) {
  for (const uint64_t offset : {kSource, kDestination, kCount}) {
    Write(offset, 0x1122334455667788, 8);
    EXPECT_EQ(Read(offset, 8), 0x1122334455667788u);
    EXPECT_EQ(Read(offset), 0x55667788u);

    Write(offset, 0x99aabbcc);
    EXPECT_EQ(Read(offset, 8), 0x99aabbccu);
  }
}

TEST_F(EduRegistersTest, IgnoresACommandThatDoesNotStart) {
  Write(kCommand, 6, 8);

  EXPECT_EQ(Read(kCommand, 8), 0u);
  EXPECT_FALSE(registers_.transferring());
}

TEST_F(EduRegistersTest, DescribesATransferIntoItsBuffer) {
  StartTransfer(0x1234, 0x40010, 0x20, 1);

  ASSERT_TRUE(registers_.transferring());
  const EduTransfer transfer = registers_.transfer();
  EXPECT_FALSE(transfer.to_memory);
  EXPECT_EQ(transfer.memory, Iova{0x1234});
  EXPECT_EQ(transfer.buffer_offset, 0x10u);
  EXPECT_EQ(transfer.bytes, 0x20u);
}

TEST_F(EduRegistersTest, DescribesATransferOutOfItsBuffer) {
  StartTransfer(0x40000, 0x5678, 4096, 3);

  const EduTransfer transfer = registers_.transfer();
  EXPECT_TRUE(transfer.to_memory);
  EXPECT_EQ(transfer.memory, Iova{0x5678});
  EXPECT_EQ(transfer.buffer_offset, 0u);
  EXPECT_EQ(transfer.bytes, 4096u);
}

TEST_F(EduRegistersTest, CutsTheAddressInMemoryToTheDmaMask) {
  StartTransfer(0x40000, 0xffff'ffff'f000'1000, 4, 3);
  EXPECT_EQ(registers_.transfer().memory, Iova{0x1000});

  EduRegisters all_bits(UINT64_MAX);
  all_bits.Restore(registers_.state());
  EXPECT_EQ(all_bits.transfer().memory, Iova{0xffff'ffff'f000'1000});
}

TEST_F(EduRegistersTest, MovesNothingThatIsNotWhollyInItsBuffer) {
  struct Range {
    uint64_t address;
    uint64_t count;
  };
  for (const Range range :
       {Range{0x3ffff, 1}, Range{0x40001, 4096}, Range{0x41000, 1}, Range{0x41001, 0},
        Range{0x40000, 4097}, Range{0, 4}, Range{0x40000, UINT64_MAX}, Range{UINT64_MAX, 2},
        Range{0x40fff, UINT64_MAX - 0x40ffe}}) {
    for (const uint64_t command : {1u, 3u}) {
      registers_.Reset();
      StartTransfer(range.address, range.address, range.count, command);

      EXPECT_EQ(registers_.transfer().bytes, 0u) << range.address << " + " << range.count;
      EXPECT_LE(registers_.transfer().buffer_offset, 4096u);
    }
  }
}

TEST_F(EduRegistersTest, IgnoresItsDmaRegistersWhileATransferRuns) {
  StartTransfer(1, 0x40000, 2, 1);
  const EduRegisters::State before = registers_.state();

  StartTransfer(5, 6, 7, 3);

  EXPECT_EQ(registers_.state(), before);
  Write(kLiveness, 0);
  EXPECT_EQ(Read(kLiveness), 0xffffffffu);
}

TEST_F(EduRegistersTest, EndsATransferWithTheInterruptThatWasAskedFor) {
  StartTransfer(1, 0x40000, 2, 1);
  registers_.FinishTransfer();
  EXPECT_EQ(Read(kCommand, 8), 0u);
  EXPECT_FALSE(registers_.raised());

  StartTransfer(1, 0x40000, 2, 7);
  registers_.FinishTransfer();
  EXPECT_EQ(Read(kCommand, 8), 6u);
  EXPECT_EQ(Read(kInterruptStatus), 0x100u);
  EXPECT_TRUE(registers_.TakeRaised());
}

TEST_F(EduRegistersTest, IsZeroAfterAReset) {
  StartTransfer(1, 2, 3, 5);
  Write(kFactorial, 5);
  Write(kLiveness, 5);
  Write(kRaise, 5);

  registers_.Reset();

  EXPECT_EQ(registers_.state(), EduRegisters::State());
  EXPECT_FALSE(registers_.raised());
}

TEST_F(EduRegistersTest, RaisesAgainWhatARestoredStateHasRaised) {
  Write(kRaise, 5);
  EduRegisters other(EduRegisters::kUsualDmaMask);

  other.Restore(registers_.state());

  EXPECT_EQ(other.state(), registers_.state());
  EXPECT_TRUE(other.TakeRaised());
}

TEST_F(EduRegistersTest, TellsStatesThatCannotBe) {
  EXPECT_TRUE(EduRegisters::IsValid({.status = 0x81}));
  EXPECT_FALSE(EduRegisters::IsValid({.status = 0x02}));
}

}  // namespace
}  // namespace vfio_user
