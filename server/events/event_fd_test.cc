#include "server/events/event_fd.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>
#include <future>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

// The highest value that the counter of an eventfd can have.
constexpr uint64_t kMostCount = UINT64_MAX - 1;

// An eventfd as a client has it, and the server's copy of the descriptor.
struct Lent {
  explicit Lent(int flags)
      : client(::eventfd(0, EFD_CLOEXEC | flags)),
        server(EventFd::Adopt(UniqueFd(::fcntl(client.get(), F_DUPFD_CLOEXEC, 0)))) {}

  void Fill() const { ASSERT_EQ(::write(client.get(), &kMostCount, 8), 8); }
  uint64_t Take() const {
    uint64_t count = 0;
    EXPECT_EQ(::read(client.get(), &count, 8), 8);
    return count;
  }

  UniqueFd client;
  absl::StatusOr<EventFd> server;
};

class EventFdTest : public testing::TestWithParam<int> {};

INSTANTIATE_TEST_SUITE_P(BlockingAndNot, EventFdTest, testing::Values(0, EFD_NONBLOCK));

TEST_P(EventFdTest, AddsOneForEachSignal) {
  const Lent lent(GetParam());
  ASSERT_THAT(lent.server, IsOk());

  lent.server->Signal();
  lent.server->Signal();

  EXPECT_EQ(lent.Take(), 2u);
}

TEST_P(EventFdTest, HasTheNumberOfTheEventfdWhicheverDescriptorItIs) {
  const Lent lent(GetParam());
  const Lent other(GetParam());
  ASSERT_THAT(lent.server, IsOk());
  ASSERT_THAT(other.server, IsOk());

  const auto again = EventFd::Adopt(UniqueFd(::fcntl(lent.client.get(), F_DUPFD_CLOEXEC, 0)));

  ASSERT_THAT(again, IsOk());
  EXPECT_TRUE(again->id().has_value());
  EXPECT_EQ(again->id(), lent.server->id());
  EXPECT_NE(again->id(), other.server->id());
}

TEST_P(EventFdTest, DoesNotBlockOnAFullCounter) {
  const Lent lent(GetParam());
  ASSERT_THAT(lent.server, IsOk());
  lent.Fill();

  lent.server->Signal();

  EXPECT_EQ(lent.Take(), kMostCount);
}

TEST_P(EventFdTest, LeavesTheClientsFlagsAsTheyAre) {
  const Lent lent(GetParam());

  EXPECT_EQ(::fcntl(lent.client.get(), F_GETFL) & O_NONBLOCK, GetParam() != 0 ? O_NONBLOCK : 0);
}

TEST_P(EventFdTest, TakeEmptiesTheCounterAndDoesNotWaitForOne) {
  const Lent lent(GetParam());
  ASSERT_THAT(lent.server, IsOk());
  lent.Fill();

  EXPECT_EQ(lent.server->Take(), kMostCount);
  EXPECT_EQ(lent.server->Take(), 0u);

  lent.server->Signal();
  EXPECT_EQ(lent.Take(), 1u);
}

TEST(EventFdTakeTest, WakesAWriterThatFoundTheCounterFull) {
  const Lent lent(0);
  ASSERT_THAT(lent.server, IsOk());
  lent.Fill();
  std::promise<void> done;
  // As a Signal does that lost the race.
  std::thread writer([&] {
    const uint64_t one = 1;
    EXPECT_EQ(::write(lent.client.get(), &one, 8), 8);
    done.set_value();
  });

  std::future<void> finished = done.get_future();
  while (finished.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
    (void)lent.server->Take();
  }

  writer.join();
}

TEST(EventFdCreateTest, MakesOneThatCountsAndDoesNotBlock) {
  const absl::StatusOr<EventFd> event = EventFd::Create();
  ASSERT_THAT(event, IsOk());

  event->Signal();
  event->Signal();

  EXPECT_EQ(event->Take(), 2u);
  uint64_t count = 0;
  EXPECT_EQ(::read(event->fd().get(), &count, 8), -1);
}

TEST(EventFdAdoptTest, RefusesWhatIsNoEventfd) {
  int pipe_fds[2];
  ASSERT_EQ(::pipe(pipe_fds), 0);
  UniqueFd read_end(pipe_fds[0]);
  UniqueFd others[] = {UniqueFd(pipe_fds[1]), Memfd("twelve bytes"),
                       UniqueFd(::epoll_create1(EPOLL_CLOEXEC)),
                       UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)),
                       UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC))};

  for (UniqueFd& other : others) {
    ASSERT_TRUE(other.valid());
    EXPECT_THAT(EventFd::Adopt(std::move(other)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("want an eventfd")));
  }
}

}  // namespace
}  // namespace vfio_user
