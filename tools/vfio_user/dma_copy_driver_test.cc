#include "tools/vfio_user/dma_copy_driver.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "server/devices/registry.h"
#include "server/server.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tools/vfio_user/dma_buffer.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::Eq;
using ::testing::HasSubstr;

// Null when there is no such device.
const DeviceEntry* Find(std::string_view name) {
  for (const DeviceEntry& entry : KnownDevices()) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

// A server in this process: two processes are tests/e2e's business.
class DmaCopyDriverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<Server>> server = Server::Create();
    ASSERT_THAT(server, IsOk());
    server_ = *std::move(server);
    ASSERT_THAT(server_->Listen(path_, *Find("dma-copy")->Create()), IsOk());
    absl::StatusOr<Client> client = Client::Connect(path_);
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
  }

  std::unique_ptr<DmaCopyDriver> OpenDriver(uint32_t ring_entries = 4) {
    DmaCopyOptions options;
    options.ring_entries = ring_entries;
    absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(*client_, options);
    EXPECT_THAT(driver, IsOk());
    return driver.ok() ? *std::move(driver) : nullptr;
  }
  DmaBuffer Buffer(size_t bytes) { return *DmaBuffer::Create(*client_, bytes, DmaPath::kAuto); }

  TempDir directory_;
  const std::string path_ = directory_.File("device");
  std::unique_ptr<Server> server_;
  std::optional<Client> client_;
};

TEST_F(DmaCopyDriverTest, CopiesBytes) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);
  const DmaBuffer from = Buffer(100);
  const DmaBuffer to = Buffer(100);
  std::ranges::fill(from.bytes(), std::byte{0x5a});

  EXPECT_THAT(driver->Run(DmaCopyOperation::Copy(from.iova(), to.iova(), 100)), IsOkAndHolds(0u));

  EXPECT_THAT(to.bytes(), Each(Eq(std::byte{0x5a})));
}

TEST_F(DmaCopyDriverTest, FillsWithItsPatternLowestByteFirst) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);
  const DmaBuffer to = Buffer(11);

  ASSERT_THAT(driver->Run(DmaCopyOperation::Fill(0x0807060504030201, to.iova(), 11)), IsOk());

  const std::vector<std::byte> bytes(to.bytes().begin(), to.bytes().end());
  EXPECT_THAT(bytes, testing::ElementsAre(std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                          std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8},
                                          std::byte{1}, std::byte{2}, std::byte{3}));
}

TEST_F(DmaCopyDriverTest, GivesTheCheckSum) {
  constexpr std::string_view kText = "123456789";
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);
  const DmaBuffer from = Buffer(kText.size());
  std::ranges::copy(std::as_bytes(std::span(kText)), from.bytes().begin());

  EXPECT_THAT(driver->Run(DmaCopyOperation::Crc32(from.iova(), kText.size())),
              IsOkAndHolds(0xcbf43926u));
}

TEST_F(DmaCopyDriverTest, RunsMoreOperationsThanTheRingHasEntries) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver(2);
  ASSERT_NE(driver, nullptr);
  const DmaBuffer to = Buffer(8);

  for (uint64_t i = 1; i <= 11; ++i) {
    ASSERT_THAT(driver->Run(DmaCopyOperation::Fill(i, to.iova(), 8)), IsOk());
    EXPECT_EQ(to.bytes().front(), static_cast<std::byte>(i));
  }
}

TEST_F(DmaCopyDriverTest, RejectsMoreInFlightThanTheRingHolds) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver(2);
  ASSERT_NE(driver, nullptr);
  ASSERT_THAT(driver->Submit({}), IsOk());
  ASSERT_THAT(driver->Submit({}), IsOk());

  EXPECT_THAT(driver->Submit({}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(driver->in_flight(), 2u);
  EXPECT_THAT(driver->WaitForOldest(), IsOk());
  EXPECT_THAT(driver->Submit({}), IsOk());
  EXPECT_THAT(driver->WaitForOldest(), IsOk());
  EXPECT_THAT(driver->WaitForOldest(), IsOk());
}

TEST_F(DmaCopyDriverTest, RejectsWaitingForNothing) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);

  EXPECT_THAT(driver->WaitForOldest(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(DmaCopyDriverTest, RejectsRunningAlongsideOthers) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);
  ASSERT_THAT(driver->Submit({}), IsOk());

  EXPECT_THAT(driver->Run({}), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(DmaCopyDriverTest, GivesWhatTheDeviceNotedAndGoesOn) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);
  DmaCopyOperation unknown;
  unknown.opcode = DmaCopyOpcode{77};

  EXPECT_THAT(driver->Run(unknown), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(driver->Run(DmaCopyOperation::Crc32(Iova{0x1000}, 16)),
              StatusIs(absl::StatusCode::kOutOfRange, HasSubstr("crc-32 of 0x10 bytes")));

  EXPECT_THAT(driver->Run({}), IsOk());
}

TEST_F(DmaCopyDriverTest, StartsAnewBehindAnEarlierDriver) {
  const DmaBuffer to = Buffer(8);
  for (uint64_t i = 1; i <= 3; ++i) {
    const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
    ASSERT_NE(driver, nullptr);
    EXPECT_THAT(driver->Run(DmaCopyOperation::Fill(i, to.iova(), 8)), IsOk());
    EXPECT_EQ(to.bytes().front(), static_cast<std::byte>(i));
  }
}

TEST_F(DmaCopyDriverTest, IsNotBusyWhenAllIsDone) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);

  EXPECT_THAT(driver->IsBusy(), IsOkAndHolds(false));
}

TEST_F(DmaCopyDriverTest, RejectsARingThatTheDeviceDoesNotTake) {
  for (const uint32_t entries : {0u, 1u, 3u, 8192u}) {
    DmaCopyOptions options;
    options.ring_entries = entries;

    EXPECT_THAT(DmaCopyDriver::Open(*client_, options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("power of two")));
  }
}

TEST_F(DmaCopyDriverTest, RejectsAnotherDevice) {
  const std::string path = directory_.File("null");
  ASSERT_THAT(server_->Listen(path, *Find("null")->Create()), IsOk());
  const absl::StatusOr<Client> client = Client::Connect(path);
  ASSERT_THAT(client, IsOk());

  EXPECT_THAT(DmaCopyDriver::Open(*client),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("1234:dc01")));
}

TEST_F(DmaCopyDriverTest, SaysThatTheServerIsGone) {
  const std::unique_ptr<DmaCopyDriver> driver = OpenDriver();
  ASSERT_NE(driver, nullptr);

  server_->Stop();

  EXPECT_THAT(driver->Run({}), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace vfio_user
