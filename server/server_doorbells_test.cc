// Doorbells that a client rings through eventfds, from the command that lists them on.
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "server/device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "server/still_device.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::FieldsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// BAR0 has two doorbells, BAR1 one, BAR2 none. A write to BAR2 is waited for.
class BellDevice final : public StillDevice {
 public:
  using Rung = std::tuple<RegionIndex, uint64_t, uint64_t>;

  BellDevice() {
    description_.name = "bells";
    description_.bars = {
        {.index = RegionIndex::kBar0,
         .size = 4096,
         .doorbells = {{.offset = 0x10, .size = 4}, {.offset = 0x18, .size = 8}}},
        {.index = RegionIndex::kBar1, .size = 4096, .doorbells = {{.offset = 0, .size = 2}}},
        {.index = RegionIndex::kBar2, .size = 4096}};
  }

  void Attach(DeviceHost& host) override { host_ = &host; }
  absl::Status WriteRegion(RegionIndex, uint64_t, std::span<const std::byte>) override {
    host_->Post([this] {
      busy_.Put(true);
      go_on_.Take();
    });
    return absl::OkStatus();
  }
  void RingDoorbell(RegionIndex index, uint64_t offset, uint64_t count) override {
    rung_.Put({index, offset, count});
  }
  void Reset() override { resets_.Put(true); }

  Mailbox<Rung> rung_;
  Mailbox<bool> busy_;   // The worker is stopped.
  Mailbox<bool> go_on_;  // What it waits for.
  Mailbox<bool> resets_;

 private:
  DeviceHost* host_ = nullptr;
};

// argsz, flags, index, count.
std::vector<uint8_t> Request(uint8_t argsz, uint8_t index) {
  return {argsz, 0, 0, 0, 0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0};
}

void Ring(const UniqueFd& fd, uint64_t count) { ASSERT_EQ(::eventfd_write(fd.get(), count), 0); }

class ServerDoorbellsTest : public ServerFixture {
 protected:
  ServerDoorbellsTest() {
    auto device = std::make_unique<BellDevice>();
    device_ = device.get();
    Serve(std::move(device));
  }

  // The descriptors of a BAR.
  std::vector<UniqueFd> Fds(RawClient& client, uint8_t index) {
    auto reply = client.Call(Command::kDeviceGetRegionIoFds, Request(255, index));
    return reply.ok() ? std::move(reply->fds) : std::vector<UniqueFd>();
  }

  const std::vector<uint8_t> stop_byte_ = {1};
  BellDevice* device_;
};

TEST_F(ServerDoorbellsTest, ListsTheDoorbellsOfARegionWithTheirDescriptors) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());

  const auto reply = client->Call(Command::kDeviceGetRegionIoFds, Request(96, 0));

  ASSERT_THAT(reply, IsOk());
  EXPECT_THAT(reply->body,
              ElementsAre(96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0,  //
                          0x10, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                          0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0,
                          8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                          0, 0, 0, 0, 0, 0, 0));
  ASSERT_THAT(reply->fds, SizeIs(2));
}

TEST_F(ServerDoorbellsTest, SaysHowMuchThereIsWhereItDoesNotFit) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  for (const uint8_t argsz : std::initializer_list<uint8_t>{16, 95}) {
    const auto reply = client->Call(Command::kDeviceGetRegionIoFds, Request(argsz, 0));

    ASSERT_THAT(reply, IsOk());
    EXPECT_THAT(reply->body, ElementsAre(96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0));
    EXPECT_THAT(reply->fds, IsEmpty());
  }
}

TEST_F(ServerDoorbellsTest, ListsNoneOfARegionWithout) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  for (const uint8_t index : std::initializer_list<uint8_t>{2, 7}) {
    const auto reply = client->Call(Command::kDeviceGetRegionIoFds, Request(64, index));

    ASSERT_THAT(reply, IsOk());
    EXPECT_THAT(reply->body, ElementsAre(16, 0, 0, 0, 0, 0, 0, 0, index, 0, 0, 0, 0, 0, 0, 0));
    EXPECT_THAT(reply->fds, IsEmpty());
  }
}

TEST_F(ServerDoorbellsTest, OffersNoMoreDescriptorsThanTheClientTakes) {
  for (const size_t most : {0u, 1u, 2u, 3u}) {
    auto client = RawClient::Connect(
        path(), R"({"capabilities":{"max_msg_fds":)" + std::to_string(most) + "}}");
    ASSERT_THAT(client, IsOk());
    const size_t want = std::min<size_t>(most, 2);

    const auto reply = client->Call(Command::kDeviceGetRegionIoFds, Request(255, 0));

    ASSERT_THAT(reply, IsOk());
    EXPECT_THAT(reply->fds, SizeIs(want));
    const auto list = RegionIoFdsReply::Parse(reply->body);
    ASSERT_THAT(list, IsOk());
    EXPECT_THAT(list->entries, SizeIs(want));
    EXPECT_EQ(list->count, want);
  }
}

TEST_F(ServerDoorbellsTest, RefusesWhatIsNoSuchRequest) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  std::vector<uint8_t> flags = Request(16, 0);
  flags[4] = 1;
  std::vector<uint8_t> count = Request(16, 0);
  count[12] = 1;
  std::vector<uint8_t> absurd = Request(16, 0);
  absurd[3] = 1;
  std::vector<uint8_t> long_body = Request(16, 0);
  long_body.push_back(0);
  for (const std::vector<uint8_t>& body :
       {flags, count, absurd, long_body, Request(15, 0), Request(0, 0), Request(16, 3),
        Request(16, 8), Request(16, 9), std::vector<uint8_t>(15), std::vector<uint8_t>()}) {
    EXPECT_THAT(client->ErrorOf(Command::kDeviceGetRegionIoFds, body),
                IsOkAndHolds(static_cast<uint32_t>(EINVAL)));
  }
  EXPECT_THAT(client->ErrorOf(Command::kDeviceGetRegionIoFds, Request(16, 0)), IsOkAndHolds(0u));
  EXPECT_THAT(log(), SizeIs(11));
}

TEST_F(ServerDoorbellsTest, TellsTheDeviceWhichOneWasRungAndHowOften) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const std::vector<UniqueFd> bar0 = Fds(*client, 0);
  const std::vector<UniqueFd> bar1 = Fds(*client, 1);
  ASSERT_THAT(bar0, SizeIs(2));
  ASSERT_THAT(bar1, SizeIs(1));

  Ring(bar0[1], 5);
  EXPECT_THAT(device_->rung_.Take(), FieldsAre(RegionIndex::kBar0, 0x18u, 5u));
  Ring(bar1[0], 1);
  EXPECT_THAT(device_->rung_.Take(), FieldsAre(RegionIndex::kBar1, 0u, 1u));
  Ring(bar0[0], 2);
  EXPECT_THAT(device_->rung_.Take(), FieldsAre(RegionIndex::kBar0, 0x10u, 2u));
}

TEST_F(ServerDoorbellsTest, AddsUpRingsWhileTheWorkerIsBusy) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const std::vector<UniqueFd> bells = Fds(*client, 0);
  ASSERT_THAT(bells, SizeIs(2));
  const std::vector<uint8_t> stop = RawClient::WriteBody(RegionIndex::kBar2, 0, stop_byte_);
  ASSERT_THAT(client->ErrorOf(Command::kRegionWrite, stop), IsOkAndHolds(0u));
  device_->busy_.Take();

  for (int i = 0; i < 2000; ++i) Ring(bells[0], 1);
  device_->go_on_.Put(true);

  uint64_t rung = 0;
  while (rung < 2000) rung += std::get<2>(device_->rung_.Take());
  EXPECT_EQ(rung, 2000u);
}

TEST_F(ServerDoorbellsTest, CountsUpToTheMostThereIsWithoutWrapping) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const std::vector<UniqueFd> bells = Fds(*client, 0);
  ASSERT_THAT(bells, SizeIs(2));
  const std::vector<uint8_t> stop = RawClient::WriteBody(RegionIndex::kBar2, 0, stop_byte_);
  ASSERT_THAT(client->ErrorOf(Command::kRegionWrite, stop), IsOkAndHolds(0u));
  device_->busy_.Take();

  // It is full until the poller has emptied it.
  for (int i = 0; i < 3; ++i) {
    while (::eventfd_write(bells[0].get(), UINT64_MAX - 1) != 0) {
    }
  }
  device_->go_on_.Put(true);

  // Three times that wraps to less.
  EXPECT_THAT(device_->rung_.Take(),
              FieldsAre(RegionIndex::kBar0, 0x10u, testing::Ge(UINT64_MAX - 1)));
}

TEST_F(ServerDoorbellsTest, ForgetsWhatAClientRangThatIsGone) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  std::vector<UniqueFd> bells = Fds(*client, 0);
  ASSERT_THAT(bells, SizeIs(2));
  const std::vector<uint8_t> stop = RawClient::WriteBody(RegionIndex::kBar2, 0, stop_byte_);
  ASSERT_THAT(client->ErrorOf(Command::kRegionWrite, stop), IsOkAndHolds(0u));
  device_->busy_.Take();
  Ring(bells[0], 7);

  client->peer().Close();
  // Once it is gone its rings are, and the worker may come to them.
  device_->go_on_.Put(true);
  WaitForLog("client left");
  auto next = RawClient::Connect(path());
  ASSERT_THAT(next, IsOk());
  const std::vector<UniqueFd> others = Fds(*next, 0);
  ASSERT_THAT(others, SizeIs(2));
  Ring(others[1], 3);

  // Perhaps the rings were sooner than the end; never later than those of the next client.
  auto rung = device_->rung_.Take();
  if (std::get<1>(rung) == 0x10) rung = device_->rung_.Take();
  EXPECT_THAT(rung, FieldsAre(RegionIndex::kBar0, 0x18u, 3u));
}

TEST_F(ServerDoorbellsTest, NobodyHearsAClientThatIsGoneAndRingsOn) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const std::vector<UniqueFd> old = Fds(*client, 0);
  ASSERT_THAT(old, SizeIs(2));

  client->peer().Close();
  WaitForLog("client left");
  Ring(old[0], 7);
  auto next = RawClient::Connect(path());
  ASSERT_THAT(next, IsOk());
  Ring(old[0], 7);
  const std::vector<UniqueFd> bells = Fds(*next, 0);
  ASSERT_THAT(bells, SizeIs(2));
  Ring(old[0], 7);
  Ring(bells[1], 3);

  EXPECT_THAT(device_->rung_.Take(), FieldsAre(RegionIndex::kBar0, 0x18u, 3u));
}

TEST_F(ServerDoorbellsTest, KeepsItsDescriptorsHoweverOftenTheyAreAskedFor) {
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  const std::vector<UniqueFd> first = Fds(*client, 0);
  ASSERT_THAT(first, SizeIs(2));
  const int before = OpenFdCount();

  for (int i = 0; i < 300; ++i) ASSERT_THAT(Fds(*client, 0), SizeIs(2));

  EXPECT_EQ(OpenFdCount(), before);
}

}  // namespace
}  // namespace vfio_user
