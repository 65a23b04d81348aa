// A channel with a scripted peer at its other end, for the tests of Channel.
#ifndef PROTO_DEFS_TRANSPORT_CHANNEL_FIXTURE_H_
#define PROTO_DEFS_TRANSPORT_CHANNEL_FIXTURE_H_

#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/wire/command.h"
#include "tests/testing/scripted_peer.h"

namespace vfio_user {

class ChannelFixture : public testing::Test {
 protected:
  ChannelFixture() : ChannelFixture(MessageStream::Options{}) {}
  explicit ChannelFixture(const MessageStream::Options& options)
      : ChannelFixture(ScriptedPeer::Pair(), options) {}

  // Far enough to mean that something is lost.
  static Deadline Soon() { return Deadline::In(absl::Seconds(30)); }
  static Deadline AtOnce() { return Deadline::In(absl::ZeroDuration()); }

  // Starts a call, and returns its header as the peer saw it.
  MessageHeader StartAndSee(PendingCall& call, Command command = Command::kRegionRead) {
    EXPECT_EQ(channel_.Start(command, {}, call, Deadline::Never()), absl::OkStatus());
    const auto message = peer_.Receive();
    EXPECT_EQ(message.status(), absl::OkStatus());
    return message.ok() ? message->header : MessageHeader{};
  }

  // What the channel does with a command; to be set before anybody reads.
  Channel::CommandHandler handler_ = [](IncomingCommand& command) {
    ADD_FAILURE() << "an unexpected " << CommandName(command.header.command);
    return absl::OkStatus();
  };
  ScriptedPeer peer_;
  Channel channel_;

 private:
  ChannelFixture(absl::StatusOr<ScriptedPeer::Connected> pair,
                 const MessageStream::Options& options)
      : peer_(std::move(pair->peer)),
        channel_(MessageStream(*Socket::Adopt(std::move(pair->socket)), options),
                 [this](IncomingCommand& command) { return handler_(command); }) {}
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_TRANSPORT_CHANNEL_FIXTURE_H_
