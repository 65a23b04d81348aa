// What a server holds after a long time of use is what it held before.
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/address_space.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

class DescriptorsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_THAT(server_, IsOk()); }

  // With `client` connected. It asks something first: the server closes what it sent with VERSION
  // after sending it, and before it looks at the next request.
  int ServersFds(const Client& client) {
    EXPECT_THAT(client.GetDeviceInfo(), IsOk());
    return OpenFdCountOf(server_->process().pid());
  }

  absl::StatusOr<ChildServer> server_ = StartServer();
};

TEST_F(DescriptorsTest, TenThousandMappingsLeaveNothingOpen) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  std::vector<std::byte> memory(4096);
  const int before = ServersFds(*client);
  ASSERT_GT(before, 0);

  for (int i = 0; i < 10000; ++i) {
    const absl::StatusOr<DmaMapping> mapping =
        client->Map(memory, {.path = i % 2 == 0 ? DmaPath::kFileIo : DmaPath::kMessage});
    ASSERT_THAT(mapping, IsOk());
  }

  EXPECT_EQ(ServersFds(*client), before);
}

TEST_F(DescriptorsTest, MappingsThatAreUnmappedAtOnceLeaveNothingOpen) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  std::vector<std::byte> memory(4096);
  const int before = ServersFds(*client);

  for (int round = 0; round < 20; ++round) {
    std::vector<DmaMapping> mappings;
    for (uint64_t i = 0; i < 100; ++i) {
      absl::StatusOr<DmaMapping> mapping = client->Map(memory, {.iova = Iova{i * 0x1000}});
      ASSERT_THAT(mapping, IsOk());
      mappings.push_back(*std::move(mapping));
    }
    ASSERT_THAT(client->UnmapAll(), IsOk());
  }

  EXPECT_EQ(ServersFds(*client), before);
}

TEST_F(DescriptorsTest, AThousandConnectsLeaveNothingOpen) {
  const auto connect = [&] {
    // The server may not have seen yet that the one before is gone.
    absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
    while (absl::IsUnavailable(client.status())) {
      client = Client::Connect(server_->socket_path());
    }
    return client;
  };
  int before = 0;
  {
    const absl::StatusOr<Client> client = connect();
    ASSERT_THAT(client, IsOk());
    before = ServersFds(*client);
  }

  for (int i = 0; i < 1000; ++i) ASSERT_THAT(connect(), IsOk());

  const absl::StatusOr<Client> client = connect();
  ASSERT_THAT(client, IsOk());
  EXPECT_EQ(ServersFds(*client), before);
}

TEST_F(DescriptorsTest, TheWholeAddressSpaceTakesOneDescriptorAndGivesItBack) {
  const absl::StatusOr<Client> client = Client::Connect(server_->socket_path());
  ASSERT_THAT(client, IsOk());
  const int before = ServersFds(*client);
  {
    const absl::StatusOr<AddressSpaceMapping> all = client->MapAddressSpace();
    ASSERT_THAT(all, IsOk());
    EXPECT_EQ(ServersFds(*client), before + 1);
  }

  EXPECT_EQ(ServersFds(*client), before);
}

}  // namespace
}  // namespace vfio_user
