// What unmapping, cancelling and disconnecting do to transfers that are under way: the client of
// these tests keeps them there by not answering.
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space_fixture.h"
#include "server/dma_space.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::AnyOf;

class ClientDmaSpaceInFlightTest : public ClientDmaSpaceFixture {
 protected:
  void TearDown() override {
    channel_->Close(absl::CancelledError("the test is over"));
    if (reader_.joinable()) reader_.join();
  }

  // Reads until the client, which is then asked, answers.
  std::future<absl::Status> StartRead(uint64_t from, std::span<char> into,
                                      ScriptedPeer::Message& request) {
    auto read = std::async(std::launch::async, [this, from, into] {
      return space_.Read(Iova{from}, WritableBytes(into));
    });
    auto received = client_->Receive();
    EXPECT_THAT(received, IsOk());
    if (received.ok()) request = *std::move(received);
    return read;
  }
  void Answer(const ScriptedPeer::Message& request, std::string_view data) {
    std::vector<uint8_t> reply = request.body;
    reply.insert(reply.end(), data.begin(), data.end());
    EXPECT_THAT(client_->Reply(request.header, reply), IsOk());
  }

  std::thread reader_;
};

TEST_F(ClientDmaSpaceInFlightTest, UnmapIsOverWhenTheTransferIs) {
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  std::string into(4, ' ');
  ScriptedPeer::Message request;
  auto read = StartRead(0x1000, into, request);
  std::atomic<int> released = 0;

  ASSERT_THAT(space_.Unmap(Iova{0x1000}, 4, [&] { ++released; }), IsOk());

  EXPECT_EQ(released, 0);
  EXPECT_EQ(space_.mapping_count(), 0u);
  std::string other(4, ' ');
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(other)),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1000}, 4, [&] { ++released; })), ENOENT);
  EXPECT_EQ(released, 0);

  Answer(request, "late");
  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into, "late");
  EXPECT_EQ(released, 1);
}

TEST_F(ClientDmaSpaceInFlightTest, UnmapDoesNotWaitForTransfersElsewhere) {
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  ASSERT_THAT(Map(0x1004, 4), IsOk());
  std::string into(4, ' ');
  ScriptedPeer::Message request;
  auto read = StartRead(0x1000, into, request);
  int released = 0;

  ASSERT_THAT(space_.Unmap(Iova{0x1004}, 4, [&] { ++released; }), IsOk());

  EXPECT_EQ(released, 1);
  Answer(request, "data");
  EXPECT_THAT(read.get(), IsOk());
}

TEST_F(ClientDmaSpaceInFlightTest, UnmapAllIsOverWhenEveryTransferIs) {
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  ASSERT_THAT(Map(0x2000, 4), IsOk());
  ASSERT_THAT(Map(0x3000, 4), IsOk());
  std::string one(4, ' ');
  std::string other(4, ' ');
  ScriptedPeer::Message one_request;
  ScriptedPeer::Message other_request;
  auto one_read = StartRead(0x1000, one, one_request);
  auto other_read = StartRead(0x3000, other, other_request);
  std::atomic<int> released = 0;

  space_.UnmapAll([&] { ++released; });

  EXPECT_EQ(released, 0);
  Answer(other_request, "3333");
  EXPECT_THAT(other_read.get(), IsOk());
  EXPECT_EQ(released, 0);
  Answer(one_request, "1111");
  EXPECT_THAT(one_read.get(), IsOk());
  EXPECT_EQ(released, 1);
}

TEST_F(ClientDmaSpaceInFlightTest, TheRangeMayBeMappedAgainAtOnce) {
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  std::string into(4, ' ');
  ScriptedPeer::Message request;
  auto read = StartRead(0x1000, into, request);
  ASSERT_THAT(space_.Unmap(Iova{0x1000}, 4, [] {}), IsOk());

  std::string memory = "next";
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  std::string next(4, ' ');
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(next)), IsOk());

  EXPECT_EQ(next, "next");
  Answer(request, "last");
  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into, "last");
}

TEST_F(ClientDmaSpaceInFlightTest, CancelEndsATransferWhoseAnswerAnotherThreadWouldRead) {
  // What a server does: a thread of its own reads, here once it was seen to.
  reader_ = std::thread([this] { (void)channel_->Serve(); });
  ASSERT_THAT(client_->Send({.command = Command::kDeviceReset}), IsOk());
  command_came_.get_future().get();
  ASSERT_THAT(Map(0x1000, 2 * kMaxDataBytes), IsOk());
  std::string into(2 * kMaxDataBytes, ' ');
  ScriptedPeer::Message request;
  auto read = StartRead(0x1000, into, request);
  // With the second message on its way, the first one is waited for, or is about to be.
  ASSERT_THAT(client_->Receive(), IsOk());

  space_.CancelTransfers();

  EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ClientDmaSpaceInFlightTest, CancelHoldsAlthoughTransfersWereResumedSince) {
  ASSERT_THAT(Map(0x1000, 16 * kMaxDataBytes), IsOk());
  std::string into(16 * kMaxDataBytes, ' ');
  ScriptedPeer::Message first;
  auto read = StartRead(0x1000, into, first);
  std::vector<ScriptedPeer::Message> rest;
  for (int i = 1; i < 8; ++i) {
    auto request = client_->Receive();
    ASSERT_THAT(request, IsOk());
    rest.push_back(*std::move(request));
  }

  space_.CancelTransfers();
  space_.ResumeTransfers();
  // The transfer reads the channel itself, and hears of it with the next answers.
  Answer(first, std::string(kMaxDataBytes, 'a'));
  for (const auto& request : rest) Answer(request, std::string(kMaxDataBytes, 'a'));

  EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ClientDmaSpaceInFlightTest, DisconnectEndsTransfersAndPaysWhatIsOwed) {
  std::string memory = "abcd";
  const int before = OpenFdCount();
  ASSERT_THAT(MapFileIo(0x0ffc, memory), IsOk());
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  std::string into(8, ' ');
  ScriptedPeer::Message request;
  auto read = StartRead(0x0ffc, into, request);
  std::atomic<int> released = 0;
  ASSERT_THAT(space_.Unmap(Iova{0x0ffc}, 4, [&] { ++released; }), IsOk());
  EXPECT_EQ(released, 0);

  space_.Disconnect();

  EXPECT_EQ(released, 1);
  EXPECT_EQ(OpenFdCount(), before);
  EXPECT_THAT(read.get(), AnyOf(StatusIs(absl::StatusCode::kUnavailable),
                                StatusIs(absl::StatusCode::kCancelled)));
}

}  // namespace
}  // namespace vfio_user
