// edu, as a driver meets it that was written for QEMU's.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "client/interrupt.h"
#include "client/pci_function.h"
#include "client/region.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

constexpr absl::Duration kLong = absl::Seconds(20);

constexpr uint64_t kIdentification = 0x00;
constexpr uint64_t kLiveness = 0x04;
constexpr uint64_t kFactorial = 0x08;
constexpr uint64_t kStatus = 0x20;
constexpr uint64_t kInterruptStatus = 0x24;
constexpr uint64_t kInterruptRaise = 0x60;
constexpr uint64_t kInterruptAcknowledge = 0x64;
constexpr uint64_t kDmaSource = 0x80;
constexpr uint64_t kDmaDestination = 0x88;
constexpr uint64_t kDmaCount = 0x90;
constexpr uint64_t kDmaCommand = 0x98;

constexpr uint64_t kToDevice = 1;
constexpr uint64_t kFromDevice = 3;
constexpr uint64_t kInterruptWhenDone = 4;

constexpr uint64_t kBuffer = 0x40000;
// What 28 bits of address reach, without the first page.
constexpr IovaWindow kReach = {.first = Iova{0x1000}, .length = (1 << 28) - 0x1000};

class EduTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(server_, IsOk());
    absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    absl::StatusOr<Region> bar0 = client_->OpenRegion(RegionIndex::kBar0);
    ASSERT_THAT(bar0, IsOk());
    bar0_.emplace(*std::move(bar0));
    const absl::StatusOr<PciFunction> pci = client_->OpenPci();
    ASSERT_THAT(pci, IsOk());
    ASSERT_THAT(pci->EnableBusMaster(), IsOk());
  }
  void TearDown() override {
    bar0_.reset();
    client_.reset();
    EXPECT_THAT(server_->Stop(), IsOk());
  }

  template <typename T = uint32_t>
  T Read(uint64_t offset) const {
    const absl::StatusOr<T> value = bar0_->Read<T>(offset);
    EXPECT_THAT(value, IsOk());
    return value.ok() ? *value : 0;
  }
  template <typename T = uint32_t>
  void Write(uint64_t offset, std::type_identity_t<T> value) const {
    EXPECT_THAT(bar0_->Write<T>(offset, value), IsOk());
  }

  // Polls until bit 0 of a register is down; false when that takes too long.
  bool WaitUntilIdle(uint64_t offset) const {
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoSeconds(kLong);
    while ((Read<uint32_t>(offset) & 1) != 0) {
      if (std::chrono::steady_clock::now() > end) return false;
    }
    return true;
  }
  void StartTransfer(uint64_t source, uint64_t destination, uint64_t count,
                     uint64_t command) const {
    Write<uint64_t>(kDmaSource, source);
    Write<uint64_t>(kDmaDestination, destination);
    Write<uint64_t>(kDmaCount, count);
    Write<uint64_t>(kDmaCommand, command);
  }

  absl::StatusOr<ChildServer> server_ = StartServer("edu");
  std::optional<Client> client_;
  std::optional<Region> bar0_;
};

TEST_F(EduTest, IsFoundByItsIdentityAndAnswersTheProbe) {
  const absl::StatusOr<PciDeviceIdentity> identity = client_->OpenPci()->ReadIdentity();
  ASSERT_THAT(identity, IsOk());
  EXPECT_EQ(identity->vendor_id, 0x1234);
  EXPECT_EQ(identity->device_id, 0x11e8);
  EXPECT_EQ(identity->revision, 0x10);
  EXPECT_EQ(identity->class_code, 0x00ff00u);
  EXPECT_EQ(bar0_->size(), 1u << 20);
  EXPECT_EQ(Read(kIdentification), 0x010000edu);

  Write(kLiveness, 0x0badcafe);

  EXPECT_EQ(Read(kLiveness), ~0x0badcafeu);
}

TEST_F(EduTest, ComputesAFactorialForADriverThatPolls) {
  Write(kFactorial, 10);
  ASSERT_TRUE(WaitUntilIdle(kStatus));

  EXPECT_EQ(Read(kFactorial), 3628800u);
}

TEST_F(EduTest, ComputesAFactorialForADriverThatWaitsForMsi) {
  absl::StatusOr<Interrupt> msi = client_->BindInterrupt(IrqIndex::kMsi, 0);
  ASSERT_THAT(msi, IsOk());
  for (uint32_t i = 0; i < 3; ++i) {
    Write(kStatus, 0x80);
    Write(kFactorial, 5);

    ASSERT_THAT(msi->Wait(kLong), IsOkAndHolds(1u));

    EXPECT_EQ(Read(kStatus), 0x80u);
    EXPECT_EQ(Read(kFactorial), 120u);
    EXPECT_EQ(Read(kInterruptStatus), 1u);
    Write(kInterruptAcknowledge, 1);
    EXPECT_EQ(Read(kInterruptStatus), 0u);
  }
}

TEST_F(EduTest, ComputesAFactorialForADriverThatWaitsForIntx) {
  absl::StatusOr<Interrupt> intx = client_->BindInterrupt(IrqIndex::kIntx, 0);
  ASSERT_THAT(intx, IsOk());
  for (uint32_t i = 0; i < 3; ++i) {
    Write(kStatus, 0x80);
    Write(kFactorial, 5);

    ASSERT_THAT(intx->Wait(kLong), IsOkAndHolds(1u));

    EXPECT_EQ(Read(kFactorial), 120u);
    Write(kInterruptAcknowledge, Read(kInterruptStatus));
    EXPECT_THAT(intx->Unmask(), IsOk());
    // The line is down, and so unmasking has signalled nobody.
    EXPECT_THAT(intx->Wait(absl::ZeroDuration()), StatusIs(absl::StatusCode::kDeadlineExceeded));
  }
}

TEST_F(EduTest, SignalsIntxAgainUntilAllIsAcknowledged) {
  absl::StatusOr<Interrupt> intx = client_->BindInterrupt(IrqIndex::kIntx, 0);
  ASSERT_THAT(intx, IsOk());
  Write(kInterruptRaise, 0x6);
  ASSERT_THAT(intx->Wait(kLong), IsOk());

  Write(kInterruptAcknowledge, 0x2);
  EXPECT_EQ(Read(kInterruptStatus), 0x4u);
  ASSERT_THAT(intx->Unmask(), IsOk());
  ASSERT_THAT(intx->Wait(kLong), IsOk());

  Write(kInterruptAcknowledge, 0x4);
  ASSERT_THAT(intx->Unmask(), IsOk());
  EXPECT_THAT(intx->Wait(absl::ZeroDuration()), StatusIs(absl::StatusCode::kDeadlineExceeded));
}

class EduDmaTest : public EduTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(EduTest::SetUp());
    for (size_t i = 0; i < memory_.size(); ++i)
      memory_[i] = static_cast<std::byte>(i * 7 + i / 256);
    absl::StatusOr<DmaMapping> mapping = client_->Map(std::span(memory_), {.iova = kReach});
    ASSERT_THAT(mapping, IsOk());
    mapping_.emplace(*std::move(mapping));
  }
  void TearDown() override {
    mapping_.reset();
    EduTest::TearDown();
  }

  uint64_t At(uint64_t offset) const { return ToU64(mapping_->iova()) + offset; }
  std::span<std::byte> memory(size_t offset, size_t bytes) {
    return std::span(memory_).subspan(offset, bytes);
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(3 * 4096);
  std::optional<DmaMapping> mapping_;
};

TEST_F(EduDmaTest, CopiesItsWholeBufferInAndOut) {
  StartTransfer(At(0), kBuffer, 4096, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  StartTransfer(kBuffer, At(4096), 4096, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory(4096, 4096), ElementsAreArray(memory(0, 4096)));
  EXPECT_NE(memory_[8192], memory_[0]);
  EXPECT_EQ(Read(kInterruptStatus), 0u);
}

TEST_F(EduDmaTest, CopiesAPartAtAnOddPlace) {
  StartTransfer(At(3), kBuffer + 101, 57, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  StartTransfer(kBuffer + 101, At(4097), 57, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory(4097, 57), ElementsAreArray(memory(3, 57)));
}

TEST_F(EduDmaTest, TellsByAnInterruptThatATransferIsDone) {
  absl::StatusOr<Interrupt> msi = client_->BindInterrupt(IrqIndex::kMsi, 0);
  ASSERT_THAT(msi, IsOk());

  StartTransfer(At(0), kBuffer, 16, kToDevice | kInterruptWhenDone);
  ASSERT_THAT(msi->Wait(kLong), IsOk());

  EXPECT_EQ(Read<uint64_t>(kDmaCommand), kInterruptWhenDone);
  EXPECT_EQ(Read(kInterruptStatus), 0x100u);
}

TEST_F(EduDmaTest, MovesNothingOutsideItsBufferAndIsIdleAgain) {
  std::ranges::fill(memory_, std::byte{7});
  StartTransfer(kBuffer + 4000, At(0), 97, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  StartTransfer(kBuffer - 1, At(0), 8, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory_, Each(std::byte{7}));
}

TEST_F(EduDmaTest, MovesNothingOfMemoryThatItMayNotTouchAndIsIdleAgain) {
  StartTransfer(At(0), kBuffer, 8, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  // One byte beyond the mapping.
  StartTransfer(At(memory_.size() - 4095), kBuffer, 4096, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  StartTransfer(kBuffer, At(4096), 8, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory(4096, 8), ElementsAreArray(memory(0, 8)));
}

TEST_F(EduDmaTest, SeesNoAddressBeyondItsMask) {
  StartTransfer(At(0) | uint64_t{1} << 28, kBuffer, 64, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));
  StartTransfer(kBuffer, At(4096) | uint64_t{1} << 63, 64, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory(4096, 64), ElementsAreArray(memory(0, 64)));
}

TEST_F(EduDmaTest, ForgetsItsBufferInAReset) {
  StartTransfer(At(0), kBuffer, 4096, kToDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  ASSERT_THAT(client_->Reset(), IsOk());
  ASSERT_THAT(client_->OpenPci()->EnableBusMaster(), IsOk());
  StartTransfer(kBuffer, At(0), 4096, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory(0, 4096), Each(std::byte{0}));
  EXPECT_EQ(Read(kLiveness), 0u);
}

TEST_F(EduDmaTest, MovesNothingWithoutBusMastering) {
  ASSERT_THAT(client_->OpenPci()->DisableBusMaster(), IsOk());
  std::ranges::fill(memory_, std::byte{7});

  StartTransfer(kBuffer, At(0), 8, kFromDevice);
  ASSERT_TRUE(WaitUntilIdle(kDmaCommand));

  EXPECT_THAT(memory_, Each(std::byte{7}));
}

}  // namespace
}  // namespace vfio_user
