#include "client/client.h"

#include <sys/stat.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/listener.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

TEST(ClientConnectTest, SaysThatNothingIsAtThePath) {
  const TempDir dir;

  EXPECT_THAT(Client::Connect(dir.File("none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
}

TEST(ClientConnectTest, RejectsAPathThatIsTooLongForASocket) {
  EXPECT_THAT(Client::Connect("/tmp/" + std::string(200, 'x')),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ClientConnectTest, RejectsADirectory) {
  const TempDir dir;

  EXPECT_FALSE(Client::Connect(dir.path()).ok());
}

TEST(ClientConnectTest, NamesThePathOfAServerThatIsSilent) {
  const TempDir dir;
  const absl::StatusOr<Listener> listener = Listener::Bind(dir.File("silent"));
  ASSERT_THAT(listener, IsOk());

  EXPECT_THAT(
      Client::Connect(dir.File("silent"), {.connect_timeout = absl::Milliseconds(20)}),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("silent: the server accepted")));
}

TEST(ClientConnectTest, RejectsOptionsThatCannotBe) {
  EXPECT_THAT(Client::Connect("/nowhere", {.max_data_xfer_bytes = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("max_data_xfer_bytes is 0")));
  EXPECT_THAT(Client::Connect("/nowhere", {.max_data_xfer_bytes = UINT32_MAX}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Client::Connect("/nowhere", {.reply_timeout = absl::ZeroDuration()}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("timeout")));
}

TEST(ClientAdoptTest, RejectsWhatIsNoSocketAndClosesIt) {
  const int before = OpenFdCount();

  EXPECT_THAT(Client::Adopt(Memfd("x")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Client::Adopt(UniqueFd()), testing::Not(IsOk()));

  EXPECT_EQ(OpenFdCount(), before);
}

class ClientTest : public testing::Test {
 protected:
  void SetUp() override { Start({}); }

  void Start(const ClientOptions& options) {
    absl::StatusOr<GreetedSocket> greeted = Greet(kTwinGranted);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client), options);
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
  }
  void TearDown() override { server_->Close(); }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
};

TEST_F(ClientTest, TellsWhatWasNegotiated) {
  EXPECT_EQ(client_->server_version().minor, 2);
  EXPECT_EQ(client_->max_data_xfer_bytes(), 1u << 20);
  EXPECT_TRUE(client_->has_twin_socket());
  EXPECT_EQ(client_->poll_fd(), -1);
  EXPECT_THAT(client_->status(), IsOk());
}

TEST_F(ClientTest, OpenRegionDoesNotFindARegionOfSizeZero) {
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000")).get(), IsOk());
    EXPECT_THAT(AnswerNext(*server_, Hex("20000000 00000000 01000000 00000000"
                                         "0000000000000000 0000000000000000"))
                    .get(),
                IsOk());
  });

  EXPECT_THAT(client_->OpenRegion(RegionIndex::kBar1),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no bar1")));
  served.get();
}

TEST_F(ClientTest, MapTakesBytesInEveryForm) {
  ServedRequests served = AnswerAll(*server_, std::vector<uint32_t>(12, 0));
  std::vector<std::byte> vector(10);
  const std::vector<std::byte> const_vector(10);
  std::byte array[10];
  std::array<uint64_t, 2> words = {};

  // Each of these must compile, and lend memory for what its type allows.
  EXPECT_THAT(client_->Map(vector), IsOk());
  EXPECT_THAT(client_->Map(const_vector), IsOk());
  EXPECT_THAT(client_->Map(array), IsOk());
  EXPECT_THAT(client_->Map(std::span(array)), IsOk());
  EXPECT_THAT(client_->Map(std::as_bytes(std::span(words))), IsOk());
  EXPECT_THAT(client_->Map(std::as_writable_bytes(std::span(words))), IsOk());

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  // Two messages each: the mapping, and its end; the flags are the second word.
  const auto flags = [&](size_t mapping) { return (*requests)[mapping * 2].body[4]; };
  EXPECT_EQ(flags(0), 0b1011);
  EXPECT_EQ(flags(1), 0b1001);
  EXPECT_EQ(flags(2), 0b1011);
  EXPECT_EQ(flags(3), 0b1011);
  EXPECT_EQ(flags(4), 0b1001);
  EXPECT_EQ(flags(5), 0b1011);
}

TEST_F(ClientTest, WhatItGaveOutOutlivesIt) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  std::vector<std::byte> memory(10);
  absl::StatusOr<DmaMapping> mapping = client_->Map(memory);
  ASSERT_THAT(mapping, IsOk());

  client_.reset();

  EXPECT_THAT(mapping->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
}

TEST_F(ClientTest, DestroyingItClosesTheConnectionAndEveryDescriptor) {
  const int before = OpenFdCount();
  ServedRequests served = AnswerAll(*server_, {0, 0});
  std::vector<std::byte> memory(10);
  EXPECT_THAT(client_->Map(memory), IsOk());
  // Dropped at once, with the descriptors that the server got.
  EXPECT_THAT(served.get(), IsOk());
  EXPECT_EQ(OpenFdCount(), before + 1);  // Its own memory, for the next mapping.

  client_.reset();

  EXPECT_EQ(OpenFdCount(), before - 2);  // The two sockets.
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

TEST_F(ClientTest, PollsWhenTheApplicationOwnsItsThreads) {
  Start({.dma_service = DmaService::kPoll});
  EXPECT_GE(client_->poll_fd(), 0);

  EXPECT_THAT(client_->Poll(), IsOk());
  twin_->Close();
  EXPECT_THAT(client_->Poll(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(client_->status(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace vfio_user
