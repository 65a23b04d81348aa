// Who reads which socket, deadlines, and the end of a connection.
#include "client/session/session.h"

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/dma/dma_table.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

// A DMA_WRITE of 0x33 to bus address 0x1000, and its reply.
const std::vector<uint8_t> kDmaWrite = Hex("0010000000000000 0100000000000000 33");
const std::vector<uint8_t> kDmaWriteReply = Hex("0010000000000000 0100000000000000");

SessionOptions Impatient() { return {.reply_timeout = absl::Milliseconds(20)}; }
SessionOptions Polled() { return {.dma_service = DmaService::kPoll}; }

class SessionTest : public testing::Test {
 protected:
  // A session with one byte lent at bus address 0x1000.
  void Start(const std::string& version_json, const SessionOptions& options = {}) {
    absl::StatusOr<ScriptedSession> started = StartScriptedSession(version_json, options);
    ASSERT_THAT(started, IsOk());
    server_.emplace(std::move(started->server));
    twin_ = std::move(started->twin);
    session_ = std::move(started->session);
    ASSERT_THAT(session_->dma_table().Insert(Iova{0x1000},
                                             {.data = &byte_, .size = 1, .access = kReadWrite}),
                IsOk());
  }

  std::byte byte_{0};
  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::shared_ptr<Session> session_;
};

TEST_F(SessionTest, ServesTheTwinFromTheBackground) {
  Start(kTwinGranted);

  ASSERT_THAT(twin_->Send({.msg_id = 5, .command = Command::kDmaWrite}, kDmaWrite), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> reply = twin_->Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.msg_id, 5);
  EXPECT_THAT(reply->body, ElementsAreArray(kDmaWriteReply));
  EXPECT_EQ(byte_, std::byte{0x33});
}

TEST_F(SessionTest, ServesTheMainSocketFromTheBackgroundWithoutATwin) {
  Start(kNoTwin);

  ASSERT_THAT(server_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> reply = server_->Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_THAT(reply->body, ElementsAreArray(kDmaWriteReply));
}

TEST_F(SessionTest, TheWaitingCallerServesTheMainSocket) {
  // Nobody polls: if the caller did not serve the command, the test would wait for ever.
  Start(kNoTwin, Polled());
  auto served = std::async(std::launch::async, [this] {
    const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
    EXPECT_THAT(request, IsOk());
    // With the id of the request: the two sides number their commands by themselves.
    EXPECT_THAT(
        server_->Send({.msg_id = request->header.msg_id, .command = Command::kDmaWrite}, kDmaWrite),
        IsOk());
    const absl::StatusOr<ScriptedPeer::Message> reply = server_->Receive();
    EXPECT_THAT(reply, IsOk());
    EXPECT_THAT(reply->body, ElementsAreArray(kDmaWriteReply));
    EXPECT_THAT(server_->Reply(request->header), IsOk());
  });

  EXPECT_THAT(session_->Reset(), IsOk());

  served.get();
  EXPECT_EQ(byte_, std::byte{0x33});
}

TEST_F(SessionTest, TheWaitingCallerServesTheTwin) {
  Start(kTwinGranted, Polled());
  auto served = std::async(std::launch::async, [this] {
    const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
    EXPECT_THAT(request, IsOk());
    EXPECT_THAT(twin_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());
    EXPECT_THAT(twin_->Receive(), IsOk());
    EXPECT_THAT(server_->Reply(request->header), IsOk());
  });

  EXPECT_THAT(session_->Reset(), IsOk());

  served.get();
  EXPECT_EQ(byte_, std::byte{0x33});
}

TEST_F(SessionTest, TheWaitingCallerSeesTheTwinClose) {
  Start(kTwinGranted, Polled());
  auto served = std::async(std::launch::async, [this] {
    EXPECT_THAT(server_->Receive(), IsOk());
    twin_->Shutdown();
  });

  EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kUnavailable));

  served.get();
}

TEST_F(SessionTest, PollServesTheTwin) {
  Start(kTwinGranted, Polled());
  ASSERT_THAT(twin_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());

  EXPECT_THAT(session_->Poll(), IsOk());

  EXPECT_EQ(byte_, std::byte{0x33});
  EXPECT_THAT(twin_->Receive(), IsOk());
}

TEST_F(SessionTest, PollServesTheMainSocketWithoutATwin) {
  Start(kNoTwin, Polled());
  ASSERT_THAT(server_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());

  EXPECT_THAT(session_->Poll(), IsOk());

  EXPECT_EQ(byte_, std::byte{0x33});
}

TEST_F(SessionTest, PollWithNothingToDoReturns) {
  Start(kTwinGranted, Polled());

  EXPECT_THAT(session_->Poll(), IsOk());
  EXPECT_GE(session_->poll_fd(), 0);
}

TEST_F(SessionTest, ThereIsNothingToPollWithABackgroundThread) {
  Start(kTwinGranted);

  EXPECT_EQ(session_->poll_fd(), -1);
  EXPECT_THAT(session_->Poll(), IsOk());
}

TEST_F(SessionTest, TheLowerDataSizeHolds) {
  Start(R"({"capabilities":{"max_data_xfer_size":4096}})");

  EXPECT_EQ(session_->max_data_xfer_bytes(), 4096u);
  EXPECT_EQ(session_->max_read_bytes(), 4096u);
  EXPECT_EQ(session_->max_write_bytes(), 4096u);
}

TEST_F(SessionTest, MessagesAreCutBelowALargeDataSize) {
  Start(R"({"capabilities":{"max_data_xfer_size":67108864}})");

  EXPECT_EQ(session_->max_data_xfer_bytes(), 1u << 20);
  EXPECT_EQ(session_->max_read_bytes(), 64u << 10);
  EXPECT_EQ(session_->max_write_bytes(), 32u << 10);
}

TEST_F(SessionTest, ALateReplyIsDroppedAndTheConnectionLivesOn) {
  Start(kTwinGranted, Impatient());
  const absl::Status late = session_->Reset();
  const absl::StatusOr<ScriptedPeer::Message> first = server_->Receive();
  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(server_->Reply(first->header), IsOk());
  // The next answer in advance, so that it cannot be late as well.
  MessageHeader next = first->header;
  ++next.msg_id;
  next.command = Command::kRegionRead;
  ASSERT_THAT(server_->Reply(next, Hex("0000000000000000 00000000 01000000 44")), IsOk());

  std::array<std::byte, 1> into = {};
  const absl::Status in_time = session_->ReadRegion(RegionIndex::kBar0, 0, into);

  EXPECT_THAT(late, StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("DEVICE_RESET")));
  EXPECT_THAT(in_time, IsOk());
  EXPECT_EQ(into[0], std::byte{0x44});
}

TEST_F(SessionTest, AMissedDeadlineOnMapEndsTheConnection) {
  Start(kTwinGranted, Impatient());

  const absl::Status status = session_->MapDma({.address = Iova{0x5000}, .size = 1}, {});

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded,
                               HasSubstr("what became of DMA_MAP is not known")));
  EXPECT_FALSE(session_->status().ok());
  ASSERT_THAT(server_->Receive(), IsOk());
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

TEST_F(SessionTest, AMissedDeadlineOnUnmapEndsTheConnection) {
  Start(kTwinGranted, Impatient());

  const absl::Status status = session_->UnmapDma(Iova{0x5000}, 1);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_FALSE(session_->status().ok());
}

TEST_F(SessionTest, CallsThatWaitLearnThatTheServerIsGone) {
  for (const char* json : {kTwinGranted, kNoTwin}) {
    Start(json);
    auto waiting = std::async(std::launch::async, [this] { return session_->Reset(); });
    ASSERT_THAT(server_->Receive(), IsOk());

    server_->Close();
    twin_.reset();

    EXPECT_THAT(waiting.get(), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kUnavailable));
  }
}

TEST_F(SessionTest, TheTwinEndsWithTheMainSocket) {
  Start(kTwinGranted);

  server_->Close();
  EXPECT_THAT(session_->Reset(), StatusIs(absl::StatusCode::kUnavailable));

  EXPECT_THAT(twin_->ReceiveEof(), IsOk());
}

TEST_F(SessionTest, TheMainSocketEndsWithTheTwinAlsoForACallThatWaits) {
  Start(kTwinGranted);
  auto waiting = std::async(std::launch::async, [this] { return session_->Reset(); });
  ASSERT_THAT(server_->Receive(), IsOk());

  twin_->Close();

  EXPECT_THAT(waiting.get(), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
}

TEST_F(SessionTest, PollEndsTheMainSocketWithTheTwin) {
  Start(kTwinGranted, Polled());
  twin_->Close();

  EXPECT_THAT(session_->Poll(), StatusIs(absl::StatusCode::kUnavailable));

  EXPECT_THAT(server_->ReceiveEof(), IsOk());
}

TEST_F(SessionTest, GarbageOnTheTwinEndsBoth) {
  Start(kTwinGranted);

  ASSERT_THAT(twin_->SendBytes(Hex("00000b00 03000000 00000000 00000000")), IsOk());

  EXPECT_THAT(server_->ReceiveEof(), IsOk());
  EXPECT_THAT(session_->status(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST_F(SessionTest, WithoutATwinOneRequestIsUnderWayAtATime) {
  Start(kNoTwin);
  auto one = std::async(std::launch::async, [this] { return session_->Reset(); });
  auto other = std::async(std::launch::async, [this] { return session_->Reset(); });
  const absl::StatusOr<ScriptedPeer::Message> first = server_->Receive();
  ASSERT_THAT(first, IsOk());

  // The server waits for the answer to a command of its own, and must hear nothing else.
  ASSERT_THAT(server_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> answer = server_->Receive();
  ASSERT_THAT(answer, IsOk());
  ASSERT_THAT(server_->Reply(first->header), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> second = server_->Receive();
  ASSERT_THAT(second, IsOk());
  ASSERT_THAT(server_->Reply(second->header), IsOk());

  EXPECT_TRUE(answer->header.is_reply());
  EXPECT_EQ(answer->header.command, Command::kDmaWrite);
  EXPECT_THAT(one.get(), IsOk());
  EXPECT_THAT(other.get(), IsOk());
}

TEST_F(SessionTest, ARequestWhoseTurnDoesNotComeIsNotSent) {
  Start(kNoTwin, {.reply_timeout = absl::Milliseconds(50)});
  auto one = std::async(std::launch::async, [this] { return session_->Reset(); });
  ASSERT_THAT(server_->Receive(), IsOk());

  const absl::Status status = session_->Reset();

  // Either it had no turn, or the other one's time was up first and it had no answer.
  EXPECT_THAT(status.code(),
              AnyOf(absl::StatusCode::kResourceExhausted, absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(one.get(), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(SessionTest, LeavesNoDescriptorsBehind) {
  const int before = OpenFdCount();
  for (const char* json : {kTwinGranted, kNoTwin}) {
    Start(json);
    session_.reset();
    EXPECT_THAT(server_->ReceiveEof(), IsOk());
    server_.reset();
    twin_.reset();
    EXPECT_EQ(OpenFdCount(), before);
  }
}

TEST_F(SessionTest, ManyThreadsCallAtOnceWhileDmaIsServed) {
  Start(kTwinGranted);
  constexpr int kThreads = 4;
  constexpr int kCalls = 200;
  std::thread server([this] {
    for (int i = 0; i < kThreads * kCalls; ++i) {
      const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      ASSERT_THAT(request, IsOk());
      // The offset is the answer, so that each thread can tell its own.
      std::vector<uint8_t> body = request->body;
      body.push_back(request->body[0]);
      ASSERT_THAT(server_->Reply(request->header, body), IsOk());
    }
  });
  std::thread device([this] {
    for (int i = 0; i < kCalls; ++i) {
      ASSERT_THAT(twin_->Send({.command = Command::kDmaWrite}, kDmaWrite), IsOk());
      ASSERT_THAT(twin_->Receive(), IsOk());
    }
  });

  std::vector<std::thread> callers;
  for (int thread = 0; thread < kThreads; ++thread) {
    callers.emplace_back([this, thread] {
      for (int i = 0; i < kCalls; ++i) {
        std::array<std::byte, 1> into = {};
        const auto offset = static_cast<uint64_t>((thread * kCalls + i) % 256);
        ASSERT_THAT(session_->ReadRegion(RegionIndex::kBar0, offset, into), IsOk());
        ASSERT_EQ(into[0], static_cast<std::byte>(offset));
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  server.join();
  device.join();
}

}  // namespace
}  // namespace vfio_user
