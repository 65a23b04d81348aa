#include "server/devices/dma_copy_engine.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/iova.h"
#include "server/devices/fake_device_host.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::IsEmpty;

constexpr uint64_t kBase = 0x7f0000000000;
constexpr size_t kMemoryBytes = 5 << 20;

class DmaCopyEngineTest : public testing::Test {
 protected:
  DmaCopyEngineTest() : memory_(kMemoryBytes) {
    // Not periodic in any chunk.
    uint32_t state = 1;
    for (std::byte& byte : memory_) {
      state = state * 1664525 + 1013904223;
      byte = static_cast<std::byte>(state >> 24);
    }
    dma_.Map(Iova{kBase}, memory_);
  }

  static DmaCopyDescriptor Copy(uint64_t from, uint64_t to, uint64_t length) {
    return {.opcode = 1, .source = kBase + from, .destination = Iova{kBase + to}, .length = length};
  }

  std::vector<std::byte> memory_;
  FakeDmaSpace dma_;
  DmaCopyEngine engine_;
};

TEST_F(DmaCopyEngineTest, ParsesADescriptor) {
  std::array<uint8_t, 32> bytes;
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});

  const DmaCopyDescriptor descriptor = DmaCopyDescriptor::Parse(bytes);

  EXPECT_EQ(descriptor.opcode, 0x04030201u);
  EXPECT_EQ(descriptor.flags, 0x08070605u);
  EXPECT_EQ(descriptor.source, 0x100f0e0d0c0b0a09u);
  EXPECT_EQ(descriptor.destination, Iova{0x1817161514131211u});
  EXPECT_EQ(descriptor.length, 0x201f1e1d1c1b1a19u);
  EXPECT_TRUE(descriptor.interrupts());
}

TEST_F(DmaCopyEngineTest, DoesNothingForANop) {
  const DmaCopyDescriptor nop = {.opcode = 0, .source = 1, .length = UINT64_MAX};

  EXPECT_THAT(engine_.Run(nop, dma_), IsOkAndHolds(0u));

  EXPECT_THAT(dma_.writes(), IsEmpty());
}

TEST_F(DmaCopyEngineTest, CopiesAnyLengthAndAlignment) {
  for (const uint64_t length : {1u, 4095u, 4097u, 1u << 20, (1u << 20) + 1, (2u << 20) + 77}) {
    const std::vector<std::byte> before = memory_;

    EXPECT_THAT(engine_.Run(Copy(3, (2 << 20) + 100, length), dma_), IsOkAndHolds(0u));

    std::vector<std::byte> want = before;
    std::copy_n(before.begin() + 3, length, want.begin() + (2 << 20) + 100);
    EXPECT_TRUE(memory_ == want) << length;
  }
}

TEST_F(DmaCopyEngineTest, CopiesOverlappingRangesAsIfTheSourceWereReadFirst) {
  struct Overlap {
    uint64_t from;
    uint64_t to;
  };
  constexpr uint64_t kLength = (3 << 20) + 5;
  for (const Overlap overlap : {Overlap{0, 1}, Overlap{1, 0}, Overlap{0, 1 << 20},
                                Overlap{1 << 20, 0}, Overlap{7, 7}, Overlap{0, (1 << 20) + 4096}}) {
    const std::vector<std::byte> before = memory_;

    EXPECT_THAT(engine_.Run(Copy(overlap.from, overlap.to, kLength), dma_), IsOk());

    std::vector<std::byte> want = before;
    std::copy_n(before.begin() + static_cast<ptrdiff_t>(overlap.from), kLength,
                want.begin() + static_cast<ptrdiff_t>(overlap.to));
    EXPECT_TRUE(memory_ == want) << overlap.from << " to " << overlap.to;
  }
}

TEST_F(DmaCopyEngineTest, FillsWithThePatternFromItsStart) {
  const std::vector<std::byte> before = memory_;
  const DmaCopyDescriptor fill = {.opcode = 2,
                                  .source = 0x0807060504030201,
                                  .destination = Iova{kBase + 5},
                                  .length = (1 << 20) + 13};

  EXPECT_THAT(engine_.Run(fill, dma_), IsOkAndHolds(0u));

  for (size_t i = 0; i < fill.length; ++i) {
    ASSERT_EQ(memory_[5 + i], static_cast<std::byte>(i % 8 + 1)) << i;
  }
  EXPECT_EQ(memory_[4], before[4]);
  EXPECT_EQ(memory_[5 + fill.length], before[5 + fill.length]);
}

TEST_F(DmaCopyEngineTest, ComputesTheCrcThatEverybodyKnows) {
  const std::string_view text = "123456789";
  std::ranges::transform(text, memory_.begin() + 11,
                         [](char c) { return static_cast<std::byte>(c); });
  const DmaCopyDescriptor crc = {.opcode = 3, .source = kBase + 11, .length = text.size()};

  EXPECT_THAT(engine_.Run(crc, dma_), IsOkAndHolds(0xcbf43926u));
}

TEST_F(DmaCopyEngineTest, ComputesOneCrcAcrossChunks) {
  std::ranges::fill(memory_, std::byte{0});
  const DmaCopyDescriptor crc = {.opcode = 3, .source = kBase, .length = 3 << 20};

  // Of 3 MiB of zeros, by Python's zlib.crc32.
  EXPECT_THAT(engine_.Run(crc, dma_), IsOkAndHolds(0x79724fc6u));
}

TEST_F(DmaCopyEngineTest, DoesNothingForLengthZeroWhateverTheAddresses) {
  for (const uint32_t opcode : {1u, 2u, 3u}) {
    const DmaCopyDescriptor nothing = {
        .opcode = opcode, .source = UINT64_MAX, .destination = Iova{UINT64_MAX}, .length = 0};
    EXPECT_THAT(engine_.Run(nothing, dma_), IsOkAndHolds(0u));
  }
}

TEST_F(DmaCopyEngineTest, RefusesWhatIsNoOperation) {
  DmaCopyDescriptor unknown_opcode = Copy(0, 100, 1);
  unknown_opcode.opcode = 4;
  DmaCopyDescriptor unknown_flag = Copy(0, 100, 1);
  unknown_flag.flags = 2;
  const DmaCopyDescriptor too_long = Copy(0, 100, (1 << 30) + 1);

  for (const DmaCopyDescriptor& wrong : {unknown_opcode, unknown_flag, too_long}) {
    EXPECT_EQ(ErrnoOf(engine_.Run(wrong, dma_).status()), EINVAL);
  }
  EXPECT_THAT(dma_.writes(), IsEmpty());
}

TEST_F(DmaCopyEngineTest, FailsWithEfaultWhereNothingIsMapped) {
  DmaCopyDescriptor wraps = Copy(0, 0, 4096);
  wraps.source = UINT64_MAX - 4094;
  DmaCopyDescriptor wraps_to = Copy(0, 0, 4096);
  wraps_to.destination = Iova{UINT64_MAX - 4094};
  DmaCopyDescriptor wrapping_fill = wraps_to;
  wrapping_fill.opcode = 2;
  DmaCopyDescriptor wrapping_crc = wraps;
  wrapping_crc.opcode = 3;

  for (const DmaCopyDescriptor& wrong :
       {Copy(kMemoryBytes - 10, 0, 11), Copy(0, kMemoryBytes - 10, 11), wraps, wraps_to,
        wrapping_fill, wrapping_crc}) {
    EXPECT_EQ(ErrnoOf(engine_.Run(wrong, dma_).status()), EFAULT);
  }
}

TEST_F(DmaCopyEngineTest, FailsWithEaccesAgainstTheDirectionOfAMapping) {
  std::vector<std::byte> read_only(64);
  std::vector<std::byte> write_only(64);
  dma_.Map(Iova{0x1000}, read_only, FakeAccess::kReadOnly);
  dma_.Map(Iova{0x2000}, write_only, FakeAccess::kWriteOnly);
  const DmaCopyDescriptor right = {
      .opcode = 1, .source = 0x1000, .destination = Iova{0x2000}, .length = 64};
  const DmaCopyDescriptor wrong = {
      .opcode = 1, .source = 0x2000, .destination = Iova{0x1000}, .length = 64};
  const DmaCopyDescriptor wrong_fill = {
      .opcode = 2, .source = 0, .destination = Iova{0x1000}, .length = 64};

  EXPECT_THAT(engine_.Run(right, dma_), IsOk());
  EXPECT_EQ(ErrnoOf(engine_.Run(wrong, dma_).status()), EACCES);
  EXPECT_EQ(ErrnoOf(engine_.Run(wrong_fill, dma_).status()), EACCES);
}

}  // namespace
}  // namespace vfio_user
