#include "client/session/request_turn.h"

#include <atomic>
#include <thread>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"

namespace vfio_user {
namespace {

TEST(RequestTurnTest, IsFreeAtFirst) {
  RequestTurn turn;

  EXPECT_TRUE(turn.Take(Deadline::In(absl::ZeroDuration())));
}

TEST(RequestTurnTest, IsNotGivenTwice) {
  RequestTurn turn;
  ASSERT_TRUE(turn.Take(Deadline::Never()));

  EXPECT_FALSE(turn.Take(Deadline::In(absl::Milliseconds(1))));
}

TEST(RequestTurnTest, CanBeTakenAgainOnceGivenBack) {
  RequestTurn turn;
  ASSERT_TRUE(turn.Take(Deadline::Never()));
  turn.GiveBack();

  EXPECT_TRUE(turn.Take(Deadline::In(absl::ZeroDuration())));
}

TEST(RequestTurnTest, BelongsToOneThreadAtATime) {
  RequestTurn turn;
  std::atomic<int> inside = 0;
  std::atomic<bool> crowded = false;
  const auto take_turns = [&] {
    for (int i = 0; i < 200; ++i) {
      if (!turn.Take(Deadline::Never())) continue;
      if (++inside > 1) crowded = true;
      --inside;
      turn.GiveBack();
    }
  };

  std::thread one(take_turns);
  std::thread other(take_turns);
  one.join();
  other.join();

  EXPECT_FALSE(crowded);
}

}  // namespace
}  // namespace vfio_user
