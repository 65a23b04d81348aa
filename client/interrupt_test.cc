#include "client/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class InterruptTest : public testing::Test {
 protected:
  void SetUp() override { Connect(kTwinGranted); }

  void Connect(const std::string& version_json) {
    absl::StatusOr<GreetedSocket> greeted = Greet(version_json);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
    ServedRequest served = AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000"));
    client_->GetIrqInfo(IrqIndex{99}).IgnoreError();
    ASSERT_THAT(served.get(), IsOk());
  }
  // An interrupt that is left must not wait for a server that does not answer.
  void TearDown() override { server_->Close(); }

  // Binds vector `vector` of the 4 that the device says it has, and keeps what the server got.
  absl::StatusOr<Interrupt> Bind(uint32_t vector) {
    auto served = std::async(std::launch::async, [&]() -> absl::StatusOr<ScriptedPeer::Message> {
      const auto asked = AnswerNext(*server_, Hex("10000000 01000000 02000000 04000000")).get();
      if (!asked.ok()) return asked.status();
      return AnswerNext(*server_).get();
    });
    absl::StatusOr<Interrupt> interrupt = client_->BindInterrupt(IrqIndex::kMsix, vector);
    absl::StatusOr<ScriptedPeer::Message> request = served.get();
    EXPECT_THAT(request, IsOk());
    if (request.ok()) binding_ = *std::move(request);
    return interrupt;
  }

  void Signal(uint64_t count) {
    ASSERT_EQ(::write(binding_.fds.at(0).get(), &count, sizeof(count)),
              static_cast<ssize_t>(sizeof(count)));
  }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
  ScriptedPeer::Message binding_;
};

TEST_F(InterruptTest, BindingPassesAnEventfdThatDoesNotBlock) {
  const absl::StatusOr<Interrupt> interrupt = Bind(2);

  ASSERT_THAT(interrupt, IsOk());
  EXPECT_EQ(binding_.header.command, Command::kDeviceSetIrqs);
  EXPECT_THAT(binding_.body, ElementsAreArray(Hex("14000000 24000000 02000000 02000000 01000000")));
  ASSERT_EQ(binding_.fds.size(), 1u);
  EXPECT_NE(::fcntl(binding_.fds[0].get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_EQ(::fcntl(interrupt->fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(interrupt->index(), IrqIndex::kMsix);
  EXPECT_EQ(interrupt->vector(), 2u);
  server_->Close();
}

TEST_F(InterruptTest, WaitAddsUpSignals) {
  absl::StatusOr<Interrupt> interrupt = Bind(0);
  ASSERT_THAT(interrupt, IsOk());
  Signal(1);
  Signal(2);

  EXPECT_THAT(interrupt->Wait(absl::ZeroDuration()), IsOkAndHolds(3u));
  EXPECT_THAT(interrupt->Wait(absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("no interrupt msix 0 in 0")));
  server_->Close();
}

TEST_F(InterruptTest, WaitIsWokenByTheDevice) {
  absl::StatusOr<Interrupt> interrupt = Bind(0);
  ASSERT_THAT(interrupt, IsOk());
  auto waiting =
      std::async(std::launch::async, [&] { return interrupt->Wait(absl::InfiniteDuration()); });

  Signal(1);

  EXPECT_THAT(waiting.get(), IsOkAndHolds(1u));
  server_->Close();
}

TEST_F(InterruptTest, EachSignalIsSeenByOneWaiter) {
  absl::StatusOr<Interrupt> interrupt = Bind(0);
  ASSERT_THAT(interrupt, IsOk());
  constexpr uint64_t kSignals = 200;
  const auto wait = [&] {
    uint64_t seen = 0;
    // The last one that a waiter sees ends both.
    while (true) {
      const absl::StatusOr<uint64_t> signals = interrupt->Wait(absl::Milliseconds(100));
      if (!signals.ok()) return seen;
      seen += *signals;
    }
  };
  auto one = std::async(std::launch::async, wait);
  auto other = std::async(std::launch::async, wait);

  for (uint64_t i = 0; i < kSignals; ++i) Signal(1);

  EXPECT_EQ(one.get() + other.get(), kSignals);
  server_->Close();
}

TEST_F(InterruptTest, TheDescriptorIsReadableWhileAnInterruptIsPending) {
  absl::StatusOr<Interrupt> interrupt = Bind(0);
  ASSERT_THAT(interrupt, IsOk());
  pollfd entry = {.fd = interrupt->fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);

  Signal(1);

  EXPECT_EQ(::poll(&entry, 1, 0), 1);
  server_->Close();
}

TEST_F(InterruptTest, DestroyingUnbindsTheVector) {
  Connect(kWriteMultiple);
  std::optional<ServedRequest> served;
  {
    const absl::StatusOr<Interrupt> interrupt = Bind(3);
    ASSERT_THAT(interrupt, IsOk());
    served = AnswerNext(*server_);
  }

  const absl::StatusOr<ScriptedPeer::Message> request = served->get();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAreArray(Hex("14000000 24000000 02000000 03000000 01000000")));
  EXPECT_THAT(request->fds, IsEmpty());
}

TEST_F(InterruptTest, DestroyingUnbindsTheFirstVectorOfALibvfioUserAtOnce) {
  std::optional<ServedRequest> served;
  {
    const absl::StatusOr<Interrupt> interrupt = Bind(0);
    ASSERT_THAT(interrupt, IsOk());
    served = AnswerNext(*server_);
  }

  const absl::StatusOr<ScriptedPeer::Message> request = served->get();
  ASSERT_THAT(request, IsOk());
  EXPECT_THAT(request->body, ElementsAreArray(Hex("14000000 24000000 02000000 00000000 01000000")));
  EXPECT_THAT(request->fds, IsEmpty());
}

TEST_F(InterruptTest, DestroyingTakesTheEventfdFromALibvfioUserThatDoesNotUnbind) {
  std::optional<ServedRequests> served;
  UniqueFd copy;
  {
    const absl::StatusOr<Interrupt> interrupt = Bind(3);
    ASSERT_THAT(interrupt, IsOk());
    copy.Reset(::fcntl(interrupt->fd(), F_DUPFD_CLOEXEC, 0));
    served = AnswerAll(*server_, {0, 0});
  }

  const auto requests = served->get();
  ASSERT_THAT(requests, IsOk());
  for (const ScriptedPeer::Message& request : *requests) {
    EXPECT_THAT(request.body,
                ElementsAreArray(Hex("14000000 24000000 02000000 03000000 01000000")));
  }
  ASSERT_EQ(requests->at(0).fds.size(), 1u);
  const uint64_t once = 1;
  ASSERT_EQ(::write(requests->at(0).fds[0].get(), &once, sizeof(once)), ssize_t{sizeof(once)});
  uint64_t signals = 0;
  EXPECT_EQ(::read(copy.get(), &signals, sizeof(signals)), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_THAT(requests->at(1).fds, IsEmpty());
}

TEST_F(InterruptTest, UnmasksItsVector) {
  const absl::StatusOr<Interrupt> interrupt = Bind(2);
  ASSERT_THAT(interrupt, IsOk());
  ServedRequests served = AnswerAll(*server_, {0, ENOTTY});

  EXPECT_THAT(interrupt->Unmask(), IsOk());
  EXPECT_EQ(ErrnoOf(interrupt->Mask()), ENOTTY);

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(0).body,
              ElementsAreArray(Hex("14000000 11000000 02000000 02000000 01000000")));
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 09000000 02000000 02000000 01000000")));
  server_->Close();
}

TEST_F(InterruptTest, DestroyingLeavesAVectorThatWasBoundAnew) {
  std::optional<absl::StatusOr<Interrupt>> first = Bind(3);
  ASSERT_THAT(*first, IsOk());
  const absl::StatusOr<Interrupt> second = Bind(3);
  ASSERT_THAT(second, IsOk());

  first.reset();

  // The next that the server gets is this, and not an unbinding.
  ServedRequest served = AnswerNext(*server_);
  EXPECT_THAT(client_->Reset(), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceReset);
  server_->Close();  // Else the second would wait for the answer to its unbinding.
}

TEST_F(InterruptTest, DestroyingLeavesAVectorThatIsJustBeingBoundAnew) {
  std::optional<absl::StatusOr<Interrupt>> first = Bind(3);
  ASSERT_THAT(*first, IsOk());
  auto second =
      std::async(std::launch::async, [&] { return client_->BindInterrupt(IrqIndex::kMsix, 3); });
  ASSERT_THAT(AnswerNext(*server_, Hex("10000000 01000000 02000000 04000000")).get(), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> binding = server_->Receive();
  ASSERT_THAT(binding, IsOk());
  auto destroyed = std::async(std::launch::async, [&] { first.reset(); });

  // Nothing comes before the binding is answered, and no unbinding after it.
  server_->set_patience(absl::Milliseconds(50));
  EXPECT_THAT(server_->Receive(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  server_->set_patience(ScriptedPeer::kUsualPatience);
  ASSERT_THAT(server_->Reply(binding->header), IsOk());
  destroyed.get();
  const absl::StatusOr<Interrupt> bound = second.get();

  EXPECT_THAT(bound, IsOk());
  ServedRequest served = AnswerNext(*server_);
  EXPECT_THAT(client_->Reset(), IsOk());
  EXPECT_EQ(served.get()->header.command, Command::kDeviceReset);
  server_->Close();
}

TEST_F(InterruptTest, MovingMovesTheBinding) {
  absl::StatusOr<Interrupt> one = Bind(1);
  ASSERT_THAT(one, IsOk());
  absl::StatusOr<Interrupt> other = Bind(2);
  ASSERT_THAT(other, IsOk());
  ServedRequests served = AnswerAll(*server_, {0, 0});

  *one = *std::move(other);
  Signal(1);

  const auto requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(requests->at(1).body,
              ElementsAreArray(Hex("14000000 24000000 02000000 01000000 01000000")));
  EXPECT_EQ(one->vector(), 2u);
  EXPECT_THAT(one->Wait(absl::ZeroDuration()), IsOkAndHolds(1u));
  EXPECT_THAT(other->Wait(absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kFailedPrecondition));  // NOLINT: moved from on purpose.
  server_->Close();
}

TEST_F(InterruptTest, AVectorThatTheDeviceDoesNotHaveIsNotFound) {
  ServedRequest served = AnswerNext(*server_, Hex("10000000 01000000 02000000 04000000"));

  EXPECT_THAT(client_->BindInterrupt(IrqIndex::kMsix, 4),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no msix vector 4: it has 4")));
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(InterruptTest, ARefusedBindingLeavesNoDescriptor) {
  const int before = OpenFdCount();
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex("10000000 01000000 02000000 04000000")).get(), IsOk());
    EXPECT_THAT(RefuseNext(*server_, EINVAL).get(), IsOk());
  });

  EXPECT_THAT(client_->BindInterrupt(IrqIndex::kMsix, 0),
              StatusIs(absl::StatusCode::kInvalidArgument));

  served.get();
  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
