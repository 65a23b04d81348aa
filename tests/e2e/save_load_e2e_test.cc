// `vfio-user save` and `load`: a device's state from one server to another.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/device_migration.h"
#include "client/dma_mapping.h"
#include "client/interrupt.h"
#include "client/pci_function.h"
#include "client/region.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/temp_dir.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/output_file.h"
#include "tools/vfio_user/state_file.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A ring of dma-copy at a bus address of its own, and a buffer behind it, driven register by
// register: the ring goes on where another connection, to another server, left it.
class Ring {
 public:
  absl::Status Attach(const Client& client) {
    VFIO_USER_ASSIGN_OR_RETURN(DmaMapping mapping,
                               client.Map(std::span<std::byte>(memory_), {.iova = Iova{kIova}}));
    mapping_.emplace(std::move(mapping));
    VFIO_USER_ASSIGN_OR_RETURN(Region registers, client.OpenRegion(RegionIndex::kBar0));
    registers_.emplace(std::move(registers));
    VFIO_USER_ASSIGN_OR_RETURN(const PciFunction pci, client.OpenPci());
    return pci.EnableBusMaster();
  }
  void Detach() {
    mapping_.reset();
    registers_.reset();
  }

  absl::Status SetUp() {
    VFIO_USER_RETURN_IF_ERROR(registers_->Write<uint64_t>(kRingIovaOffset, kIova));
    return registers_->Write<uint32_t>(kRingEntriesOffset, kEntries);
  }

  // Fills the buffer with `value` by the descriptor at `index`, and waits until that is done.
  absl::Status Fill(uint32_t index, std::byte value) {
    const uint64_t pattern = 0x0101010101010101 * std::to_integer<uint64_t>(value);
    const std::array<uint64_t, 4> descriptor = {2, pattern, kIova + kRingBytes, kBufferBytes};
    std::memcpy(memory_.data() + index * kDescriptorBytes, descriptor.data(), sizeof(descriptor));
    VFIO_USER_RETURN_IF_ERROR(registers_->Write<uint32_t>(kDoorbellOffset, index + 1));
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < give_up) {
      VFIO_USER_ASSIGN_OR_RETURN(const uint32_t consumer, Consumer());
      if (consumer == index + 1) return absl::OkStatus();
    }
    return absl::DeadlineExceededError("the descriptor was not run");
  }

  absl::StatusOr<uint32_t> Consumer() { return registers_->Read<uint32_t>(kConsumerOffset); }
  std::span<const std::byte> buffer() const { return std::span(memory_).subspan(kRingBytes); }

 private:
  static constexpr uint64_t kIova = 0x100000;
  static constexpr uint32_t kEntries = 4;
  static constexpr size_t kDescriptorBytes = 64;
  static constexpr size_t kRingBytes = kEntries * kDescriptorBytes;
  static constexpr size_t kBufferBytes = 64;
  static constexpr uint64_t kRingIovaOffset = 0x10;
  static constexpr uint64_t kRingEntriesOffset = 0x18;
  static constexpr uint64_t kDoorbellOffset = 0x1c;
  static constexpr uint64_t kConsumerOffset = 0x20;

  std::array<std::byte, kRingBytes + kBufferBytes> memory_ = {};
  std::optional<DmaMapping> mapping_;
  std::optional<Region> registers_;
};

// Runs one descriptor of a ring that is set up anew, as a client of its own.
absl::Status RunRing(const std::string& socket_path, Ring& ring) {
  VFIO_USER_ASSIGN_OR_RETURN(const Client client, Client::Connect(socket_path));
  VFIO_USER_RETURN_IF_ERROR(ring.Attach(client));
  const absl::Cleanup detach = [&] { ring.Detach(); };
  VFIO_USER_RETURN_IF_ERROR(ring.SetUp());
  return ring.Fill(0, std::byte{0x11});
}

class SaveLoadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(from_, IsOk());
    ASSERT_THAT(to_, IsOk());
  }

  ToolRun Save() { return RunTool({"save", from_->socket_path(), file_}); }
  ToolRun Load() { return RunTool({"load", to_->socket_path(), file_}); }

  TempDir directory_;
  const std::string file_ = directory_.File("state");
  Ring ring_;
  absl::StatusOr<ChildServer> from_ = StartServer();
  absl::StatusOr<ChildServer> to_ = StartServer();
};

TEST_F(SaveLoadTest, TheRingGoesOnInAnotherProcess) {
  ASSERT_THAT(RunRing(from_->socket_path(), ring_), IsOk());
  EXPECT_THAT(ring_.buffer(), Each(Eq(std::byte{0x11})));

  const ToolRun save = Save();
  EXPECT_EQ(save.exit_code, 0) << save.err;
  EXPECT_THAT(save.err, AllOf(StartsWith("saved "), HasSubstr("of 1234:dc01, which runs on")));
  const ToolRun load = Load();
  EXPECT_EQ(load.exit_code, 0) << load.err;
  EXPECT_THAT(load.err, AllOf(StartsWith("loaded "), HasSubstr("into 1234:dc01, which runs")));

  const absl::StatusOr<Client> client = Client::Connect(to_->socket_path());
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(ring_.Attach(*client), IsOk());
  EXPECT_THAT(ring_.Consumer(), IsOkAndHolds(1u));
  EXPECT_THAT(ring_.Fill(1, std::byte{0x22}), IsOk());
  EXPECT_THAT(ring_.buffer(), Each(Eq(std::byte{0x22})));
  ring_.Detach();
}

// The registers of edu that keep what was written or computed.
constexpr uint64_t kLiveness = 0x04;
constexpr uint64_t kFactorial = 0x08;
constexpr uint64_t kStatus = 0x20;
constexpr uint64_t kInterruptStatus = 0x24;
constexpr uint64_t kInterruptRaise = 0x60;
constexpr uint64_t kDmaCount = 0x90;

TEST_F(SaveLoadTest, EduHasItsRegistersAndItsInterruptInAnotherProcess) {
  absl::StatusOr<ChildServer> one = StartServer("edu");
  absl::StatusOr<ChildServer> other = StartServer("edu");
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());
  {
    const absl::StatusOr<Client> client = Client::Connect(one->socket_path());
    ASSERT_THAT(client, IsOk());
    const absl::StatusOr<Region> bar = client->OpenRegion(RegionIndex::kBar0);
    ASSERT_THAT(bar, IsOk());
    ASSERT_THAT(bar->Write<uint32_t>(kLiveness, 0x12345678), IsOk());
    ASSERT_THAT(bar->Write<uint32_t>(kFactorial, 10), IsOk());
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while ((bar->Read<uint32_t>(kStatus).value() & 1) != 0) {
      ASSERT_LT(std::chrono::steady_clock::now(), give_up);
    }
    ASSERT_THAT(bar->Write<uint32_t>(kInterruptRaise, 0x42), IsOk());
    ASSERT_THAT(bar->Write<uint64_t>(kDmaCount, 4096), IsOk());
  }

  ASSERT_EQ(RunTool({"save", one->socket_path(), file_}).exit_code, 0);
  const ToolRun load = RunTool({"load", other->socket_path(), file_});
  ASSERT_EQ(load.exit_code, 0) << load.err;

  const absl::StatusOr<Client> client = Client::Connect(other->socket_path());
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<Region> bar = client->OpenRegion(RegionIndex::kBar0);
  ASSERT_THAT(bar, IsOk());
  EXPECT_THAT(bar->Read<uint32_t>(kLiveness), IsOkAndHolds(~uint32_t{0x12345678}));
  EXPECT_THAT(bar->Read<uint32_t>(kFactorial), IsOkAndHolds(3628800u));
  EXPECT_THAT(bar->Read<uint32_t>(kInterruptStatus), IsOkAndHolds(0x42u));
  EXPECT_THAT(bar->Read<uint64_t>(kDmaCount), IsOkAndHolds(4096u));
  // Still raised: it comes to whoever binds it.
  absl::StatusOr<Interrupt> intx = client->BindInterrupt(IrqIndex::kIntx, 0);
  ASSERT_THAT(intx, IsOk());
  EXPECT_THAT(intx->Wait(absl::Seconds(20)), IsOk());
}

TEST_F(SaveLoadTest, AFunctionLevelResetEndsAStopAndLeavesNothingOfAHalfLoadedState) {
  const absl::StatusOr<Client> client = Client::Connect(to_->socket_path());
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(ring_.Attach(*client), IsOk());
  ASSERT_THAT(ring_.SetUp(), IsOk());
  ASSERT_THAT(ring_.Fill(0, std::byte{0x11}), IsOk());
  const absl::StatusOr<DeviceMigration> migration = client->OpenMigration();
  ASSERT_THAT(migration, IsOk());
  ASSERT_THAT(migration->SetState(MigState::kResuming), IsOk());

  const absl::StatusOr<PciFunction> pci = client->OpenPci();
  ASSERT_THAT(pci, IsOk());
  ASSERT_THAT(pci->ResetFunction(), IsOk());

  EXPECT_THAT(migration->state(), IsOkAndHolds(MigState::kRunning));
  EXPECT_THAT(ring_.Consumer(), IsOkAndHolds(0u));
  // The mapping is the client's, and stayed; bus mastering is the function's.
  ASSERT_THAT(pci->EnableBusMaster(), IsOk());
  ASSERT_THAT(ring_.SetUp(), IsOk());
  EXPECT_THAT(ring_.Fill(0, std::byte{0x22}), IsOk());
  EXPECT_THAT(ring_.buffer(), Each(Eq(std::byte{0x22})));
  ring_.Detach();
}

TEST_F(SaveLoadTest, TheDeviceThatWasSavedGoesOnToo) {
  ASSERT_EQ(Save().exit_code, 0);

  EXPECT_THAT(RunRing(from_->socket_path(), ring_), IsOk());
}

TEST_F(SaveLoadTest, ATruncatedFileIsRefusedBeforeTheDeviceIsTouched) {
  ASSERT_EQ(Save().exit_code, 0);
  std::filesystem::resize_file(file_, std::filesystem::file_size(file_) - 1);

  const ToolRun run = Load();

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr(file_ + " is cut short or damaged; save the state again"));
}

TEST_F(SaveLoadTest, WhatIsNoStateFileIsRefused) {
  std::ofstream(file_) << "hello";

  const ToolRun run = Load();

  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("is not the state of a device; name a file"));
}

TEST_F(SaveLoadTest, TheStateOfAnotherDeviceIsRefused) {
  absl::StatusOr<ChildServer> null = StartServer("null");
  ASSERT_THAT(null, IsOk());
  ASSERT_EQ(RunTool({"save", null->socket_path(), file_}).exit_code, 0);

  const ToolRun run = Load();

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err,
              AllOf(HasSubstr("serves a 1234:dc01"), HasSubstr("into a device of its kind")));
}

TEST_F(SaveLoadTest, AStateThatTheDeviceDoesNotTakeLeavesItRunning) {
  absl::StatusOr<OutputFile> output = OutputFile::Create(file_);
  ASSERT_THAT(output, IsOk());
  absl::StatusOr<StateFileWriter> file =
      StateFileWriter::Begin(*std::move(output), {.vendor_id = 0x1234, .device_id = 0xdc01});
  ASSERT_THAT(file, IsOk());
  const std::array<std::byte, 100> nonsense = {};
  ASSERT_THAT(file->Write(nonsense), IsOk());
  ASSERT_THAT(file->Commit(), IsOk());

  const ToolRun run = Load();

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, AllOf(HasSubstr(to_->socket_path() + ": not loaded"),
                             HasSubstr("it was reset, has lost its own, and is in running")));
  EXPECT_THAT(RunRing(to_->socket_path(), ring_), IsOk());
}

TEST_F(SaveLoadTest, AFullDiskLeavesTheDeviceRunningAndNoFile) {
  const ToolRun run = RunTool({"save", from_->socket_path(), "/dev/full"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("cannot write /dev/full: No space left on device"));
  EXPECT_EQ(Save().exit_code, 0);
}

TEST_F(SaveLoadTest, SaysWhenNobodyServes) {
  const std::string nowhere = directory_.File("none");

  const ToolRun save = RunTool({"save", nowhere, file_});
  EXPECT_EQ(save.exit_code, 1);
  EXPECT_THAT(save.err, HasSubstr("none"));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));

  ASSERT_EQ(Save().exit_code, 0);
  const ToolRun load = RunTool({"load", nowhere, file_});
  EXPECT_EQ(load.exit_code, 1);
  EXPECT_THAT(load.err, HasSubstr("none"));
}

}  // namespace
}  // namespace vfio_user
