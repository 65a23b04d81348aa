#include "server/dma/dma_cancellation.h"

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(DmaCancellationTest, CancelsWhatHasBegun) {
  DmaCancellation cancellation;
  const DmaCancellation::Token token = cancellation.Begin();
  EXPECT_FALSE(token.cancelled());

  cancellation.Cancel();

  EXPECT_TRUE(token.cancelled());
}

TEST(DmaCancellationTest, CancelsWhatBeginsUntilResumed) {
  DmaCancellation cancellation;
  cancellation.Cancel();
  EXPECT_TRUE(cancellation.Begin().cancelled());

  cancellation.Resume();

  EXPECT_FALSE(cancellation.Begin().cancelled());
}

TEST(DmaCancellationTest, DoesNotBringBackWhatWasCancelled) {
  DmaCancellation cancellation;
  const DmaCancellation::Token before = cancellation.Begin();
  cancellation.Cancel();
  const DmaCancellation::Token during = cancellation.Begin();

  cancellation.Resume();

  EXPECT_TRUE(before.cancelled());
  EXPECT_TRUE(during.cancelled());
}

TEST(DmaCancellationTest, MayBeRepeated) {
  DmaCancellation cancellation;
  cancellation.Resume();
  EXPECT_FALSE(cancellation.Begin().cancelled());

  cancellation.Cancel();
  cancellation.Cancel();
  EXPECT_TRUE(cancellation.Begin().cancelled());

  cancellation.Resume();
  EXPECT_FALSE(cancellation.Begin().cancelled());
}

TEST(DmaCancellationTest, CancelsOnlyWhatHasBegun) {
  DmaCancellation cancellation;
  const DmaCancellation::Token begun = cancellation.Begin();

  cancellation.CancelBegun();

  EXPECT_TRUE(begun.cancelled());
  EXPECT_FALSE(cancellation.Begin().cancelled());
}

}  // namespace
}  // namespace vfio_user
