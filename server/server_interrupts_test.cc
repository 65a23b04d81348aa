// Interrupts, masks and resets of a device, by a client that speaks bytes.
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

// Bits of the flags of SET_IRQS.
constexpr uint8_t kNone = 1;
constexpr uint8_t kEventfd = 4;
constexpr uint8_t kMask = 8;
constexpr uint8_t kUnmask = 16;
constexpr uint8_t kTrigger = 32;

constexpr uint8_t kIntx = 0;
constexpr uint8_t kMsix = 2;
constexpr uint8_t kErr = 3;

// What the client writes to BAR0 of the device.
constexpr uint8_t kRaise = 16;  // The INTx line.
constexpr uint8_t kLower = 17;
constexpr uint8_t kFail = 18;  // ERR. Below, a vector of MSI-X.

class ServerInterruptsTest : public ServerFixture {
 protected:
  ServerInterruptsTest() {
    auto device = std::make_unique<ProbeDevice>([](DeviceHost& host, uint64_t, uint64_t what) {
      if (what == kRaise || what == kLower) {
        host.SetIntx(what == kRaise ? IntxLine::kUp : IntxLine::kDown);
      } else if (what == kFail) {
        host.TriggerInterrupt(IrqIndex::kErr, 0);
      } else {
        host.TriggerInterrupt(IrqIndex::kMsix, static_cast<uint32_t>(what));
      }
      return absl::OkStatus();
    });
    device_ = device.get();
    Serve(std::move(device));
    Connect();
  }

  void Connect() {
    auto client = RawClient::Connect(path());
    ASSERT_THAT(client, IsOk());
    client_ = std::make_unique<RawClient>(*std::move(client));
  }

  void SetIrqs(uint8_t flags, uint8_t index, uint8_t start, uint8_t count,
               std::span<const FdView> fds = {}) {
    const std::vector<uint8_t> body = {20, 0, 0,     0, flags, 0, 0,     0, index, 0,
                                       0,  0, start, 0, 0,     0, count, 0, 0,     0};
    ASSERT_THAT(client_->ErrorOf(Command::kDeviceSetIrqs, body, fds), IsOkAndHolds(0u));
  }
  void Bind(uint8_t index, uint8_t vector) {
    const FdView fds[] = {event_};
    SetIrqs(kEventfd | kTrigger, index, vector, 1, fds);
  }
  void Write(RegionIndex region, uint64_t offset, std::vector<uint8_t> bytes) {
    ASSERT_THAT(
        client_->ErrorOf(Command::kRegionWrite, RawClient::WriteBody(region, offset, bytes)),
        IsOkAndHolds(0u));
  }
  void Tell(uint8_t what) { Write(RegionIndex::kBar0, 0, {what, 0, 0, 0}); }
  std::vector<uint8_t> Read(RegionIndex region, uint64_t offset, uint32_t count) {
    const auto reply =
        client_->Call(Command::kRegionRead, RawClient::AccessBody(region, offset, count));
    if (!reply.ok() || reply->body.size() != 16 + count) return {};
    return {reply->body.begin() + 16, reply->body.end()};
  }

  // Without waiting.
  uint64_t Signals() {
    uint64_t count = 0;
    return ::read(event_.get(), &count, sizeof(count)) < 0 ? 0 : count;
  }
  // After all that the worker has been given by now: a reset would do too, but changes things.
  uint64_t SignalsByNow() {
    SetIrqs(kNone | kTrigger, kErr, 0, 1);
    return Signals();
  }

  ProbeDevice* device_ = nullptr;
  std::unique_ptr<RawClient> client_;
  UniqueFd event_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
};

TEST_F(ServerInterruptsTest, IntxIsALevelThatTheClientUnmasks) {
  Bind(kIntx, 0);

  Tell(kRaise);
  EXPECT_EQ(SignalsByNow(), 1u);
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x06, 1), ElementsAre(0x18));
  SetIrqs(kNone | kUnmask, kIntx, 0, 1);
  EXPECT_EQ(SignalsByNow(), 1u);

  Tell(kLower);
  SetIrqs(kNone | kUnmask, kIntx, 0, 1);
  EXPECT_EQ(SignalsByNow(), 0u);
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x06, 1), ElementsAre(0x10));
}

TEST_F(ServerInterruptsTest, IntxIsSignalledWhenTheCommandRegisterLetsItAgain) {
  Bind(kIntx, 0);
  Write(RegionIndex::kConfig, 0x04, {0x02, 0x04});

  Tell(kRaise);
  EXPECT_EQ(SignalsByNow(), 0u);

  Write(RegionIndex::kConfig, 0x04, {0x02, 0x00});
  EXPECT_EQ(SignalsByNow(), 1u);
}

TEST_F(ServerInterruptsTest, IntxUnmasksThroughAnEventfd) {
  Bind(kIntx, 0);
  const UniqueFd unmask(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const FdView fds[] = {unmask};
  SetIrqs(kEventfd | kUnmask, kIntx, 0, 1, fds);
  Tell(kRaise);
  ASSERT_EQ(SignalsByNow(), 1u);

  const uint64_t one = 1;
  ASSERT_EQ(::write(unmask.get(), &one, sizeof(one)), 8);

  // By the poller and the worker: it comes without the client asking.
  while (Signals() == 0) {
  }
}

TEST_F(ServerInterruptsTest, QemuResetsWithTheLineUp) {
  Bind(kIntx, 0);
  Tell(kRaise);
  ASSERT_EQ(SignalsByNow(), 1u);

  SetIrqs(kNone | kTrigger, kIntx, 0, 0);
  ASSERT_THAT(client_->ErrorOf(Command::kDeviceReset), IsOkAndHolds(0u));
  Bind(kIntx, 0);

  EXPECT_EQ(SignalsByNow(), 0u);
  Tell(kRaise);
  EXPECT_EQ(SignalsByNow(), 1u);
}

TEST_F(ServerInterruptsTest, QemuEnablesMsix) {
  // One vector without a descriptor, then all with one.
  SetIrqs(kEventfd | kTrigger, kMsix, 0, 1);
  const FdView fds[] = {event_, event_, event_, event_};
  SetIrqs(kEventfd | kTrigger, kMsix, 0, 4, fds);
  Write(RegionIndex::kConfig, kProbeMsix + 2, {0x03, 0x80});

  Tell(3);

  EXPECT_EQ(Signals(), 1u);
  EXPECT_EQ(device_->host().enabled_interrupts(), IrqIndex::kMsix);
}

TEST_F(ServerInterruptsTest, TheTableHoldsBackWhatAClientMasksThere) {
  Bind(kMsix, 1);
  Tell(1);
  EXPECT_EQ(Signals(), 1u);

  Write(RegionIndex::kBar1, 0x1c, {1, 0, 0, 0});
  Tell(1);
  EXPECT_EQ(SignalsByNow(), 0u);
  EXPECT_THAT(Read(RegionIndex::kBar1, 0x800, 4), ElementsAre(2, 0, 0, 0));

  Write(RegionIndex::kBar1, 0x1c, {0, 0, 0, 0});
  EXPECT_EQ(SignalsByNow(), 1u);
}

TEST_F(ServerInterruptsTest, TheFunctionMaskHoldsBackAllAndPendingOnesComeAfterIt) {
  Bind(kMsix, 1);
  Write(RegionIndex::kConfig, kProbeMsix + 2, {0x03, 0xc0});

  Tell(1);
  EXPECT_EQ(SignalsByNow(), 0u);

  Write(RegionIndex::kConfig, kProbeMsix + 2, {0x03, 0x80});
  EXPECT_EQ(SignalsByNow(), 1u);
}

TEST_F(ServerInterruptsTest, TypesDoNotShareVectors) {
  Bind(kMsix, 0);
  const UniqueFd other(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const FdView fds[] = {other};
  for (const uint8_t index : {kIntx, kErr}) SetIrqs(kEventfd | kTrigger, index, 0, 1, fds);

  Tell(0);
  EXPECT_EQ(Signals(), 1u);
  Tell(kFail);

  uint64_t count = 0;
  ASSERT_EQ(::read(other.get(), &count, sizeof(count)), 8);
  EXPECT_EQ(count, 1u);
}

TEST_F(ServerInterruptsTest, AFunctionResetIsDoneWhenItIsAnswered) {
  Bind(kMsix, 0);
  Write(RegionIndex::kConfig, 0x04, {0x06, 0x00});
  Write(RegionIndex::kBar1, 0x0c, {1, 0, 0, 0});
  Write(RegionIndex::kBar0, 0x20, {1, 2, 3, 4});

  Write(RegionIndex::kConfig, kProbeExpress + 8, {0x10, 0xa8});

  EXPECT_EQ(device_->resets(), 1);
  EXPECT_THAT(Read(RegionIndex::kBar0, 0x20, 4), Each(0));
  EXPECT_THAT(Read(RegionIndex::kConfig, 0x04, 2), Each(0));
  EXPECT_THAT(Read(RegionIndex::kConfig, kProbeExpress + 8, 2), ElementsAre(0x10, 0x28));
  // What the client bound stays, and what its driver masked does not.
  Tell(0);
  EXPECT_EQ(Signals(), 1u);
}

TEST_F(ServerInterruptsTest, TheNextClientIsBoundByNothingOfTheLast) {
  Bind(kMsix, 0);
  Write(RegionIndex::kBar1, 0x0c, {1, 0, 0, 0});
  SetIrqs(kNone | kMask, kMsix, 0, 4);
  Tell(0);
  client_.reset();
  WaitForLog("client left");

  Connect();
  Bind(kMsix, 0);

  EXPECT_EQ(SignalsByNow(), 0u);
  Tell(0);
  EXPECT_EQ(Signals(), 1u);
}

TEST_F(ServerInterruptsTest, TwoThousandRebindsOfEveryKindKeepNoDescriptor) {
  const int before = OpenFdCount();
  const FdView fds[] = {event_, event_, event_, event_};

  for (int i = 0; i < 500; ++i) {
    SetIrqs(kEventfd | kTrigger, kMsix, 0, 4, fds);
    SetIrqs(kEventfd | kMask, kMsix, 1, 2, std::span(fds).first(2));
    SetIrqs(kEventfd | kUnmask, kIntx, 0, 1, std::span(fds).first(1));
    SetIrqs(kEventfd | kTrigger, kErr, 0, 1, std::span(fds).first(1));
  }
  // Nor is any left when they are taken back one way or the other.
  SetIrqs(kEventfd | kTrigger, kErr, 0, 1);
  SetIrqs(kNone | kTrigger, kMsix, 0, 0);
  SetIrqs(kNone | kTrigger, kIntx, 0, 0);

  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
