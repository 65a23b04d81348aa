#include "server/dma/dma_messenger.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/dma_cancellation.h"
#include "server/dma_space.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

using Bytes = std::vector<uint8_t>;

constexpr uint32_t kMaxDataBytes = 4;

// As many as a transfer has in flight.
constexpr int kInFlight = 64;

// The body of a DMA message at address 0x1000 + `at`, which is below 4096.
Bytes Body(int at, uint8_t count, std::string_view data = "") {
  const auto low = static_cast<uint8_t>(at);
  const auto high = static_cast<uint8_t>(0x10 + (at >> 8));
  Bytes out = {low, high, 0, 0, 0, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0};
  for (const char byte : data) out.push_back(static_cast<uint8_t>(byte));
  return out;
}

// The test is the client: it answers, or not, while a transfer runs on a thread of its own.
class DmaMessengerTest : public testing::Test {
 protected:
  void SetUp() override { Connect(absl::Seconds(20)); }

  void TearDown() override {
    channel_->Close(absl::CancelledError("the test is over"));
    if (reader_.joinable()) reader_.join();
  }

  void Connect(absl::Duration timeout, uint32_t max_data_bytes = kMaxDataBytes) {
    auto connected = ScriptedPeer::Pair();
    ASSERT_THAT(connected, IsOk());
    client_ = std::make_unique<ScriptedPeer>(std::move(connected->peer));
    auto socket = Socket::Adopt(std::move(connected->socket));
    ASSERT_THAT(socket, IsOk());
    channel_ =
        std::make_shared<Channel>(MessageStream(*std::move(socket), {}), [this](IncomingCommand&) {
          reader_has_begun_.set_value();
          return absl::OkStatus();
        });
    messenger_ = std::make_unique<DmaMessenger>(
        channel_, DmaMessenger::Options{.max_data_bytes = max_data_bytes, .timeout = timeout});
  }

  // From now on a thread of its own reads the channel, and not whoever waits.
  void ReadOnAnotherThread() {
    reader_ = std::thread([this] { (void)channel_->Serve(); });
    ASSERT_THAT(client_->Send({.command = Command::kDeviceReset, .no_reply = true}), IsOk());
    reader_has_begun_.get_future().get();
  }

  std::future<absl::Status> StartRead(Iova from, std::span<char> into) {
    return std::async(std::launch::async, [this, from, into] {
      const DmaReadPiece piece = {from, std::as_writable_bytes(into)};
      return messenger_->Read({&piece, 1}, cancellation_.Begin());
    });
  }
  std::future<absl::Status> StartWrite(Iova to, std::string_view from) {
    return std::async(std::launch::async, [this, to, from] {
      const DmaWritePiece piece = {to, std::as_bytes(std::span(from))};
      return messenger_->Write({&piece, 1}, cancellation_.Begin());
    });
  }

  void ReceiveRequests(int count, std::vector<ScriptedPeer::Message>& requests) {
    for (int i = 0; i < count; ++i) {
      auto request = client_->Receive();
      ASSERT_THAT(request, IsOk());
      requests.push_back(*std::move(request));
    }
  }

  DmaCancellation cancellation_;
  std::unique_ptr<ScriptedPeer> client_;
  std::shared_ptr<Channel> channel_;
  std::unique_ptr<DmaMessenger> messenger_;
  std::thread reader_;
  std::promise<void> reader_has_begun_;
};

TEST_F(DmaMessengerTest, Reads) {
  std::string into(3, ' ');
  auto read = StartRead(Iova{0x1122334455667788}, into);

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDmaRead);
  EXPECT_THAT(request->body, ElementsAre(0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  //
                                         3, 0, 0, 0, 0, 0, 0, 0));
  Bytes reply = request->body;
  reply.insert(reply.end(), {'a', 'b', 'c'});
  ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into, "abc");
}

TEST_F(DmaMessengerTest, Writes) {
  auto written = StartWrite(Iova{0x1020}, "abc");

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDmaWrite);
  EXPECT_EQ(request->body, Body(0x20, 3, "abc"));
  ASSERT_THAT(client_->Reply(request->header, Body(0x20, 3)), IsOk());

  EXPECT_THAT(written.get(), IsOk());
}

TEST_F(DmaMessengerTest, TakesAWriteReplyWithAShortCount) {
  auto written = StartWrite(Iova{0x1020}, "abc");

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  const Bytes reply = {0x20, 0x10, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0};
  ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

  EXPECT_THAT(written.get(), IsOk());
}

TEST_F(DmaMessengerTest, CutsPiecesAndSkipsEmptyOnes) {
  std::string long_one(9, ' ');
  std::string short_one(1, ' ');
  auto read = std::async(std::launch::async, [&] {
    const std::array<DmaReadPiece, 3> pieces = {{
        {Iova{0x1000}, std::as_writable_bytes(std::span(long_one))},
        {Iova{0x5000}, {}},
        {Iova{0x1080}, std::as_writable_bytes(std::span(short_one))},
    }};
    return messenger_->Read(pieces, cancellation_.Begin());
  });

  for (const Bytes& reply :
       {Body(0, 4, "abcd"), Body(4, 4, "efgh"), Body(8, 1, "i"), Body(0x80, 1, "j")}) {
    const auto request = client_->Receive();
    ASSERT_THAT(request, IsOk());
    EXPECT_EQ(request->body, Bytes(reply.begin(), reply.begin() + 16));
    ASSERT_THAT(client_->Reply(request->header, reply), IsOk());
  }

  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(long_one, "abcdefghi");
  EXPECT_EQ(short_one, "j");
}

TEST_F(DmaMessengerTest, KeepsManyMessagesInFlightAndTakesAnyOrder) {
  std::string into((kInFlight + 2) * 4, ' ');
  auto read = StartRead(Iova{0x1000}, into);

  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(kInFlight, requests));
  for (int i = kInFlight; i-- > 0;) {
    const std::string data(4, static_cast<char>('0' + i));
    ASSERT_THAT(client_->Reply(requests[static_cast<size_t>(i)].header, Body(4 * i, 4, data)),
                IsOk());
  }
  for (int i = kInFlight; i < kInFlight + 2; ++i) {
    const auto request = client_->Receive();
    ASSERT_THAT(request, IsOk());
    ASSERT_THAT(client_->Reply(request->header, Body(4 * i, 4, "....")), IsOk());
  }

  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into.substr(0, 12), "000011112222");
  EXPECT_EQ(into.substr((kInFlight - 1) * 4), "oooo........");
}

TEST_F(DmaMessengerTest, SendsTheNextWhenHalfOfThemAreAnswered) {
  std::string into((kInFlight + 2) * 4, ' ');
  auto read = StartRead(Iova{0x1000}, into);

  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(kInFlight, requests));
  for (int i = 0; i < kInFlight / 2; ++i) {
    ASSERT_THAT(client_->Reply(requests[static_cast<size_t>(i)].header, Body(4 * i, 4, "abcd")),
                IsOk());
  }
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(2, requests));
  for (int i = kInFlight / 2; i < kInFlight + 2; ++i) {
    ASSERT_THAT(client_->Reply(requests[static_cast<size_t>(i)].header, Body(4 * i, 4, "abcd")),
                IsOk());
  }

  EXPECT_THAT(read.get(), IsOk());
}

TEST_F(DmaMessengerTest, KeepsFourLongMessagesInFlight) {
  constexpr uint32_t kLong = 64 << 10;
  Connect(absl::Seconds(20), kLong);
  std::string into(6 * kLong, ' ');
  auto read = StartRead(Iova{0x1000}, into);

  // Reads are sent together, so that a fifth would be there with the fourth.
  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(4, requests));
  int more = -1;
  ASSERT_EQ(::ioctl(client_->fd().get(), FIONREAD, &more), 0);
  EXPECT_EQ(more, 0);

  for (int i = 0; i < 6; ++i) {
    if (i == 4) {
      ASSERT_NO_FATAL_FAILURE(ReceiveRequests(2, requests));
    }
    const ScriptedPeer::Message& request = requests[static_cast<size_t>(i)];
    Bytes reply = request.body;
    reply.resize(reply.size() + kLong, static_cast<uint8_t>('0' + i));
    ASSERT_THAT(client_->Reply(request.header, reply), IsOk());
  }
  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into[4 * kLong - 1], '3');
  EXPECT_EQ(into[5 * kLong], '5');
}

TEST_F(DmaMessengerTest, ClosesDescriptorsThatComeWithAnAnswer) {
  const int before = OpenFdCount();
  std::string into(8, ' ');
  auto read = StartRead(Iova{0x1000}, into);
  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(2, requests));
  const std::vector<FdView> fds(100, client_->fd());

  // The first one's answer is withheld.
  ASSERT_THAT(client_->Reply(requests[1].header, Body(4, 4, "abcd"), fds), IsOk());
  const auto closed = [this, before] {
    int unread = 1;
    return ::ioctl(client_->fd().get(), SIOCOUTQ, &unread) == 0 && unread == 0 &&
           OpenFdCount() == before;
  };
  const Deadline enough = Deadline::In(absl::Seconds(10));
  while (!closed() && !enough.passed()) std::this_thread::yield();
  EXPECT_EQ(OpenFdCount(), before);

  ASSERT_THAT(client_->Reply(requests[0].header, Body(0, 4, "efgh")), IsOk());
  EXPECT_THAT(read.get(), IsOk());
}

TEST_F(DmaMessengerTest, ReturnsTheFirstErrorOnceAllAnswersAreThere) {
  std::string into((kInFlight + 2) * 4, ' ');
  auto read = StartRead(Iova{0x1000}, into);

  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(kInFlight, requests));
  ASSERT_THAT(client_->ReplyError(requests[0].header, EFAULT), IsOk());
  ASSERT_THAT(client_->ReplyError(requests[1].header, EACCES), IsOk());
  for (int i = 2; i < kInFlight; ++i) {
    ASSERT_THAT(client_->Reply(requests[static_cast<size_t>(i)].header, Body(4 * i, 4, "good")),
                IsOk());
  }

  const absl::Status status = read.get();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("0x1000")));
  EXPECT_EQ(ErrnoOf(status), EFAULT);
  EXPECT_EQ(into.substr((kInFlight - 1) * 4), "good        ");
  // No further message was sent: the next that comes is of the next transfer.
  auto written = StartWrite(Iova{0x1077}, "x");
  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->body, Body(0x77, 1, "x"));
  ASSERT_THAT(client_->Reply(request->header, Body(0x77, 1)), IsOk());
  EXPECT_THAT(written.get(), IsOk());
}

TEST_F(DmaMessengerTest, BreaksTheChannelOnAnAnswerToAnotherQuestion) {
  const std::vector<Bytes> read_replies = {
      Body(0x21, 3, "abc"),  // Another address.
      Body(0x20, 2, "abc"),  // Another count.
      Body(0x20, 3, "ab"),   // Too little data.
      Body(0x20, 3, "abcd"), {}, {1, 2, 3},
  };
  for (const Bytes& reply : read_replies) {
    Connect(absl::Seconds(20));
    std::string into(3, ' ');
    auto read = StartRead(Iova{0x1020}, into);
    const auto request = client_->Receive();
    ASSERT_THAT(request, IsOk());
    ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

    EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kDataLoss)) << reply.size();
    EXPECT_THAT(channel_->status(), StatusIs(absl::StatusCode::kDataLoss)) << reply.size();
  }
}

TEST_F(DmaMessengerTest, BreaksTheChannelOnAWrongAnswerToAWrite) {
  for (const Bytes& reply : {Body(0x21, 3), Body(0x20, 2), Body(0x20, 3, "x"), Bytes()}) {
    Connect(absl::Seconds(20));
    auto written = StartWrite(Iova{0x1020}, "abc");
    const auto request = client_->Receive();
    ASSERT_THAT(request, IsOk());
    ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

    EXPECT_THAT(written.get(), StatusIs(absl::StatusCode::kDataLoss)) << reply.size();
    EXPECT_THAT(channel_->status(), StatusIs(absl::StatusCode::kDataLoss)) << reply.size();
  }
}

TEST_F(DmaMessengerTest, GivesUpOnASilentClientAndDropsItsLateAnswer) {
  Connect(absl::Milliseconds(5));
  std::string into(3, ' ');

  EXPECT_THAT(StartRead(Iova{0x1020}, into).get(), StatusIs(absl::StatusCode::kDeadlineExceeded));

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  ASSERT_THAT(client_->Reply(request->header, Body(0x20, 3, "abc")), IsOk());
  (void)channel_->Poll();
  EXPECT_EQ(into, "   ");
  EXPECT_THAT(channel_->status(), IsOk());
}

TEST_F(DmaMessengerTest, SendsNothingWhenCancelled) {
  cancellation_.Cancel();
  std::string into(3, ' ');

  EXPECT_THAT(StartRead(Iova{0x1020}, into).get(), StatusIs(absl::StatusCode::kCancelled));

  channel_->Close(absl::CancelledError("done"));
  EXPECT_THAT(client_->ReceiveEof(), IsOk());
}

TEST_F(DmaMessengerTest, WakesATransferThatIsCancelled) {
  ASSERT_NO_FATAL_FAILURE(ReadOnAnotherThread());
  std::string into(40, ' ');
  auto read = StartRead(Iova{0x1000}, into);
  std::vector<ScriptedPeer::Message> requests;
  ASSERT_NO_FATAL_FAILURE(ReceiveRequests(10, requests));

  cancellation_.Cancel();
  messenger_->CancelWaiting();

  EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kCancelled));
  // What was asked for is dropped when it comes, and the channel lives on.
  cancellation_.Resume();
  for (int i = 0; i < 10; ++i) {
    ASSERT_THAT(client_->Reply(requests[static_cast<size_t>(i)].header, Body(4 * i, 4, "late")),
                IsOk());
  }
  auto written = StartWrite(Iova{0x1020}, "abc");
  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  ASSERT_THAT(client_->Reply(request->header, Body(0x20, 3)), IsOk());
  EXPECT_THAT(written.get(), IsOk());
  EXPECT_EQ(into, std::string(40, ' '));
}

TEST_F(DmaMessengerTest, EndsWithTheConnection) {
  std::string into(3, ' ');
  auto read = StartRead(Iova{0x1020}, into);
  ASSERT_THAT(client_->Receive(), IsOk());

  client_->Close();

  EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace vfio_user
