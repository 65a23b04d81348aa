#include "client/doorbell.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/region.h"
#include "client/region_fixture.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// Replies of a server that has `count` doorbells in BAR2, in `argsz` bytes.
std::string Header(const std::string& argsz, const std::string& count) {
  return argsz + "00000000 02000000" + count;
}

// As the specification has it: 40 bytes. At 0x1000, and at 0x1004 for the value 7 only.
const std::string kTwoEntries =
    "0010000000000000 0400000000000000 00000000 00000000 00000000 00000000 0000000000000000"
    "0410000000000000 0400000000000000 01000000 00000000 01000000 00000000 0700000000000000";

// As libvfio-user has it: 48 bytes. The first is a shadow doorbell.
const std::string kLongEntries =
    "0010000000000000 0400000000000000 00000000 02000000 00000000 01000000 0800000000000000"
    "0000000000000000"
    "0810000000000000 0400000000000000 01000000 00000000 01000000 ffffffff 0000000000000000"
    "0900000000000000";

class DoorbellTest : public RegionFixture {
 protected:
  void SetUp() override { OpenRegisters(); }

  // What the server sends: `count` new eventfds, of which eventfds_ keeps others.
  std::vector<UniqueFd> NewEventfds(int count, int flags = EFD_NONBLOCK) {
    std::vector<UniqueFd> sent;
    for (int i = 0; i < count; ++i) {
      eventfds_.emplace_back(::eventfd(0, EFD_CLOEXEC | flags));
      sent.emplace_back(::fcntl(eventfds_.back().get(), F_DUPFD_CLOEXEC, 0));
    }
    return sent;
  }
  // How often the doorbell was rung; 0 for not at all.
  uint64_t Rings(size_t i) {
    uint64_t rings = 0;
    const ssize_t bytes = ::read(eventfds_.at(i).get(), &rings, sizeof(rings));
    return bytes == ssize_t{sizeof(rings)} ? rings : 0;
  }

  std::vector<UniqueFd> eventfds_;
};

TEST_F(DoorbellTest, RingingSignalsTheServersEventfd) {
  ServedRequest served =
      AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), NewEventfds(2));

  const absl::StatusOr<std::vector<Doorbell>> doorbells = region_->OpenDoorbells();

  const auto request = served.get();
  ASSERT_THAT(request, IsOk());
  EXPECT_EQ(request->header.command, Command::kDeviceGetRegionIoFds);
  EXPECT_THAT(request->body, ElementsAreArray(Hex("00100000 00000000 02000000 00000000")));
  ASSERT_THAT(doorbells, IsOkAndHolds(SizeIs(2)));
  const Doorbell& first = doorbells->at(0);
  const Doorbell& second = doorbells->at(1);
  EXPECT_EQ(first.offset(), 0x1000u);
  EXPECT_EQ(first.size(), 4u);
  EXPECT_EQ(first.value(), std::nullopt);
  EXPECT_EQ(second.offset(), 0x1004u);
  EXPECT_EQ(second.value(), 7u);
  EXPECT_THAT(first.Ring(), IsOk());
  EXPECT_THAT(first.Ring(3), IsOk());
  EXPECT_EQ(Rings(0), 4u);
  EXPECT_EQ(Rings(1), 0u);
  EXPECT_THAT(second.Ring(), IsOk());
  EXPECT_EQ(Rings(1), 1u);
}

TEST_F(DoorbellTest, OneIsFoundByItsOffset) {
  const int before = OpenFdCount();
  {
    ServedRequest served =
        AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), NewEventfds(2));
    const absl::StatusOr<Doorbell> doorbell = region_->OpenDoorbell(0x1004);
    EXPECT_THAT(served.get(), IsOk());
    ASSERT_THAT(doorbell, IsOk());
    EXPECT_THAT(doorbell->Ring(), IsOk());
    EXPECT_EQ(Rings(1), 1u);
    served =
        AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), NewEventfds(2));
    EXPECT_THAT(region_->OpenDoorbell(0x1008), StatusIs(absl::StatusCode::kNotFound));
    EXPECT_THAT(served.get(), IsOk());
  }
  eventfds_.clear();
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(DoorbellTest, OfThoseAtOneOffsetTheFirstIsOpenedWhateverItsValue) {
  const std::string two_values =
      "0010000000000000 0400000000000000 00000000 00000000 01000000 00000000 0300000000000000"
      "0010000000000000 0400000000000000 01000000 00000000 01000000 00000000 0700000000000000";
  ServedRequest served =
      AnswerNext(*server_, Hex(Header("60000000", "02000000") + two_values), NewEventfds(2));

  const absl::StatusOr<Doorbell> doorbell = region_->OpenDoorbell(0x1000);

  EXPECT_THAT(served.get(), IsOk());
  ASSERT_THAT(doorbell, IsOk());
  EXPECT_EQ(doorbell->value(), 3u);
  EXPECT_THAT(doorbell->Ring(), IsOk());
  EXPECT_EQ(Rings(0), 1u);
  EXPECT_EQ(Rings(1), 0u);
}

TEST_F(DoorbellTest, EntriesOfLibvfioUserAreTakenAndItsShadowDoorbellsLeftOut) {
  ServedRequest served =
      AnswerNext(*server_, Hex(Header("70000000", "02000000") + kLongEntries), NewEventfds(2));

  const absl::StatusOr<std::vector<Doorbell>> doorbells = region_->OpenDoorbells();

  EXPECT_THAT(served.get(), IsOk());
  ASSERT_THAT(doorbells, IsOkAndHolds(SizeIs(1)));
  EXPECT_EQ(doorbells->at(0).offset(), 0x1008u);
  EXPECT_EQ(doorbells->at(0).value(), 9u);
  EXPECT_THAT(doorbells->at(0).Ring(), IsOk());
  EXPECT_EQ(Rings(1), 1u);
}

TEST_F(DoorbellTest, AListThatDidNotFitIsAskedForAgain) {
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex(Header("60000000", "02000000"))).get(), IsOk());
    const auto again =
        AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), NewEventfds(2))
            .get();
    ASSERT_THAT(again, IsOk());
    EXPECT_THAT(again->body, ElementsAreArray(Hex("60000000 00000000 02000000 00000000")));
  });

  EXPECT_THAT(region_->OpenDoorbells(), IsOkAndHolds(SizeIs(2)));

  served.get();
}

TEST_F(DoorbellTest, ARegionWithoutDoorbellsSaysSo) {
  ServedRequest served = AnswerNext(*server_, Hex(Header("10000000", "00000000")));

  EXPECT_THAT(region_->OpenDoorbells(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("bar2 has no doorbells")));

  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DoorbellTest, WhatTheServerRefusesWithIsPassedOn) {
  ServedRequest served = RefuseNext(*server_, ENOTSUP);

  EXPECT_EQ(ErrnoOf(region_->OpenDoorbells().status()), ENOTSUP);

  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DoorbellTest, AFullCounterIsNotWaitedFor) {
  ServedRequest served =
      AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), NewEventfds(2, 0));
  const absl::StatusOr<Doorbell> doorbell = region_->OpenDoorbell(0x1000);
  ASSERT_THAT(doorbell, IsOk());
  EXPECT_THAT(served.get(), IsOk());

  EXPECT_THAT(doorbell->Ring(UINT64_MAX - 1), IsOk());
  EXPECT_THAT(doorbell->Ring(), StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_EQ(Rings(0), UINT64_MAX - 1);
  EXPECT_THAT(doorbell->Ring(), IsOk());
  EXPECT_THAT(doorbell->Ring(0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(doorbell->Ring(UINT64_MAX), StatusIs(absl::StatusCode::kInvalidArgument));
}

class NotAnEventfdTest : public DoorbellTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(NotAnEventfdTest, EndsTheConnection) {
  std::vector<UniqueFd> fds;
  fds.emplace_back(::open(GetParam(), O_RDONLY | O_CLOEXEC));
  fds.emplace_back(::open(GetParam(), O_RDONLY | O_CLOEXEC));
  ServedRequest served =
      AnswerNext(*server_, Hex(Header("60000000", "02000000") + kTwoEntries), std::move(fds));

  EXPECT_THAT(region_->OpenDoorbells(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("is no eventfd")));

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(client_->status(), StatusIs(absl::StatusCode::kDataLoss));
}

INSTANTIATE_TEST_SUITE_P(Files, NotAnEventfdTest,
                         ::testing::Values("/", "/dev/null", "/proc/self/mem"));

TEST_F(DoorbellTest, NoMoreAreHeldThanALimitHoweverManyTheServerNames) {
  const int before = OpenFdCount();
  std::string entries;
  for (int i = 0; i < 257; ++i) entries += kTwoEntries.substr(0, kTwoEntries.size() / 2);
  // 257 entries of 40 bytes that share one descriptor.
  const std::string reply = Header("38280000", "01010000") + entries;
  ServedRequest served = AnswerNext(*server_, Hex(reply), NewEventfds(1));

  EXPECT_THAT(region_->OpenDoorbells(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("more than 256 doorbells")));

  EXPECT_THAT(served.get(), IsOk());
  served = AnswerNext(*server_, Hex(reply), NewEventfds(1));
  EXPECT_THAT(region_->OpenDoorbell(0x1000), IsOk());
  EXPECT_THAT(served.get(), IsOk());
  eventfds_.clear();
  EXPECT_EQ(OpenFdCount(), before);
}

// What no server may say ends the connection.
struct Broken {
  const char* name;
  std::string reply;
  int fds;
  const char* complaint;
};

class BrokenIoFdsTest : public DoorbellTest, public ::testing::WithParamInterface<Broken> {};

TEST_P(BrokenIoFdsTest, EndsTheConnection) {
  const int before = OpenFdCount();
  ServedRequest served = AnswerNext(*server_, Hex(GetParam().reply), NewEventfds(GetParam().fds));

  EXPECT_THAT(region_->OpenDoorbells(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(GetParam().complaint)));

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(client_->status(), StatusIs(absl::StatusCode::kDataLoss));
  eventfds_.clear();
  EXPECT_EQ(OpenFdCount(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Replies, BrokenIoFdsTest,
    ::testing::Values(
        Broken{"MissingDescriptor", Header("60000000", "02000000") + kTwoEntries, 1,
               "fd_index is 1, and 1 descriptors came"},
        Broken{"NoDescriptors", Header("60000000", "02000000") + kTwoEntries, 0,
               "fd_index is 0, and 0 descriptors came"},
        Broken{"WrongStride", Header("68000000", "02000000") + kTwoEntries + "0000000000000000", 2,
               "entries of 44 bytes"},
        Broken{"HugeCount", Header("60000000", "ffffffff") + kTwoEntries, 2, "entries of 0 bytes"},
        Broken{"Short", "10000000 00000000 02000000", 0, "want at least 16"},
        Broken{"OtherRegion", "10000000 00000000 03000000 00000000", 0, "index is 0x3, want 0x2"},
        Broken{"HugeArgsz", Header("00000080", "01000000"), 0, "argsz is 2147483648"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST_F(DoorbellTest, AServerThatNeverSendsTheListEndsTheConnection) {
  auto served = std::async(std::launch::async, [&] {
    EXPECT_THAT(AnswerNext(*server_, Hex(Header("60000000", "02000000"))).get(), IsOk());
    EXPECT_THAT(AnswerNext(*server_, Hex(Header("60000000", "02000000"))).get(), IsOk());
  });

  EXPECT_THAT(region_->OpenDoorbells(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("no entries, want 2")));

  served.get();
}

}  // namespace
}  // namespace vfio_user
