#include "client/address_space.h"

#include <fcntl.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using Messages = std::vector<ScriptedPeer::Message>;

constexpr uint64_t kTiB = uint64_t{1} << 40;

class AddressSpaceTest : public testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<GreetedSocket> greeted = Greet(kTwinGranted);
    ASSERT_THAT(greeted, IsOk());
    server_.emplace(std::move(greeted->server));
    twin_.emplace(*std::move(greeted->twin));
    absl::StatusOr<Client> client = Client::Adopt(std::move(greeted->client));
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    ASSERT_THAT(server_->Receive(), IsOk());  // VERSION.
  }
  // A mapping that a failed test left must not wait for a server that does not answer.
  void TearDown() override { server_->Close(); }

  // The errno of a DMA_READ or DMA_WRITE of 8 bytes at `address`.
  uint32_t Access(Command command, uint64_t address) {
    std::vector<uint8_t> body;
    WireWriter out(body);
    out.Write<uint64_t>(address);
    out.Write<uint64_t>(8);
    if (command == Command::kDmaWrite) out.Write<uint64_t>(0x1122334455667788);
    EXPECT_THAT(twin_->Send({.command = command}, body), IsOk());
    const absl::StatusOr<ScriptedPeer::Message> reply = twin_->Receive();
    EXPECT_THAT(reply, IsOk());
    return reply.ok() ? reply->header.error : UINT32_MAX;
  }

  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::optional<Client> client_;
};

TEST_F(AddressSpaceTest, AsksForOneRegionWhereTheServerTakesIt) {
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<AddressSpaceMapping> all = client_->MapAddressSpace();
  ASSERT_THAT(all, IsOk());
  EXPECT_EQ(all->region_count(), 1u);
  EXPECT_THAT(all->Unmap(), IsOk());
  EXPECT_THAT(all->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  const absl::StatusOr<DmaMapRequest> map = DmaMapRequest::Parse((*requests)[0].body);
  ASSERT_THAT(map, IsOk());
  EXPECT_EQ(map->flags.ToWire(), 0b1011u);  // read|write|file-io
  EXPECT_EQ(map->file_offset, ToU64(map->address));
  EXPECT_EQ(map->address, all->range().first);
  EXPECT_EQ(map->size, all->range().length);
  // Where this test's own things are.
  const int local = 0;
  EXPECT_LT(std::bit_cast<uint64_t>(&local), ToU64(*LastByte(all->range())));
  EXPECT_GT(std::bit_cast<uint64_t>(&local), ToU64(*LastByte(all->range())) / 2);
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  EXPECT_EQ(::fcntl((*requests)[0].fds[0].get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

TEST_F(AddressSpaceTest, LearnsTheLargestRegionThatTheServerTakes) {
  constexpr uint64_t kMost = 8 * kTiB;
  std::vector<IovaRange> mapped;
  auto served = std::async(std::launch::async, [&] {
    uint64_t left = UINT64_MAX;
    while (left > 0) {
      const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      ASSERT_THAT(request, IsOk());
      const absl::StatusOr<DmaMapRequest> map = DmaMapRequest::Parse(request->body);
      ASSERT_THAT(map, IsOk());
      EXPECT_EQ(map->file_offset, ToU64(map->address));
      if (left == UINT64_MAX) left = map->size;
      if (map->size > kMost) {
        ASSERT_THAT(server_->ReplyError(request->header, ENOSPC), IsOk());
        continue;
      }
      ASSERT_THAT(server_->Reply(request->header), IsOk());
      mapped.push_back({map->address, map->size});
      left -= map->size;
    }
  });

  absl::StatusOr<AddressSpaceMapping> all = client_->MapAddressSpace();
  served.get();
  ASSERT_THAT(all, IsOk());

  EXPECT_EQ(all->region_count(), mapped.size());
  EXPECT_EQ(mapped.size(), (all->range().length + kMost - 1) / kMost);
  Iova next = all->range().first;
  for (const IovaRange& region : mapped) {
    EXPECT_EQ(region.first, next);
    next = Iova{ToU64(region.first) + region.length};
  }
  EXPECT_EQ(ToU64(next), ToU64(*LastByte(all->range())) + 1);
  ServedRequests unmapped = AnswerAll(*server_, std::vector<uint32_t>(mapped.size(), 0));
  EXPECT_THAT(all->Unmap(), IsOk());
  EXPECT_THAT(unmapped.get(), IsOk());
}

TEST_F(AddressSpaceTest, ReadOnlyGivesADescriptorThatCannotWrite) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  {
    const auto all = client_->MapAddressSpace(AddressSpaceAccess::kReadOnly);
    ASSERT_THAT(all, IsOk());
    uint64_t word = 5;
    EXPECT_EQ(Access(Command::kDmaWrite, std::bit_cast<uint64_t>(&word)), uint32_t{EACCES});
    EXPECT_EQ(word, 5u);
  }

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_EQ((*requests)[0].body[4], 0b1001);  // read|file-io
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  EXPECT_EQ(::fcntl((*requests)[0].fds[0].get(), F_GETFL) & O_ACCMODE, O_RDONLY);
}

TEST_F(AddressSpaceTest, MessagesAreServedAndFindWhatIsNotThere) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  absl::StatusOr<AddressSpaceMapping> all = client_->MapAddressSpace();
  ASSERT_THAT(all, IsOk());
  uint64_t word = 0;
  static const uint64_t kConstant = 5;

  EXPECT_EQ(Access(Command::kDmaRead, std::bit_cast<uint64_t>(&word)), 0u);
  EXPECT_EQ(Access(Command::kDmaWrite, std::bit_cast<uint64_t>(&word)), 0u);
  EXPECT_EQ(word, 0x1122334455667788u);
  EXPECT_EQ(Access(Command::kDmaRead, 0), uint32_t{EFAULT});
  EXPECT_EQ(Access(Command::kDmaRead, 0x1000), uint32_t{EFAULT});
  EXPECT_EQ(Access(Command::kDmaWrite, 0x1000), uint32_t{EFAULT});
  EXPECT_EQ(Access(Command::kDmaWrite, std::bit_cast<uint64_t>(&kConstant)), uint32_t{EFAULT});
  EXPECT_EQ(Access(Command::kDmaRead, ToU64(*LastByte(all->range())) - 7), uint32_t{EFAULT});
  EXPECT_EQ(Access(Command::kDmaRead, ToU64(*LastByte(all->range())) + 1), uint32_t{EFAULT});

  EXPECT_THAT(all->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(AddressSpaceTest, AndOtherMappingsExcludeEachOther) {
  std::array<std::byte, 64> buffer = {};
  ServedRequests served = AnswerAll(*server_, {0, 0, 0, 0, 0});
  {
    const auto mapping = client_->Map(buffer);
    ASSERT_THAT(mapping, IsOk());
    EXPECT_THAT(client_->MapAddressSpace(), StatusIs(absl::StatusCode::kAlreadyExists));
  }
  absl::StatusOr<AddressSpaceMapping> all = client_->MapAddressSpace();
  ASSERT_THAT(all, IsOk());
  EXPECT_THAT(client_->Map(buffer), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(client_->UnmapAll(), IsOk());
  EXPECT_THAT(all->Unmap(), IsOk());
  {
    const auto mapping = client_->Map(buffer);
    ASSERT_THAT(mapping, IsOk());
    server_->Shutdown();
  }
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(AddressSpaceTest, LeavesNothingBehindWhereTheServerHasNoRoomForAll) {
  // Two sizes are refused, one region is taken and the next is not, and the one is unmapped.
  ServedRequests served = AnswerAll(*server_, {ENOSPC, ENOSPC, 0, ENOSPC, 0});

  EXPECT_THAT(client_->MapAddressSpace(), StatusIs(absl::StatusCode::kResourceExhausted,
                                                   testing::HasSubstr("whole address space")));

  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(AddressSpaceTest, GivesUpOnAServerThatTakesNoSize) {
  auto served = std::async(std::launch::async, [&] {
    int refused = 0;
    while (true) {
      const absl::StatusOr<ScriptedPeer::Message> request = server_->Receive();
      if (!request.ok() || !server_->ReplyError(request->header, EINVAL).ok()) return refused;
      ++refused;
    }
  });

  EXPECT_THAT(client_->MapAddressSpace(), StatusIs(absl::StatusCode::kUnimplemented));

  server_->Shutdown();
  EXPECT_LT(served.get(), 20);
}

}  // namespace
}  // namespace vfio_user
