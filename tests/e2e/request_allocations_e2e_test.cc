// What requests allocate, on either side: nothing, after the first few. Client and server are in
// one process, whose every operator new is counted.
#include <sys/socket.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/deadline.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_info.h"
#include "server/devices/registry.h"
#include "server/server.h"
#include "tests/testing/allocation_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr int kRequests = 1000;

class RequestAllocationsTest : public testing::Test {
 protected:
  RequestAllocationsTest() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) return;
    UniqueFd ours(fds[0]);
    UniqueFd theirs(fds[1]);
    const auto null = std::ranges::find(KnownDevices(), "null", &DeviceEntry::name);
    server_ = Server::Create();
    if (!server_.ok() || null == KnownDevices().end()) return;
    if (!(*server_)->Adopt(std::move(theirs), *null->Create({})).ok()) return;
    client_ = Client::Adopt(std::move(ours));
    if (!client_.ok()) return;
    const absl::StatusOr<Region> bar0 =
        client_->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
    if (bar0.ok()) bar0_ = *bar0;
  }

  void SetUp() override {
    if (!CountsAllocations()) GTEST_SKIP() << "ThreadSanitizer has operator new to itself";
    ASSERT_TRUE(bar0_.has_value());
    ASSERT_THAT(idle_, IsOk());
    // The first one allocates what it shares with all others.
    ASSERT_TRUE(TimesOut());
  }

  // Waits as a call does whose reply is slow: in short steps.
  bool TimesOut() const {
    return absl::IsDeadlineExceeded(idle_->first.WaitReadable(Deadline::Past()));
  }

  // The least that `request` allocates when it is made kRequests times, and was made a few times
  // before. Of several rounds, because on a busy machine one in twenty has shown two allocations,
  // of which nobody has found the place: what every request allocates is in each of them.
  template <typename Request>
  static int AllocationsOf(Request request) {
    for (int i = 0; i < 100; ++i) request();
    int least = INT_MAX;
    for (int round = 0; round < 5 && least > 0; ++round) {
      const int before = AllocationCount();
      for (int i = 0; i < kRequests; ++i) request();
      least = std::min(least, AllocationCount() - before);
    }
    return least;
  }

  const absl::StatusOr<std::pair<Socket, Socket>> idle_ = Socket::Pair();
  absl::StatusOr<std::unique_ptr<Server>> server_;
  absl::StatusOr<Client> client_;
  std::optional<Region> bar0_;
};

TEST_F(RequestAllocationsTest, ARegisterReadAllocatesNothing) {
  const int count = AllocationsOf([this] {
    if (!bar0_->Read<uint32_t>(0).ok()) ADD_FAILURE();
  });

  EXPECT_EQ(count, 0) << "of " << kRequests << " reads";
}

TEST_F(RequestAllocationsTest, ARegisterWriteAllocatesNothing) {
  const int count = AllocationsOf([this] {
    if (!bar0_->Write<uint32_t>(0, 1).ok()) ADD_FAILURE();
  });

  EXPECT_EQ(count, 0) << "of " << kRequests << " writes";
}

TEST_F(RequestAllocationsTest, WaitingForASlowReplyAllocatesNothing) {
  const int count = AllocationsOf([this] {
    if (!TimesOut()) ADD_FAILURE();
  });

  EXPECT_EQ(count, 0) << "of " << kRequests << " timeouts";
}

TEST_F(RequestAllocationsTest, APostedWriteAllocatesNothing) {
  const int count = AllocationsOf([this] {
    if (!bar0_->Post<uint32_t>(0, 1).ok()) ADD_FAILURE();
  });

  // A fence, of which there is one for many writes, may.
  EXPECT_LT(count, kRequests / 20) << "of " << kRequests << " posted writes";
}

}  // namespace
}  // namespace vfio_user
