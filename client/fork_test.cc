// A forked child has its parent's objects and must not use them: the memory that was lent is the
// parent's, and so is the connection.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

// Runs `body` in a forked child, whose exit code it returns; -1 for a child that hung or crashed.
template <typename Body>
int InChild(Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(10);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

bool IsRefused(const absl::Status& status) { return absl::IsFailedPrecondition(status); }

// A client with a region, a mapping and an interrupt.
class ForkTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<GreetedSocket> greeted = Greet(kTwinGranted);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
    OpenRegion();
    Bind();
    ServedRequest served = AnswerNext(*server_);
    absl::StatusOr<DmaMapping> mapping = client_->Map(memory_);
    ASSERT_THAT(served.get(), IsOk());
    ASSERT_THAT(mapping, IsOk());
    mapping_.emplace(*std::move(mapping));
  }
  void TearDown() override { server_->Close(); }

  void OpenRegion() {
    auto served = std::async(std::launch::async, [&] {
      EXPECT_THAT(AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000")).get(), IsOk());
      EXPECT_THAT(AnswerNext(*server_, Hex("20000000 03000000 00000000 00000000"
                                           "0010000000000000 0000000000000000"))
                      .get(),
                  IsOk());
    });
    absl::StatusOr<Region> region = client_->OpenRegion(RegionIndex::kBar0);
    served.get();
    ASSERT_THAT(region, IsOk());
    region_.emplace(*std::move(region));
  }

  void Bind() {
    auto served = std::async(std::launch::async, [&] {
      EXPECT_THAT(AnswerNext(*server_, Hex("10000000 01000000 02000000 04000000")).get(), IsOk());
      EXPECT_THAT(AnswerNext(*server_).get(), IsOk());
    });
    absl::StatusOr<Interrupt> interrupt = client_->BindInterrupt(IrqIndex::kMsix, 0);
    served.get();
    ASSERT_THAT(interrupt, IsOk());
    interrupt_.emplace(*std::move(interrupt));
  }

  // Everything works in the parent, and nothing was sent before.
  void ExpectTheParentsConnectionUntouched() {
    ServedRequest served = AnswerNext(*server_);
    EXPECT_THAT(client_->Reset(), IsOk());
    const absl::StatusOr<ScriptedPeer::Message> request = served.get();
    ASSERT_THAT(request, IsOk());
    EXPECT_EQ(request->header.command, Command::kDeviceReset);
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(100);
  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
  std::optional<Region> region_;
  std::optional<DmaMapping> mapping_;
  std::optional<Interrupt> interrupt_;
};

TEST_F(ForkTest, EveryCallIsRefusedInTheChild) {
  const int code = InChild([this] {
    if (!IsRefused(client_->status())) return 1;
    if (!IsRefused(client_->Reset())) return 2;
    if (!IsRefused(client_->GetDeviceInfo().status())) return 3;
    if (!IsRefused(client_->GetRegionInfo(RegionIndex::kBar0).status())) return 4;
    if (!IsRefused(client_->GetIrqInfo(IrqIndex::kMsix).status())) return 5;
    if (!IsRefused(client_->OpenRegion(RegionIndex::kBar0).status())) return 6;
    if (!IsRefused(client_->BindInterrupt(IrqIndex::kMsix, 0).status())) return 7;
    std::vector<std::byte> memory(10);
    if (!IsRefused(client_->Map(memory).status())) return 8;
    if (!IsRefused(client_->Poll())) return 9;
    if (!IsRefused(region_->Read<uint32_t>(0).status())) return 10;
    if (!IsRefused(region_->Write<uint32_t>(0, 1))) return 11;
    if (!IsRefused(interrupt_->Wait(absl::ZeroDuration()).status())) return 12;
    if (!IsRefused(mapping_->Unmap())) return 13;
    return 0;
  });

  EXPECT_EQ(code, 0);
  ExpectTheParentsConnectionUntouched();
}

TEST_F(ForkTest, DestroyingEverythingInTheChildDoesNothingToTheParent) {
  const int code = InChild([this] {
    interrupt_.reset();
    mapping_.reset();
    region_.reset();
    client_.reset();
    return 0;
  });

  EXPECT_EQ(code, 0);
  ExpectTheParentsConnectionUntouched();
}

TEST_F(ForkTest, AChildCanConnectOnItsOwn) {
  absl::StatusOr<GreetedSocket> greeted = Greet(kTwinGranted);
  ASSERT_THAT(greeted, IsOk());

  const int code = InChild([&] {
    // Without a thread: ThreadSanitizer lets no forked child start one.
    const absl::StatusOr<Client> own =
        Client::Adopt(std::move(greeted->client), {.dma_service = DmaService::kPoll});
    return own.ok() && own->status().ok() ? 0 : 1;
  });

  EXPECT_EQ(code, 0);
  ExpectTheParentsConnectionUntouched();
}

TEST_F(ForkTest, AForkWhileOtherThreadsCallDoesNotHangTheChild) {
  auto waiting = std::async(std::launch::async, [this] { return client_->Reset(); });
  const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
  ASSERT_THAT(request, IsOk());

  const int code = InChild([this] {
    if (!IsRefused(client_->Reset())) return 1;
    interrupt_.reset();
    mapping_.reset();
    region_.reset();
    client_.reset();
    return 0;
  });

  EXPECT_EQ(code, 0);
  ASSERT_THAT(server_->Reply(request->header), IsOk());
  EXPECT_THAT(waiting.get(), IsOk());
}

TEST_F(ForkTest, AChildNeverWaitsForALockThatItsParentHeld) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "the child has to allocate, and may wait for ever for a lock of the sanitizer's "
                  "allocator that a thread of its parent held (mended in clang 18 and 19)";
#endif
  std::atomic<bool> stop = false;
  // Takes the session's locks all the time, and needs no answer.
  std::thread busy([&] {
    while (!stop) client_->GetRegionInfo(RegionIndex{99}).IgnoreError();
  });

  int failures = 0;
  for (int i = 0; i < 50 && failures == 0; ++i) {
    failures += InChild([this] {
                  interrupt_.reset();
                  mapping_.reset();
                  region_.reset();
                  return IsRefused(client_->status()) ? 0 : 1;
                }) == 0
                    ? 0
                    : 1;
  }
  stop = true;
  busy.join();

  EXPECT_EQ(failures, 0);
  ExpectTheParentsConnectionUntouched();
}

}  // namespace
}  // namespace vfio_user
