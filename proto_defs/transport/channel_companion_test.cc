// A call that waits on one channel and serves another meanwhile.
#include <functional>
#include <future>
#include <optional>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/command.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

class ChannelCompanionTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<ScriptedPeer::Connected> main = ScriptedPeer::Pair();
    absl::StatusOr<ScriptedPeer::Connected> twin = ScriptedPeer::Pair();
    ASSERT_THAT(main, IsOk());
    ASSERT_THAT(twin, IsOk());
    main_peer_.emplace(std::move(main->peer));
    twin_peer_.emplace(std::move(twin->peer));
    main_.emplace(MessageStream(*Socket::Adopt(std::move(main->socket)), {}),
                  [](IncomingCommand&) { return absl::OkStatus(); });
    twin_.emplace(MessageStream(*Socket::Adopt(std::move(twin->socket)), {}),
                  [this](IncomingCommand& command) { return on_twin_(command); });
    main_->ServeWhileWaiting(*twin_);
  }

  std::function<absl::Status(IncomingCommand&)> on_twin_;
  std::optional<ScriptedPeer> main_peer_;
  std::optional<ScriptedPeer> twin_peer_;
  std::optional<Channel> main_;
  std::optional<Channel> twin_;
};

TEST_F(ChannelCompanionTest, ReadsItsReplyThoughTheCompanionHasMore) {
  constexpr int kCommands = 100;
  for (int i = 0; i < kCommands; ++i) {
    ASSERT_THAT(twin_peer_->Send({.command = Command::kDmaRead}), IsOk());
  }
  int served = 0;
  on_twin_ = [&](IncomingCommand&) {
    if (++served > 1) return absl::OkStatus();
    const auto request = main_peer_->Receive();
    EXPECT_THAT(request, IsOk());
    return main_peer_->Reply(request->header);
  };

  PendingCall call;
  EXPECT_THAT(main_->Call(Command::kDeviceReset, {}, call, Deadline::In(absl::Seconds(20))),
              IsOk());

  EXPECT_EQ(served, 1);
}

TEST_F(ChannelCompanionTest, KeepsItsDeadlineWhileAnotherThreadServesTheCompanion) {
  std::promise<void> in_handler;
  std::promise<void> leave;
  on_twin_ = [&](IncomingCommand&) {
    in_handler.set_value();
    leave.get_future().wait();
    return absl::OkStatus();
  };
  ASSERT_THAT(twin_peer_->Send({.command = Command::kDmaRead}), IsOk());
  std::thread server([this] { EXPECT_FALSE(twin_->Serve().ok()); });
  in_handler.get_future().wait();
  // More to be read, by nobody for now.
  ASSERT_THAT(twin_peer_->Send({.command = Command::kDmaRead}), IsOk());

  PendingCall call;
  EXPECT_THAT(main_->Call(Command::kDeviceReset, {}, call, Deadline::In(absl::Milliseconds(50))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));

  twin_->Close(absl::CancelledError("the test ends"));
  leave.set_value();
  server.join();
}

TEST_F(ChannelCompanionTest, EndsWithABrokenCompanionWhateverBrokeIt) {
  twin_->Close(absl::DeadlineExceededError("broken by a timeout"));

  PendingCall call;
  EXPECT_THAT(main_->Call(Command::kDeviceReset, {}, call, Deadline::In(absl::Seconds(20))),
              StatusIs(absl::StatusCode::kDeadlineExceeded, testing::HasSubstr("broken by")));
  EXPECT_FALSE(main_->status().ok());
}

}  // namespace
}  // namespace vfio_user
