// The parts of a device - interrupts, mapped BARs, doorbells - in another process, and the commands
// that show them.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/dma_mapping.h"
#include "client/doorbell.h"
#include "client/interrupt.h"
#include "client/interrupt_type.h"
#include "client/region.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr absl::Duration kLong = absl::Seconds(20);
constexpr absl::Duration kShort = absl::Milliseconds(100);

class DmaCopyPartsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }
  void TearDown() override { EXPECT_THAT(server_->Stop(), IsOk()); }

  ToolRun Run(const std::string& verb, std::vector<std::string> rest = {}) {
    rest.insert(rest.begin(), {verb, server_->socket_path()});
    return RunTool(rest);
  }

  absl::StatusOr<ChildServer> server_ = StartServer();
};

TEST_F(DmaCopyPartsTest, IrqListsTheInterrupts) {
  const ToolRun run = Run("irq");

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "msix 1 eventfd|maskable\n");
}

TEST_F(DmaCopyPartsTest, IrqListsTheInterruptsAsJson) {
  const ToolRun run = Run("irq", {"--json"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json json = nlohmann::json::parse(run.out);
  ASSERT_THAT(json, SizeIs(1));
  EXPECT_EQ(json[0]["type"], "msix");
  EXPECT_EQ(json[0]["vectors"], 1);
}

TEST_F(DmaCopyPartsTest, IrqTriggersAVectorAndSeesIt) {
  const ToolRun run = Run("irq", {"msix", "0", "--trigger", "--wait", "20"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.out, "msix 0 1\n");
}

TEST_F(DmaCopyPartsTest, IrqSaysWhenThereIsNoInterrupt) {
  const ToolRun run = Run("irq", {"msix", "0", "--wait", "0.05"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, IsEmpty());
  EXPECT_THAT(run.err, AllOf(StartsWith("vfio-user: "), HasSubstr("no interrupt msix 0")));
}

TEST_F(DmaCopyPartsTest, IrqHoldsAMaskedVectorBack) {
  const ToolRun run = Run("irq", {"msix", "0", "--mask", "--trigger", "--wait", "0.05"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("no interrupt msix 0"));
  EXPECT_EQ(Run("irq", {"msix", "0", "--unmask"}).exit_code, 0);
}

TEST_F(DmaCopyPartsTest, IrqSaysWhatTheDeviceDoesNotHave) {
  const ToolRun vector = Run("irq", {"msix", "1", "--trigger"});
  const ToolRun type = Run("irq", {"intx", "0", "--trigger"});

  EXPECT_EQ(vector.exit_code, 1);
  EXPECT_THAT(vector.err, HasSubstr("no msix vector 1: it has 1"));
  EXPECT_EQ(type.exit_code, 1);
  EXPECT_THAT(type.err, HasSubstr("the device has no intx"));
}

TEST_F(DmaCopyPartsTest, IrqRejectsWhatItCannotDo) {
  const std::vector<std::vector<std::string>> wrong = {{"--trigger"},
                                                       {"msix"},
                                                       {"msix", "0"},
                                                       {"msix", "zero", "--trigger"},
                                                       {"nmi", "0"},
                                                       {"msix", "0", "--wait", "long"},
                                                       {"msix", "0", "--wait", "nan"},
                                                       {"msix", "0", "--wait", "-1"},
                                                       {"msix", "0", "--wait", "86401"},
                                                       {"msix", "4294967296", "--trigger"},
                                                       {"msix", "0", "--mask", "--unmask"}};
  for (const std::vector<std::string>& rest : wrong) {
    const ToolRun run = Run("irq", rest);

    EXPECT_EQ(run.exit_code, 2) << testing::PrintToString(rest) << run.err;
    EXPECT_THAT(run.err, HasSubstr("; "));
  }
}

TEST_F(DmaCopyPartsTest, AFunctionResetSwitchesBusMasteringOff) {
  ASSERT_EQ(Run("write", {"config", "4", "6", "--width", "2"}).exit_code, 0);

  const ToolRun run = Run("reset", {"--flr"});

  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_THAT(Run("read", {"config", "4", "--width", "2"}).out, HasSubstr("0x0000"));
}

TEST(EduPartsTest, ResetSaysWhenTheFunctionCannotBeReset) {
  absl::StatusOr<ChildServer> server = StartServer("edu");
  ASSERT_THAT(server, IsOk());

  const ToolRun run = RunTool({"reset", server->socket_path(), "--flr"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("PCI Express capability"));
  EXPECT_THAT(server->Stop(), IsOk());
}

TEST_F(DmaCopyPartsTest, InfoShowsTheDoorbell) {
  const ToolRun text = Run("info");
  const ToolRun json = Run("info", {"--json"});

  EXPECT_THAT(text.out, HasSubstr("\t\tDoorbell: 0x"));
  const nlohmann::json parsed = nlohmann::json::parse(json.out);
  EXPECT_THAT(parsed["regions"][0]["doorbells"], SizeIs(1));
  // Behind power management.
  EXPECT_EQ(parsed["pci"]["capabilities"][1]["name"], "MSI-X");
  EXPECT_EQ(parsed["pci"]["capabilities"][1]["vectors"], 1);
}

TEST_F(DmaCopyPartsTest, AMaskedInterruptIsDeliveredOnceWhenItIsUnmasked) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<InterruptType> msix = client->OpenInterrupts(IrqIndex::kMsix);
  ASSERT_THAT(msix, IsOk());
  absl::StatusOr<Interrupt> interrupt = msix->Bind(0);
  ASSERT_THAT(interrupt, IsOk());

  EXPECT_THAT(interrupt->Mask(), IsOk());
  EXPECT_THAT(msix->Trigger(0, 1), IsOk());
  EXPECT_THAT(msix->Trigger(0, 1), IsOk());
  EXPECT_THAT(interrupt->Wait(kShort), StatusIs(absl::StatusCode::kDeadlineExceeded));

  EXPECT_THAT(interrupt->Unmask(), IsOk());
  EXPECT_THAT(interrupt->Wait(kLong), IsOkAndHolds(1u));

  EXPECT_THAT(msix->Disable(), IsOk());
}

TEST_F(DmaCopyPartsTest, BindingAgainAndAgainLeavesNoDescriptorInTheServer) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  const absl::StatusOr<InterruptType> msix = client->OpenInterrupts(IrqIndex::kMsix);
  ASSERT_THAT(msix, IsOk());
  const int before = FdsNaming(server_->process().pid(), "[eventfd]");
  for (int i = 0; i < 100; ++i) {
    absl::StatusOr<Interrupt> interrupt = msix->Bind(0);
    ASSERT_THAT(interrupt, IsOk());
    ASSERT_THAT(msix->Trigger(0, 1), IsOk());
    EXPECT_THAT(interrupt->Wait(kLong), IsOkAndHolds(1u));
  }
  EXPECT_EQ(FdsNaming(server_->process().pid(), "[eventfd]"), before);
}

TEST_F(DmaCopyPartsTest, ADoorbellWorksLikeTheRegisterThatItStandsFor) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  // Two descriptors: do nothing (0), with an interrupt when done (bit 32).
  uint64_t ring[16] = {uint64_t{1} << 32, 0, 0, 0, 0, 0, 0, 0, uint64_t{1} << 32};
  const auto lent = client->Map(std::as_writable_bytes(std::span(ring)));
  const auto bar0 = client->OpenRegion(RegionIndex::kBar0);
  const auto pci = client->OpenPci();
  auto interrupt = client->BindInterrupt(IrqIndex::kMsix, 0);
  ASSERT_THAT(lent, IsOk());
  ASSERT_THAT(bar0, IsOk());
  ASSERT_THAT(pci, IsOk());
  ASSERT_THAT(interrupt, IsOk());
  ASSERT_THAT(pci->EnableBusMaster(), IsOk());
  ASSERT_THAT(bar0->Write<uint64_t>(0x10, ToU64(lent->iova())), IsOk());
  ASSERT_THAT(bar0->Write<uint32_t>(0x18, 2), IsOk());
  const absl::StatusOr<std::vector<Doorbell>> doorbells = bar0->OpenDoorbells();
  ASSERT_THAT(doorbells, IsOkAndHolds(SizeIs(1)));

  EXPECT_THAT(doorbells->front().Ring(), IsOk());

  EXPECT_THAT(interrupt->Wait(kLong), IsOkAndHolds(1u));
  EXPECT_EQ(static_cast<uint32_t>(ring[4]), 1u);
}

class NullPartsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(server_, IsOk());
    absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
  }
  void TearDown() override {
    client_.reset();
    EXPECT_THAT(server_->Stop(), IsOk());
  }

  absl::StatusOr<ChildServer> server_ = StartServer("null");
  std::optional<Client> client_;
};

TEST_F(NullPartsTest, AMappedBarAndMessagesAreTheSameMemory) {
  const absl::StatusOr<Region> mapped = client_->OpenRegion(RegionIndex::kBar0);
  const absl::StatusOr<Region> messages =
      client_->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
  ASSERT_THAT(mapped, IsOk());
  ASSERT_THAT(messages, IsOk());
  EXPECT_THAT(mapped->mapping_status(), IsOk());
  ASSERT_THAT(mapped->Mapping(0, mapped->size()), SizeIs(mapped->size()));

  EXPECT_THAT(mapped->Write<uint32_t>(0x10, 0x12345678), IsOk());
  EXPECT_THAT(messages->Read<uint32_t>(0x10), IsOkAndHolds(0x12345678u));
  EXPECT_THAT(messages->Write<uint64_t>(0x20, 0x1122334455667788), IsOk());
  EXPECT_THAT(mapped->Read<uint64_t>(0x20), IsOkAndHolds(0x1122334455667788u));
}

TEST_F(NullPartsTest, PostedWritesHaveHappenedAfterAFence) {
  const absl::StatusOr<Region> mapped = client_->OpenRegion(RegionIndex::kBar0);
  const absl::StatusOr<Region> messages =
      client_->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
  ASSERT_THAT(mapped, IsOk());
  ASSERT_THAT(messages, IsOk());

  for (uint32_t i = 0; i < 10'000; ++i) {
    ASSERT_THAT(messages->Post<uint32_t>(i % 1024 * 4, i), IsOk());
  }
  ASSERT_THAT(messages->Fence(), IsOk());

  EXPECT_THAT(mapped->Read<uint32_t>(0), IsOkAndHolds(9216u));
  EXPECT_THAT(mapped->Read<uint32_t>(783 * 4), IsOkAndHolds(9999u));
}

TEST_F(NullPartsTest, ManyAccessesAreTheSameAsOneByOne) {
  const absl::StatusOr<Region> region =
      client_->OpenRegion(RegionIndex::kBar0, {.path = RegionPath::kMessage});
  ASSERT_THAT(region, IsOk());
  std::vector<uint32_t> out(1024);
  std::vector<uint32_t> in(out.size());
  std::vector<RegionWrite> writes;
  std::vector<RegionRead> reads;
  for (uint32_t i = 0; i < out.size(); ++i) {
    out[i] = i * 7;
    writes.push_back({i * 4u, std::as_bytes(std::span(&out[i], 1))});
    reads.push_back({i * 4u, std::as_writable_bytes(std::span(&in[i], 1))});
  }

  EXPECT_THAT(region->WriteMany(writes), IsOk());
  EXPECT_THAT(region->ReadMany(reads), IsOk());

  EXPECT_EQ(in, out);
}

}  // namespace
}  // namespace vfio_user
