#include "server/devices/edu.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/devices/fake_device_host.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr uint64_t kFactorial = 0x08;
constexpr uint64_t kStatus = 0x20;
constexpr uint64_t kInterruptStatus = 0x24;
constexpr uint64_t kRaise = 0x60;
constexpr uint64_t kAcknowledge = 0x64;
constexpr uint64_t kCommand = 0x98;

constexpr uint64_t kMemory = 0x10000;
constexpr uint64_t kBuffer = 0x40000;

class EduDeviceTest : public testing::Test {
 protected:
  EduDeviceTest() {
    device_.Attach(host_);
    host_.memory().Map(Iova{kMemory}, memory_);
  }

  uint64_t Read(uint64_t offset, size_t bytes = 4) {
    uint64_t value = 0;
    EXPECT_THAT(device_.ReadRegion(RegionIndex::kBar0, offset,
                                   std::as_writable_bytes(std::span(&value, 1)).first(bytes)),
                IsOk());
    return value;
  }
  void Write(uint64_t offset, uint64_t value, size_t bytes = 4) {
    EXPECT_THAT(device_.WriteRegion(RegionIndex::kBar0, offset,
                                    std::as_bytes(std::span(&value, 1)).first(bytes)),
                IsOk());
  }
  void StartTransfer(uint64_t source, uint64_t destination, uint64_t count, uint64_t command) {
    Write(0x80, source, 8);
    Write(0x88, destination, 8);
    Write(0x90, count, 8);
    Write(kCommand, command, 8);
  }
  uint64_t FactorialOf(uint32_t n) {
    Write(kFactorial, n);
    host_.RunPosted();
    EXPECT_EQ(Read(kStatus) & 1, 0u);
    return Read(kFactorial);
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(8192);
  FakeDeviceHost host_;
  EduDevice device_;
};

TEST_F(EduDeviceTest, IsDescribedAsQemusIs) {
  const DeviceDescription& description = device_.description();

  EXPECT_EQ(description.name, "edu");
  EXPECT_EQ(description.pci.vendor_id, 0x1234);
  EXPECT_EQ(description.pci.device_id, 0x11e8);
  EXPECT_EQ(description.pci.revision, 0x10);
  EXPECT_EQ(description.pci.class_code, 0x00ff00u);
  ASSERT_EQ(description.bars.size(), 1u);
  EXPECT_EQ(description.bars[0].size, 1u << 20);
}

TEST_F(EduDeviceTest, ComputesFactorialsOnTheWorker) {
  Write(kFactorial, 5);
  EXPECT_EQ(Read(kStatus), 1u);

  EXPECT_EQ(host_.RunPosted(), 1);

  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kFactorial), 120u);
  EXPECT_THAT(host_.interrupts(), IsEmpty());
  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, ComputesModulo2ToThe32) {
  EXPECT_EQ(FactorialOf(0), 1u);
  EXPECT_EQ(FactorialOf(1), 1u);
  EXPECT_EQ(FactorialOf(12), 479001600u);
  EXPECT_EQ(FactorialOf(13), 1932053504u);
  EXPECT_EQ(FactorialOf(33), 0x80000000u);
  EXPECT_EQ(FactorialOf(34), 0u);
  EXPECT_EQ(FactorialOf(0xffffffff), 0u);
}

TEST_F(EduDeviceTest, RaisesIntxWhenTheFactorialIsDoneUntilItIsAcknowledged) {
  Write(kStatus, 0x80);
  EXPECT_EQ(FactorialOf(3), 6u);

  EXPECT_TRUE(host_.intx());
  EXPECT_EQ(Read(kInterruptStatus), 1u);

  Write(kAcknowledge, 1);
  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, SendsMsiWhereThatIsEnabled) {
  host_.set_enabled_interrupts(IrqIndex::kMsi);
  Write(kRaise, 0x40);
  host_.RunPosted();
  Write(kAcknowledge, 0x40);
  Write(kRaise, 0x20);
  host_.RunPosted();

  EXPECT_THAT(host_.interrupts(), ElementsAre(Pair(IrqIndex::kMsi, 0), Pair(IrqIndex::kMsi, 0)));
  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, KeepsIntxUpUntilAllIsAcknowledged) {
  Write(kRaise, 0x3);
  host_.RunPosted();

  Write(kAcknowledge, 0x1);
  EXPECT_TRUE(host_.intx());
  Write(kAcknowledge, 0x2);
  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, LeavesIntxDownForWhatIsAcknowledgedAtOnce) {
  Write(kRaise, 0x3);
  Write(kAcknowledge, 0x3);

  host_.RunPosted();

  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, CopiesMemoryIntoItsBufferAndBackOnTheWorker) {
  for (size_t i = 0; i < 100; ++i) memory_[i] = static_cast<std::byte>(i + 1);
  const std::vector<std::byte> want(memory_.begin(), memory_.begin() + 100);

  StartTransfer(kMemory, kBuffer + 8, 100, 1);
  EXPECT_EQ(Read(kCommand, 8), 1u);
  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(Read(kCommand, 8), 0u);
  StartTransfer(kBuffer + 8, kMemory + 4096, 100, 3);
  host_.RunPosted();

  EXPECT_EQ(std::vector<std::byte>(memory_.begin() + 4096, memory_.begin() + 4196), want);
  EXPECT_EQ(memory_[4196], std::byte{0});
  EXPECT_FALSE(host_.intx());
}

TEST_F(EduDeviceTest, InterruptsAfterATransferThatAsksForIt) {
  StartTransfer(kMemory, kBuffer, 4, 5);
  host_.RunPosted();

  EXPECT_EQ(Read(kInterruptStatus), 0x100u);
  EXPECT_EQ(Read(kCommand, 8), 4u);
  EXPECT_TRUE(host_.intx());
}

TEST_F(EduDeviceTest, MovesNothingThatLeavesTheBufferAndEndsAllTheSame) {
  std::ranges::fill(memory_, std::byte{7});

  StartTransfer(kBuffer + 4095, kMemory, 2, 7);
  host_.RunPosted();

  EXPECT_THAT(memory_, Each(std::byte{7}));
  EXPECT_EQ(Read(kCommand, 8) & 1, 0u);
  EXPECT_EQ(Read(kInterruptStatus), 0x100u);
}

TEST_F(EduDeviceTest, MovesNothingOfMemoryThatCannotBeHadAndEndsAllTheSame) {
  memory_[8191] = std::byte{9};
  StartTransfer(kMemory + 8191, kBuffer, 2, 1);
  host_.RunPosted();
  EXPECT_EQ(Read(kCommand, 8), 0u);

  memory_[0] = std::byte{7};
  StartTransfer(kBuffer, kMemory, 1, 3);
  host_.RunPosted();
  EXPECT_EQ(memory_[0], std::byte{0});
}

TEST_F(EduDeviceTest, ReachesMemoryAbove28BitsWithAWiderMask) {
  constexpr uint64_t kFar = uint64_t{1} << 40;
  EduDevice wide(UINT64_MAX);
  wide.Attach(host_);
  std::vector<std::byte> far(16, std::byte{7});
  host_.memory().Map(Iova{kFar}, far);
  for (const auto& [offset, value] :
       {std::pair{0x80, kBuffer}, std::pair{0x88, kFar}, std::pair{0x90, uint64_t{16}},
        std::pair{0x98, uint64_t{3}}}) {
    ASSERT_THAT(wide.WriteRegion(RegionIndex::kBar0, static_cast<uint64_t>(offset),
                                 std::as_bytes(std::span(&value, 1))),
                IsOk());
  }
  host_.RunPosted();

  EXPECT_THAT(far, Each(std::byte{0}));
}

TEST_F(EduDeviceTest, PostsOnePieceOfWorkForManyWrites) {
  for (uint32_t i = 1; i < 100; ++i) Write(kRaise, i);
  Write(kFactorial, 4);
  StartTransfer(kMemory, kBuffer, 4, 1);

  EXPECT_EQ(host_.RunPosted(), 1);

  EXPECT_EQ(Read(kFactorial), 24u);
  EXPECT_EQ(Read(kCommand, 8), 0u);
}

TEST_F(EduDeviceTest, IsAsAfterPowerOnAfterAReset) {
  std::ranges::fill(memory_, std::byte{7});
  StartTransfer(kMemory, kBuffer, 4096, 5);
  host_.RunPosted();
  Write(kFactorial, 5);

  device_.Reset();
  host_.RunPosted();

  EXPECT_FALSE(host_.intx());
  EXPECT_EQ(Read(kFactorial), 0u);
  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kInterruptStatus), 0u);
  StartTransfer(kBuffer, kMemory, 4096, 3);
  host_.RunPosted();
  EXPECT_THAT(std::span(memory_).first(4096), Each(std::byte{0}));
}

TEST_F(EduDeviceTest, DoesNothingWhilePausedAndAllOfItAfterwards) {
  Migratable& migratable = *device_.migratable();
  memory_[0] = std::byte{7};
  StartTransfer(kMemory, kBuffer, 1, 5);
  migratable.Pause();
  Write(kFactorial, 5);
  Write(kRaise, 2);
  host_.RunPosted();
  EXPECT_EQ(Read(kCommand, 8), 5u);
  EXPECT_EQ(Read(kStatus), 1u);
  EXPECT_FALSE(host_.intx());

  migratable.Resume();
  host_.RunPosted();

  EXPECT_EQ(Read(kCommand, 8), 4u);
  EXPECT_EQ(Read(kFactorial), 120u);
  EXPECT_EQ(Read(kInterruptStatus), 0x102u);
  EXPECT_TRUE(host_.intx());
}

TEST_F(EduDeviceTest, StaysPausedInAReset) {
  device_.migratable()->Pause();
  device_.Reset();
  Write(kFactorial, 5);

  EXPECT_EQ(host_.RunPosted(), 0);
}

TEST_F(EduDeviceTest, GoesOnInAnotherPlaceWithItsBufferAndWhatWasUnderWay) {
  memory_[0] = std::byte{7};
  StartTransfer(kMemory, kBuffer + 9, 1, 1);
  host_.RunPosted();
  Write(kRaise, 0x10);
  host_.RunPosted();
  device_.migratable()->Pause();
  Write(kFactorial, 6);
  StartTransfer(kBuffer + 9, kMemory + 1, 1, 3);
  const absl::StatusOr<std::vector<std::byte>> state = device_.migratable()->Save();
  ASSERT_THAT(state, IsOk());

  FakeDeviceHost host;
  host.memory().Map(Iova{kMemory}, memory_);
  EduDevice other;
  other.Attach(host);
  other.migratable()->Pause();
  ASSERT_THAT(other.migratable()->Restore(*state), IsOk());
  EXPECT_EQ(host.RunPosted(), 0);
  other.migratable()->Resume();
  EXPECT_EQ(host.RunPosted(), 1);

  EXPECT_EQ(memory_[1], std::byte{7});
  EXPECT_TRUE(host.intx());
  uint32_t factorial = 0;
  ASSERT_THAT(other.ReadRegion(RegionIndex::kBar0, kFactorial,
                               std::as_writable_bytes(std::span(&factorial, 1))),
              IsOk());
  EXPECT_EQ(factorial, 720u);
}

TEST_F(EduDeviceTest, KeepsItsStateWhenItIsGivenOneThatCannotBe) {
  EXPECT_EQ(FactorialOf(4), 24u);
  device_.migratable()->Pause();

  EXPECT_THAT(device_.migratable()->Restore(std::vector<std::byte>(7)),
              StatusIs(absl::StatusCode::kInvalidArgument));

  EXPECT_EQ(Read(kFactorial), 24u);
}

TEST_F(EduDeviceTest, TakesIntxDownForAStateThatHasItDown) {
  device_.migratable()->Pause();
  const absl::StatusOr<std::vector<std::byte>> quiet = device_.migratable()->Save();
  ASSERT_THAT(quiet, IsOk());
  device_.migratable()->Resume();
  Write(kRaise, 1);
  host_.RunPosted();
  ASSERT_TRUE(host_.intx());
  device_.migratable()->Pause();

  ASSERT_THAT(device_.migratable()->Restore(*quiet), IsOk());

  EXPECT_FALSE(host_.intx());
}

}  // namespace
}  // namespace vfio_user
