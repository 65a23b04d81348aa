#include "client/pci_function.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/region_access.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

// A device whose config space is plain memory.
class PciFunctionTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<GreetedSocket> greeted = Greet(kTwinGranted);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_ = std::move(greeted->twin);
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
    client_.emplace(*std::move(client));
  }

  void Open() {
    auto device = AnswerNext(*server_, Hex("10000000 03000000 09000000 05000000"));
    auto served = std::async(std::launch::async, [&] {
      EXPECT_THAT(device.get(), IsOk());
      EXPECT_THAT(AnswerNext(*server_, Hex("20000000 03000000 07000000 00000000"
                                           "0001000000000000 0000000000000000"))
                      .get(),
                  IsOk());
    });
    absl::StatusOr<PciFunction> pci = client_->OpenPci();
    served.get();
    ASSERT_THAT(pci, IsOk());
    pci_.emplace(*std::move(pci));
  }

  // Serves `count` accesses.
  std::future<void> ServeAccesses(int count) {
    return std::async(std::launch::async, [this, count] {
      for (int i = 0; i < count; ++i) ServeAccess();
    });
  }

  void ServeAccess() {
    const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
    ASSERT_THAT(request, IsOk());
    const auto access = RegionAccess::ParsePrefix(request->body, "request");
    ASSERT_THAT(access, IsOk());
    std::vector<uint8_t> reply(request->body.begin(), request->body.begin() + RegionAccess::kBytes);
    const auto at = space_.begin() + static_cast<std::ptrdiff_t>(access->offset);
    if (request->header.command == Command::kRegionRead) {
      reply.insert(reply.end(), at, at + access->count);
    } else {
      std::copy(request->body.begin() + RegionAccess::kBytes, request->body.end(), at);
    }
    EXPECT_THAT(server_->Reply(request->header, reply), IsOk());
  }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
  std::optional<PciFunction> pci_;
  std::vector<uint8_t> space_ = std::vector<uint8_t>(256);
};

TEST_F(PciFunctionTest, ReadsWhoTheDeviceIs) {
  ASSERT_NO_FATAL_FAILURE(Open());
  const std::vector<uint8_t> header = Hex("3412 01dc 0000 0000 05 00 02 01");
  const std::vector<uint8_t> subsystem = Hex("f41a 0011");
  std::ranges::copy(header, space_.begin());
  std::ranges::copy(subsystem, space_.begin() + 0x2c);
  auto served = ServeAccesses(3);

  EXPECT_THAT(pci_->ReadIdentity(), IsOkAndHolds(PciDeviceIdentity{.vendor_id = 0x1234,
                                                                   .device_id = 0xdc01,
                                                                   .subsystem_vendor_id = 0x1af4,
                                                                   .subsystem_id = 0x1100,
                                                                   .class_code = 0x010200,
                                                                   .revision = 5}));
  served.get();
}

TEST_F(PciFunctionTest, SwitchesBusMasteringAndLeavesTheOtherBits) {
  ASSERT_NO_FATAL_FAILURE(Open());
  space_[4] = 0x02;
  space_[5] = 0x05;
  auto served = ServeAccesses(4);

  EXPECT_THAT(pci_->EnableBusMaster(), IsOk());
  EXPECT_EQ(space_[4], 0x06);
  EXPECT_THAT(pci_->DisableBusMaster(), IsOk());
  served.get();

  EXPECT_EQ(space_[4], 0x02);
  EXPECT_EQ(space_[5], 0x05);
}

TEST_F(PciFunctionTest, TellsTheCommandBitsThatItKnows) {
  ASSERT_NO_FATAL_FAILURE(Open());
  space_[4] = 0x46;
  space_[5] = 0x04;
  auto served = ServeAccesses(1);

  EXPECT_THAT(pci_->ReadCommand(),
              IsOkAndHolds(PciCommandFlags(PciCommandFlag::kMemorySpace) |
                           PciCommandFlag::kBusMaster | PciCommandFlag::kIntxDisable));
  served.get();
}

TEST_F(PciFunctionTest, ReadsAllOfItWithTheSizesOfTheBars) {
  ASSERT_NO_FATAL_FAILURE(Open());
  space_[0x10] = 0x0c;  // 64-bit, prefetchable.
  space_[0x13] = 0xfe;
  auto served = std::async(std::launch::async, [&] {
    ServeAccess();
    // Five BARs: there is none where the upper half of the first one's address is.
    for (const char* const bar : {"00", "02", "03", "04", "05"}) {
      const std::string size = std::string(bar) == "00" ? "0010" : "0000";
      EXPECT_THAT(
          AnswerNext(*server_, Hex("20000000 03000000" + std::string(bar) + "000000 00000000" +
                                   size + "000000000000 0000000000000000"))
              .get(),
          IsOk());
    }
  });

  const absl::StatusOr<PciConfig> config = pci_->ReadConfig();

  served.get();
  ASSERT_THAT(config, IsOk());
  ASSERT_EQ(config->bars.size(), 5u);
  EXPECT_EQ(config->bars[0], (PciBar{.index = RegionIndex::kBar0,
                                     .kind = PciBarKind::kMemory64,
                                     .prefetchable = true,
                                     .address = 0xfe000000,
                                     .size = 0x1000}));
  EXPECT_EQ(config->bars[1].size, 0u);
}

class FunctionResetTest : public PciFunctionTest {
 protected:
  void SetUp() override {
    PciFunctionTest::SetUp();
    ASSERT_NO_FATAL_FAILURE(Open());
    space_[0x06] = 0x10;
    space_[0x34] = 0x40;
    space_[0x40] = 0x10;  // PCI Express: device capabilities at 4, control at 8.
    space_[0x48] = 0x30;
    space_[0x49] = 0x29;
  }
};

TEST_F(FunctionResetTest, WritesTheBitOfTheDeviceControlRegister) {
  space_[0x47] = 0x10;
  auto served = ServeAccesses(3);

  EXPECT_THAT(pci_->ResetFunction(), IsOk());

  served.get();
  EXPECT_EQ(space_[0x48], 0x30);
  EXPECT_EQ(space_[0x49], 0xa9);
}

TEST_F(FunctionResetTest, IsUnimplementedWhereTheDeviceDoesNotOfferIt) {
  auto served = ServeAccesses(1);

  EXPECT_THAT(pci_->ResetFunction(), StatusIs(absl::StatusCode::kUnimplemented));
  served.get();
}

TEST_F(FunctionResetTest, IsUnimplementedWithoutPciExpress) {
  space_[0x06] = 0;
  auto served = ServeAccesses(1);

  EXPECT_THAT(pci_->ResetFunction(), StatusIs(absl::StatusCode::kUnimplemented));
  served.get();
}

TEST_F(PciFunctionTest, IsNotThereForADeviceThatIsNoPciDevice) {
  auto device = AnswerNext(*server_, Hex("10000000 01000000 09000000 05000000"));

  EXPECT_THAT(client_->OpenPci(), StatusIs(absl::StatusCode::kUnimplemented));
  ASSERT_THAT(device.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
