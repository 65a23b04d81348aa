#include "server/devices/bar_memory.h"

#include <array>
#include <cstddef>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(BarMemoryTest, IsZeroAtFirst) {
  std::array<std::byte, 16> all = {std::byte{1}};

  BarMemory(16).Read(0, all);

  EXPECT_THAT(all, Each(std::byte{0}));
}

TEST(BarMemoryTest, KeepsWhatIsWrittenWherever) {
  BarMemory memory(16);
  const std::array written = {std::byte{1}, std::byte{2}, std::byte{3}};

  memory.Write(13, written);

  std::array<std::byte, 4> read;
  memory.Read(12, read);
  EXPECT_THAT(read, ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}));
}

TEST(BarMemoryTest, IsZeroAgainWhenCleared) {
  BarMemory memory(4);
  memory.Write(0, std::array{std::byte{1}});

  memory.Clear();

  std::array<std::byte, 4> read = {std::byte{1}};
  memory.Read(0, read);
  EXPECT_THAT(read, Each(std::byte{0}));
}

}  // namespace
}  // namespace vfio_user
