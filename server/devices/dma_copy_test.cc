#include "server/devices/dma_copy.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "server/devices/fake_device_host.h"
#include "server/migratable.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr uint64_t kStatus = 0x08;
constexpr uint64_t kRingIova = 0x10;
constexpr uint64_t kRingEntries = 0x18;
constexpr uint64_t kDoorbell = 0x1c;
constexpr uint64_t kConsumer = 0x20;
constexpr uint64_t kKick = 0x28;

constexpr uint64_t kRing = 0x10000;
constexpr uint64_t kData = 0x20000;

// A descriptor, as a client lays it out.
struct Descriptor {
  uint32_t opcode = 0;
  uint32_t flags = 0;
  uint64_t source = 0;
  uint64_t destination = 0;
  uint64_t length = 0;
  uint32_t status = 0;
  uint32_t error = 0;
  uint64_t result = 0;
  uint64_t zero[2] = {};
};
static_assert(sizeof(Descriptor) == 64);

class DmaCopyDeviceTest : public testing::Test {
 protected:
  DmaCopyDeviceTest() {
    device_.Attach(host_);
    host_.memory().Map(Iova{kRing}, std::as_writable_bytes(std::span(ring_)));
    host_.memory().Map(Iova{kData}, data_);
  }

  uint64_t Read(uint64_t offset, size_t bytes = 4) {
    uint64_t value = 0;
    EXPECT_THAT(device_.ReadRegion(RegionIndex::kBar0, offset,
                                   std::as_writable_bytes(std::span(&value, 1)).first(bytes)),
                IsOk());
    return value;
  }
  absl::Status Write(uint64_t offset, uint64_t value, size_t bytes = 4) {
    return device_.WriteRegion(RegionIndex::kBar0, offset,
                               std::as_bytes(std::span(&value, 1)).first(bytes));
  }
  void SetUpRing() {
    ASSERT_THAT(Write(kRingIova, kRing, 8), IsOk());
    ASSERT_THAT(Write(kRingEntries, ring_.size()), IsOk());
  }

  std::array<Descriptor, 4> ring_;
  std::vector<std::byte> data_ = std::vector<std::byte>(4096);
  FakeDeviceHost host_;
  DmaCopyDevice device_;
};

TEST_F(DmaCopyDeviceTest, IsDescribedAsAPciDeviceWithOneMsixVector) {
  const DeviceDescription& description = device_.description();

  EXPECT_EQ(description.pci.vendor_id, 0x1234);
  EXPECT_EQ(description.pci.device_id, 0xdc01);
  EXPECT_EQ(description.pci.class_code, 0x088000u);
  ASSERT_EQ(description.irqs.size(), 1u);
  EXPECT_EQ(description.irqs[0].index, IrqIndex::kMsix);
  EXPECT_EQ(description.irqs[0].count, 1u);
  EXPECT_EQ(description.msix->bar, RegionIndex::kBar1);
}

TEST_F(DmaCopyDeviceTest, RunsDescriptorsOnTheWorkerAndNotInTheRegisterWrite) {
  SetUpRing();
  data_[0] = std::byte{7};
  ring_[0] = {.opcode = 1, .source = kData, .destination = kData + 1, .length = 1};

  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  EXPECT_EQ(Read(kStatus), 1u);
  EXPECT_EQ(ring_[0].status, 0u);
  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(ring_[0].status, 1u);
  EXPECT_EQ(data_[1], std::byte{7});
  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kConsumer), 1u);
}

TEST_F(DmaCopyDeviceTest, RunsDescriptorsWhenItsDoorbellIsRungByEventfd) {
  ASSERT_THAT(device_.description().bars[0].doorbells, SizeIs(1));
  EXPECT_EQ(device_.description().bars[0].doorbells[0].offset, kKick);
  SetUpRing();
  for (Descriptor& descriptor : ring_) descriptor = {.opcode = 0};

  device_.RingDoorbell(RegionIndex::kBar0, kKick, 2);
  ASSERT_THAT(Write(kKick, 1), IsOk());
  host_.RunPosted();

  EXPECT_EQ(Read(kConsumer), 3u);
  EXPECT_EQ(ring_[2].status, 1u);
  EXPECT_EQ(ring_[3].status, 0u);
}

TEST_F(DmaCopyDeviceTest, IgnoresMoreRingsThanItsRingHasRoomFor) {
  SetUpRing();

  device_.RingDoorbell(RegionIndex::kBar0, kKick, 5);
  device_.RingDoorbell(RegionIndex::kBar0, kKick, UINT64_MAX);

  EXPECT_EQ(host_.RunPosted(), 0);
  EXPECT_EQ(Read(kDoorbell), 0u);
}

TEST_F(DmaCopyDeviceTest, WritesTheStatusLast) {
  SetUpRing();
  ring_[0] = {.opcode = 2, .source = 0, .destination = kData, .length = 8};
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  host_.RunPosted();

  EXPECT_THAT(host_.memory().writes(),
              ElementsAre(Iova{kData}, Iova{kRing + 0x24}, Iova{kRing + 0x20}));
}

TEST_F(DmaCopyDeviceTest, WritesOnlyStatusErrnoAndResultOfADescriptor) {
  SetUpRing();
  ring_[0] = {.opcode = 3, .source = kData, .destination = 5, .length = 9, .zero = {6, 7}};
  const std::string_view text = "123456789";
  std::memcpy(data_.data(), text.data(), text.size());
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  host_.RunPosted();

  EXPECT_EQ(ring_[0].opcode, 3u);
  EXPECT_EQ(ring_[0].destination, 5u);
  EXPECT_EQ(ring_[0].length, 9u);
  EXPECT_EQ(ring_[0].status, 1u);
  EXPECT_EQ(ring_[0].error, 0u);
  EXPECT_EQ(ring_[0].result, 0xcbf43926u);
  EXPECT_THAT(ring_[0].zero, ElementsAre(6, 7));
}

TEST_F(DmaCopyDeviceTest, ReportsAFailureInItsDescriptorAndGoesOn) {
  SetUpRing();
  ring_[0] = {.opcode = 9};
  ring_[1] = {.opcode = 1, .source = 0xdead0000, .destination = kData, .length = 1};
  ring_[2] = {.opcode = 2, .source = 0x0101010101010101, .destination = kData, .length = 8};
  ASSERT_THAT(Write(kDoorbell, 3), IsOk());

  host_.RunPosted();

  EXPECT_EQ(ring_[0].status, 2u);
  EXPECT_EQ(ring_[0].error, static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ring_[1].status, 2u);
  EXPECT_EQ(ring_[1].error, static_cast<uint32_t>(EFAULT));
  EXPECT_EQ(ring_[2].status, 1u);
  EXPECT_THAT(std::span(data_).first(8), Each(std::byte{1}));
  EXPECT_EQ(Read(kConsumer), 3u);
}

TEST_F(DmaCopyDeviceTest, InterruptsWhereItIsAskedToAndAfterTheStatus) {
  SetUpRing();
  ring_[0] = {.opcode = 0, .flags = 1};
  ring_[1] = {.opcode = 0, .flags = 0};
  ring_[2] = {.opcode = 9, .flags = 1};
  ASSERT_THAT(Write(kDoorbell, 3), IsOk());

  host_.RunPosted();

  EXPECT_THAT(host_.interrupts(), ElementsAre(Pair(IrqIndex::kMsix, 0), Pair(IrqIndex::kMsix, 0)));
}

TEST_F(DmaCopyDeviceTest, GoesRoundItsRing) {
  SetUpRing();
  for (uint32_t producer = 1; producer <= 10; ++producer) {
    Descriptor& descriptor = ring_[(producer - 1) % ring_.size()];
    descriptor = {.opcode = 0};
    ASSERT_THAT(Write(kDoorbell, producer), IsOk());

    host_.RunPosted();

    EXPECT_EQ(descriptor.status, 1u) << producer;
  }
  EXPECT_EQ(Read(kConsumer), 10u);
}

TEST_F(DmaCopyDeviceTest, RunsOnWhenTheDoorbellIsRungMeanwhile) {
  SetUpRing();
  ring_[0] = {.opcode = 0};
  ring_[1] = {.opcode = 0};
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());
  host_.memory().set_before_transfer([this] { ASSERT_THAT(Write(kDoorbell, 2), IsOk()); });

  EXPECT_EQ(host_.RunPosted(), 1);

  EXPECT_EQ(ring_[1].status, 1u);
  EXPECT_EQ(Read(kStatus), 0u);
}

TEST_F(DmaCopyDeviceTest, StartsAgainAfterItCameToRest) {
  SetUpRing();
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());
  EXPECT_EQ(host_.RunPosted(), 1);

  ASSERT_THAT(Write(kDoorbell, 2), IsOk());

  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(ring_[1].status, 1u);
}

TEST_F(DmaCopyDeviceTest, PassesOverDescriptorsThatCannotBeRead) {
  ASSERT_THAT(Write(kRingIova, kRing + 2 * 64, 8), IsOk());
  ASSERT_THAT(Write(kRingEntries, 4), IsOk());
  ASSERT_THAT(Write(kDoorbell, 4), IsOk());

  host_.RunPosted();

  EXPECT_EQ(ring_[2].status, 1u);
  EXPECT_EQ(ring_[3].status, 1u);
  EXPECT_EQ(Read(kStatus), 0u);
  EXPECT_EQ(Read(kConsumer), 4u);
}

TEST_F(DmaCopyDeviceTest, ClearsItsRegistersAndItsMsixMemoryInAReset) {
  SetUpRing();
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());
  host_.RunPosted();
  ASSERT_THAT(device_.WriteRegion(RegionIndex::kBar1, 0, std::array{std::byte{1}}), IsOk());

  device_.Reset();

  for (uint64_t offset = kStatus; offset < 0x40; offset += 4) EXPECT_EQ(Read(offset), 0u);
  std::array<std::byte, 1> byte = {std::byte{9}};
  ASSERT_THAT(device_.ReadRegion(RegionIndex::kBar1, 0, byte), IsOk());
  EXPECT_EQ(byte[0], std::byte{0});
}

TEST_F(DmaCopyDeviceTest, RunsNothingOfBeforeAReset) {
  SetUpRing();
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  device_.Reset();
  host_.RunPosted();

  EXPECT_THAT(host_.memory().writes(), IsEmpty());
  SetUpRing();
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());
  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(ring_[0].status, 1u);
}

TEST_F(DmaCopyDeviceTest, KeepsTheMsixTableAsMemory) {
  const std::array table = {std::byte{1}, std::byte{2}, std::byte{3}};
  ASSERT_THAT(device_.WriteRegion(RegionIndex::kBar1, 4093, table), IsOk());

  std::array<std::byte, 3> read;
  ASSERT_THAT(device_.ReadRegion(RegionIndex::kBar1, 4093, read), IsOk());

  EXPECT_EQ(read, table);
}

TEST_F(DmaCopyDeviceTest, FinishesItsDescriptorWhenItIsPausedAndGoesOnAfterIt) {
  SetUpRing();
  host_.memory().set_before_transfer([this] { device_.migratable()->Pause(); });
  ASSERT_THAT(Write(kDoorbell, 3), IsOk());

  EXPECT_EQ(host_.RunPosted(), 1);

  EXPECT_EQ(ring_[0].status, 1u);
  EXPECT_EQ(ring_[1].status, 0u);
  EXPECT_EQ(Read(kConsumer), 1u);
  EXPECT_EQ(Read(kStatus), 1u);

  host_.memory().set_before_transfer([] {});
  device_.migratable()->Resume();
  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(ring_[2].status, 1u);
  EXPECT_EQ(Read(kStatus), 0u);
}

TEST_F(DmaCopyDeviceTest, KeepsADoorbellForTheTimeAfterAPause) {
  SetUpRing();
  device_.migratable()->Pause();

  ASSERT_THAT(Write(kDoorbell, 1), IsOk());
  device_.RingDoorbell(RegionIndex::kBar0, kKick, 1);
  EXPECT_EQ(host_.RunPosted(), 0);

  device_.migratable()->Resume();
  EXPECT_EQ(host_.RunPosted(), 1);
  EXPECT_EQ(Read(kConsumer), 2u);
}

TEST_F(DmaCopyDeviceTest, StaysPausedAcrossAReset) {
  device_.migratable()->Pause();
  device_.Reset();
  SetUpRing();
  ASSERT_THAT(Write(kDoorbell, 1), IsOk());

  EXPECT_EQ(host_.RunPosted(), 0);
}

TEST_F(DmaCopyDeviceTest, GoesOnInAnotherDeviceWithItsState) {
  SetUpRing();
  host_.memory().set_before_transfer([this] { device_.migratable()->Pause(); });
  ASSERT_THAT(Write(kDoorbell, 3), IsOk());
  host_.RunPosted();
  ASSERT_THAT(device_.WriteRegion(RegionIndex::kBar1, 0xff0, std::array{std::byte{5}}), IsOk());
  const auto state = device_.migratable()->Save();
  ASSERT_THAT(state, IsOk());
  FakeDeviceHost host;
  host.memory().Map(Iova{kRing}, std::as_writable_bytes(std::span(ring_)));
  DmaCopyDevice other;
  other.Attach(host);
  other.migratable()->Pause();

  ASSERT_THAT(other.migratable()->Restore(*state), IsOk());
  other.migratable()->Resume();
  host.RunPosted();

  EXPECT_EQ(ring_[1].status, 1u);
  EXPECT_EQ(ring_[2].status, 1u);
  EXPECT_EQ(*other.migratable()->Save(), [&] {
    std::vector<std::byte> done = *state;
    done[4 + 16] = std::byte{3};  // CONSUMER.
    return done;
  }());
}

TEST_F(DmaCopyDeviceTest, RejectsStateThatIsNotItsOwnAndStaysAsItIs) {
  SetUpRing();
  const std::vector<std::byte> state = *device_.migratable()->Save();
  std::vector<std::byte> longer = state;
  longer.push_back(std::byte{0});
  std::vector<std::byte> newer = state;
  newer[0] = std::byte{2};
  std::vector<std::byte> impossible = state;
  impossible[4 + 8] = std::byte{3};  // RING_ENTRIES.

  for (const std::span<const std::byte> bad :
       {std::span<const std::byte>(), std::span(state).first(state.size() - 1),
        std::span<const std::byte>(longer), std::span<const std::byte>(newer),
        std::span<const std::byte>(impossible)}) {
    EXPECT_THAT(device_.migratable()->Restore(bad), StatusIs(absl::StatusCode::kInvalidArgument));
  }

  EXPECT_EQ(*device_.migratable()->Save(), state);
}

}  // namespace
}  // namespace vfio_user
