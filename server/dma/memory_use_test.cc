#include "server/dma/memory_use.h"

#include <array>
#include <cstddef>
#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/dma_map.h"
#include "server/dma/client_memory.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::shared_ptr<ClientMemory> Memory() {
  return std::make_shared<ClientMemory>(DmaMapFlags(DmaMapFlag::kRead), DirectPath(), nullptr);
}

TEST(MemoryUseTest, KeepsWhatIsUsedUntilItsLastUserEnds) {
  MemoryUses uses;
  MemoryUse one;
  MemoryUse other;
  std::shared_ptr<ClientMemory> memory = Memory();
  const std::weak_ptr<ClientMemory> watched = memory;
  one.Add(*memory);
  other.Add(*memory);
  uses.Begin(one);
  uses.Begin(other);

  uses.Keep(memory);
  memory.reset();

  uses.End(one);
  EXPECT_FALSE(watched.expired());
  uses.End(other);
  EXPECT_TRUE(watched.expired());
}

TEST(MemoryUseTest, KeepsNothingForThoseThatDoNotUseIt) {
  MemoryUses uses;
  MemoryUse before;
  MemoryUse elsewhere;
  MemoryUse both;
  const std::shared_ptr<ClientMemory> memory = Memory();
  const std::shared_ptr<ClientMemory> other = Memory();
  before.Add(*memory);
  elsewhere.Add(*other);
  both.Add(*other);
  both.Add(*memory);
  both.Add(*memory);
  uses.Begin(before);
  uses.Begin(elsewhere);
  uses.Begin(both);

  EXPECT_THAT(uses.End(before), IsEmpty());
  uses.Keep(memory);

  EXPECT_THAT(uses.End(elsewhere), IsEmpty());
  EXPECT_THAT(uses.End(both), ElementsAre(memory));
}

TEST(MemoryUseTest, EndsAloneWhereNothingWasKeptAndNoOtherWasThere) {
  MemoryUses uses;
  MemoryUse first;
  MemoryUse second;
  uses.Begin(first);
  uses.Begin(second);

  EXPECT_FALSE(uses.EndAlone(second));
  EXPECT_TRUE(uses.EndAlone(first));
  EXPECT_THAT(uses.End(second), IsEmpty());

  MemoryUse third;
  const std::shared_ptr<ClientMemory> memory = Memory();
  third.Add(*memory);
  uses.Begin(third);
  uses.Keep(memory);
  EXPECT_FALSE(uses.EndAlone(third));
  EXPECT_THAT(uses.End(third), ElementsAre(memory));
}

// Wherever in the list each is.
TEST(MemoryUseTest, EndsInAnyOrder) {
  for (const size_t first : {0u, 1u, 2u}) {
    MemoryUses uses;
    std::array<MemoryUse, 3> three;
    const std::shared_ptr<ClientMemory> memory = Memory();
    for (MemoryUse& use : three) {
      use.Add(*memory);
      uses.Begin(use);
    }

    EXPECT_THAT(uses.End(three[first]), IsEmpty());
    uses.Keep(memory);

    EXPECT_THAT(uses.End(three[(first + 1) % 3]), ElementsAre(memory));
    EXPECT_THAT(uses.End(three[(first + 2) % 3]), ElementsAre(memory));
  }
}

}  // namespace
}  // namespace vfio_user
