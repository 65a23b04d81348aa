#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/dma/dma_table.h"
#include "client/dma_mapper.h"
#include "client/dma_mapping.h"
#include "client/session/scripted_server.h"
#include "client/session/session.h"
#include "client/session/session_fixture.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using ::testing::UnorderedElementsAreArray;

using Messages = std::vector<ScriptedPeer::Message>;

constexpr size_t kBufferBytes = 100;
constexpr size_t kMostBuffers = 300;

// Buffers, each at its own address, with the addresses of the requests as their numbers.
class DmaMapManyTest : public SessionFixture {
 protected:
  void SetUp() override { StartMapper(kTwinGranted); }

  void StartMapper(const std::string& version_json, const SessionOptions& options = {}) {
    Start(version_json, options);
    mapper_ = DmaMapper::Create(session_, absl::OkStatus());
  }

  std::vector<std::span<std::byte>> Buffers(size_t count = 4) {
    std::vector<std::span<std::byte>> buffers;
    for (size_t i = 0; i < count; ++i) {
      buffers.push_back(std::span(memory_).subspan(i * kBufferBytes, kBufferBytes));
    }
    return buffers;
  }
  // Which buffers the requests of one kind are about.
  std::vector<int> BuffersOf(const Messages& requests, Command command) const {
    const uint64_t base = std::bit_cast<uintptr_t>(memory_.data());
    std::vector<int> buffers;
    for (const ScriptedPeer::Message& request : requests) {
      if (request.header.command != command) continue;
      const Iova at = command == Command::kDmaMap ? DmaMapRequest::Parse(request.body)->address
                                                  : DmaUnmapRequest::Parse(request.body)->address;
      buffers.push_back(static_cast<int>((ToU64(at) - base) / kBufferBytes));
    }
    return buffers;
  }

  std::array<std::byte, kMostBuffers* kBufferBytes> memory_ = {};
  std::shared_ptr<DmaMapper> mapper_;
};

TEST_F(DmaMapManyTest, MapsAllInTheirOrderByThePathOfTheFirst) {
  ServedRequests served = AnswerAll(*server_, {EINVAL, 0, 0, 0, 0, 0, 0, 0, 0});
  {
    const auto mappings = mapper_->MapMany(Buffers(), {});
    ASSERT_THAT(mappings, IsOk());
    ASSERT_EQ(mappings->size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(ToU64((*mappings)[i].iova()), std::bit_cast<uintptr_t>(Buffers()[i].data()));
      EXPECT_EQ((*mappings)[i].size(), kBufferBytes);
      EXPECT_EQ((*mappings)[i].path(), DmaPath::kMessage);
    }
  }

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  // Only the first asks for file I/O.
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaMap), ElementsAre(0, 0, 1, 2, 3));
  EXPECT_EQ(requests->at(0).fds.size(), 1u);
  EXPECT_EQ(requests->at(2).fds.size(), 0u);
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, GivesEachADescriptorForFileIo) {
  ServedRequests served = AnswerAll(*server_, std::vector<uint32_t>(8, 0));
  {
    const auto mappings = mapper_->MapMany(Buffers(), {});
    ASSERT_THAT(mappings, IsOk());
    EXPECT_EQ(mappings->back().path(), DmaPath::kFileIo);
  }

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(requests->at(i).fds.size(), 1u) << i;
}

TEST_F(DmaMapManyTest, UnmapsThoseThatWereMadeWhenOneIsRefused) {
  // Number 2, also when it is asked for by itself; number 3 was under way with it.
  ServedRequests served = AnswerAll(*server_, {0, 0, EEXIST, 0, EEXIST, 0, 0, 0});

  const absl::Status refused = mapper_->MapMany(Buffers(), {}).status();

  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kAlreadyExists));
  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaMap), ElementsAre(0, 1, 2, 3, 2));
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaUnmap), UnorderedElementsAre(0, 1, 3));
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, TakesAnotherPathForOneThatTheServerHasNoRoomFor) {
  ServedRequests served = AnswerAll(*server_, {0, ENOSPC, 0, 0, ENOSPC, 0, 0, 0, 0, 0});
  {
    const auto mappings = mapper_->MapMany(Buffers(), {});
    ASSERT_THAT(mappings, IsOk());
    std::vector<DmaPath> paths;
    for (const DmaMapping& mapping : *mappings) paths.push_back(mapping.path());
    EXPECT_THAT(paths, ElementsAre(DmaPath::kFileIo, DmaPath::kMessage, DmaPath::kFileIo,
                                   DmaPath::kFileIo));
  }
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapManyTest, AsksForOneAfterTheOtherWithoutATwin) {
  StartMapper(kNoTwin);
  ServedRequests served = AnswerAll(*server_, {0, 0, EEXIST, EEXIST, 0, 0});

  EXPECT_THAT(mapper_->MapMany(Buffers(), {}).status(), StatusIs(absl::StatusCode::kAlreadyExists));

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaMap), ElementsAre(0, 1, 2, 2));
}

TEST_F(DmaMapManyTest, MapsEachOnceWhenEverySecondIsRefusedAtFirst) {
  std::vector<int> mapped;
  std::vector<int> unmapped;
  auto served = std::async(std::launch::async, [&] {
    std::set<int> asked;
    while (true) {
      Messages request(1);
      absl::StatusOr<ScriptedPeer::Message> received = server_->Receive();
      if (!received.ok()) return;
      request[0] = *std::move(received);
      const MessageHeader header = request[0].header;
      const int buffer = BuffersOf(request, header.command).at(0);
      const bool refuse = asked.insert(buffer).second && buffer % 2 == 1;
      if (!refuse) (header.command == Command::kDmaMap ? mapped : unmapped).push_back(buffer);
      EXPECT_THAT(refuse ? server_->ReplyError(header, ENOSPC) : server_->Reply(header), IsOk());
    }
  });
  {
    const auto mappings = mapper_->MapMany(Buffers(kMostBuffers), {});
    ASSERT_THAT(mappings, IsOk());
    EXPECT_EQ(mappings->size(), kMostBuffers);
  }
  server_->Shutdown();
  served.get();

  std::vector<int> all(kMostBuffers);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_THAT(mapped, UnorderedElementsAreArray(all));
  EXPECT_THAT(unmapped, UnorderedElementsAreArray(all));
}

TEST_F(DmaMapManyTest, TakesAnswersInAnyOrderForTheirOwnBuffers) {
  // The one that is refused is answered between the others, and again when it asks by itself.
  auto served = std::async(std::launch::async, [this]() -> absl::StatusOr<Messages> {
    Messages requests;
    VFIO_USER_ASSIGN_OR_RETURN(const ScriptedPeer::Message first, server_->Receive());
    VFIO_USER_RETURN_IF_ERROR(server_->Reply(first.header));
    for (int i = 0; i < 3; ++i) {
      VFIO_USER_ASSIGN_OR_RETURN(requests.emplace_back(), server_->Receive());
    }
    VFIO_USER_RETURN_IF_ERROR(server_->Reply(requests[2].header));
    VFIO_USER_RETURN_IF_ERROR(server_->ReplyError(requests[0].header, EEXIST));
    VFIO_USER_RETURN_IF_ERROR(server_->Reply(requests[1].header));
    VFIO_USER_ASSIGN_OR_RETURN(requests.emplace_back(), server_->Receive());
    VFIO_USER_RETURN_IF_ERROR(server_->ReplyError(requests.back().header, EEXIST));
    for (int i = 0; i < 3; ++i) {
      VFIO_USER_ASSIGN_OR_RETURN(requests.emplace_back(), server_->Receive());
      VFIO_USER_RETURN_IF_ERROR(server_->Reply(requests.back().header));
    }
    return requests;
  });

  EXPECT_THAT(mapper_->MapMany(Buffers(), {}).status(), StatusIs(absl::StatusCode::kAlreadyExists));

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaMap), ElementsAre(1, 2, 3, 1));
  EXPECT_THAT(BuffersOf(*requests, Command::kDmaUnmap), UnorderedElementsAre(0, 2, 3));
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, EndsTheConnectionWhenAnAnswerIsLate) {
  StartMapper(kTwinGranted, {.reply_timeout = absl::Milliseconds(200)});
  ServedRequest served = AnswerNext(*server_);

  // What became of the others nobody knows, so the memory may be given back only with the server's
  // connection gone.
  EXPECT_THAT(mapper_->MapMany(Buffers(), {}).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("DMA_MAP")));

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(session_->status(), StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, LeavesNothingWhenTheServerDies) {
  ServedRequest served = AnswerNext(*server_);
  auto dying = std::async(std::launch::async, [&] {
    EXPECT_THAT(served.get(), IsOk());
    EXPECT_THAT(server_->Receive(), IsOk());
    server_->Shutdown();
  });

  EXPECT_THAT(mapper_->MapMany(Buffers(), {}).status(), StatusIs(absl::StatusCode::kUnavailable));

  dying.get();
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, AsksForNothingWhenBuffersOverlapOrOneAddressIsForAll) {
  std::vector<std::span<std::byte>> buffers = Buffers();
  buffers.push_back(buffers.front());

  EXPECT_THAT(mapper_->MapMany(buffers, {}).status(), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(mapper_->MapMany(Buffers(), {.iova = Iova{0x1000}}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("for 4 buffers")));
  EXPECT_THAT(mapper_->MapMany({}, {}), IsOk());

  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapManyTest, PlacesAllInAWindow) {
  ServedRequests served = AnswerAll(*server_, std::vector<uint32_t>(8, 0));
  {
    const auto mappings =
        mapper_->MapMany(Buffers(), {.iova = IovaWindow{.first = Iova{0x4000}, .length = 0x4000}});
    ASSERT_THAT(mappings, IsOk());
    std::vector<uint64_t> addresses;
    for (const DmaMapping& mapping : *mappings) addresses.push_back(ToU64(mapping.iova()));
    EXPECT_THAT(addresses, ElementsAre(0x4000, 0x5000, 0x6000, 0x7000));
  }
  EXPECT_THAT(served.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
