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
#include "client/scripted_server.h"
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

TEST_F(PciFunctionTest, IsNotThereForADeviceThatIsNoPciDevice) {
  auto device = AnswerNext(*server_, Hex("10000000 01000000 09000000 05000000"));

  EXPECT_THAT(client_->OpenPci(), StatusIs(absl::StatusCode::kUnimplemented));
  ASSERT_THAT(device.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
