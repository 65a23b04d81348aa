#include "client/dma_mapper.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/dma/dma_table.h"
#include "client/dma_mapping.h"
#include "client/session/scripted_server.h"
#include "client/session/session.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Messages = std::vector<ScriptedPeer::Message>;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

DmaMapFlags FlagsOf(const ScriptedPeer::Message& message) {
  const absl::StatusOr<DmaMapRequest> request = DmaMapRequest::Parse(message.body);
  return request.ok() ? request->flags : DmaMapFlags();
}

// Whether `fd` names the memory of this process.
bool IsSelfMemory(const UniqueFd& fd) {
  struct stat one = {};
  struct stat other = {};
  return ::fstat(fd.get(), &one) == 0 && ::stat("/proc/self/mem", &other) == 0 &&
         one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

class DmaMapperTest : public testing::Test {
 protected:
  void SetUp() override { Start(kTwinGranted, absl::OkStatus()); }
  // A mapping that a failed test left must not wait for a server that does not answer.
  void TearDown() override { server_->Close(); }

  void Start(const std::string& version_json, const absl::Status& may_lend_memory) {
    absl::StatusOr<ScriptedSession> started = StartScriptedSession(version_json);
    ASSERT_THAT(started, IsOk());
    server_.emplace(std::move(started->server));
    twin_ = std::move(started->twin);
    session_ = std::move(started->session);
    mapper_ = DmaMapper::Create(session_, may_lend_memory);
  }

  uint64_t BufferAddress() const { return std::bit_cast<uint64_t>(buffer_.data()); }
  std::span<std::byte> Buffer() { return buffer_; }
  std::span<const std::byte> ConstBuffer() const { return buffer_; }

  std::array<std::byte, 5000> buffer_ = {};
  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::shared_ptr<Session> session_;
  std::shared_ptr<DmaMapper> mapper_;
};

TEST_F(DmaMapperTest, LendsMemoryByFileIoAtItsOwnAddress) {
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->path(), DmaPath::kFileIo);
  EXPECT_EQ(ToU64(mapping->iova()), BufferAddress());
  EXPECT_EQ(mapping->size(), 5000u);
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  const absl::StatusOr<DmaMapRequest> map = DmaMapRequest::Parse((*requests)[0].body);
  ASSERT_THAT(map, IsOk());
  EXPECT_EQ(map->flags.ToWire(), 0b1011u);  // read|write|file-io
  EXPECT_EQ(map->file_offset, BufferAddress());
  EXPECT_EQ(ToU64(map->address), BufferAddress());
  EXPECT_EQ(map->size, 5000u);
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  const UniqueFd& fd = (*requests)[0].fds[0];
  EXPECT_TRUE(IsSelfMemory(fd));
  EXPECT_EQ(::fcntl(fd.get(), F_GETFL) & O_ACCMODE, O_RDWR);
  EXPECT_EQ((*requests)[1].header.command, Command::kDmaUnmap);
}

TEST_F(DmaMapperTest, LendsConstMemoryWithADescriptorThatCannotWrite) {
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->Map(ConstBuffer(), {});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_EQ(FlagsOf((*requests)[0]).ToWire(), 0b1001u);  // read|file-io
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  const UniqueFd& fd = (*requests)[0].fds[0];
  EXPECT_TRUE(IsSelfMemory(fd));
  EXPECT_EQ(::fcntl(fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(::pwrite(fd.get(), "x", 1, static_cast<off_t>(BufferAddress())), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(DmaMapperTest, KeepsOneDescriptorForAllMappings) {
  ServedRequests served = AnswerAll(*server_, std::vector<uint32_t>(20, 0));
  const int before = OpenFdCount();
  std::vector<DmaMapping> mappings;

  for (uint64_t i = 0; i < 10; ++i) {
    absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {.iova = Iova{i * 0x10000}});
    ASSERT_THAT(mapping, IsOk());
    mappings.push_back(*std::move(mapping));
  }
  mappings.clear();

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  // One here, and those that the test's server keeps in the requests.
  EXPECT_EQ(OpenFdCount(), before + 1 + 10);
}

TEST_F(DmaMapperTest, AutoFallsBackToMessageAndRemembers) {
  ServedRequests served = AnswerAll(*server_, {EINVAL, 0, 0, 0, 0});

  absl::StatusOr<DmaMapping> first = mapper_->Map(Buffer(), {});
  ASSERT_THAT(first, IsOk());
  absl::StatusOr<DmaMapping> second = mapper_->Map(Buffer(), {.iova = Iova{0x1000}});
  ASSERT_THAT(second, IsOk());
  EXPECT_EQ(first->path(), DmaPath::kMessage);
  EXPECT_EQ(second->path(), DmaPath::kMessage);
  EXPECT_THAT(first->Unmap(), IsOk());
  EXPECT_THAT(second->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_EQ(FlagsOf((*requests)[0]), kReadWrite | DmaMapFlag::kFileIo);
  EXPECT_EQ(FlagsOf((*requests)[1]), kReadWrite);
  EXPECT_THAT((*requests)[1].fds, IsEmpty());
  EXPECT_EQ(FlagsOf((*requests)[2]), kReadWrite);
}

TEST_F(DmaMapperTest, AutoDoesNotRememberWhatWasNotThePath) {
  // EINVAL to both: the mapping was wrong, file I/O may be fine.
  ServedRequests served = AnswerAll(*server_, {EINVAL, EINVAL, 0, 0});

  const absl::Status refused = mapper_->Map(Buffer(), {}).status();
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->path(), DmaPath::kFileIo);
  EXPECT_THAT(mapping->Unmap(), IsOk());

  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("+0x1388)")));
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapperTest, AutoDoesNotFallBackFromWhatIsNotAboutThePath) {
  ServedRequests served = AnswerAll(*server_, {EEXIST});

  const absl::Status status = mapper_->Map(Buffer(), {}).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(ErrnoOf(status), EEXIST);
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapperTest, AnInsistingCallerIsToldThatThePathIsNotKnown) {
  ServedRequests served = AnswerAll(*server_, {EINVAL});

  const absl::Status status = mapper_->Map(Buffer(), {.path = DmaPath::kFileIo}).status();

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnimplemented, HasSubstr("DmaPath::kAuto")));
  EXPECT_EQ(ErrnoOf(status), EINVAL);
  EXPECT_THAT(served.get(), IsOk());
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapperTest, MessageSendsNoDescriptor) {
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping =
      mapper_->Map(Buffer(), {.path = DmaPath::kMessage, .iova = Iova{0x1000}});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[0].body, ElementsAreArray(Hex("20000000 03000000 0000000000000000"
                                                        "0010000000000000 8813000000000000")));
  EXPECT_THAT((*requests)[0].fds, IsEmpty());
}

TEST_F(DmaMapperTest, AutoGivesAnUntrustedServerNoDescriptor) {
  Start(kTwinGranted, absl::PermissionDeniedError("not that one"));
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->path(), DmaPath::kMessage);
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[0].fds, IsEmpty());
}

TEST_F(DmaMapperTest, FileIoToAnUntrustedServerIsDeniedUnsent) {
  Start(kTwinGranted, absl::PermissionDeniedError("not that one"));

  EXPECT_THAT(mapper_->Map(Buffer(), {.path = DmaPath::kFileIo}),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("not that one")));
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapperTest, MmapIsForMemoryThatHasAFile) {
  EXPECT_THAT(mapper_->Map(Buffer(), {.path = DmaPath::kMmap}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("MapFile")));
}

TEST_F(DmaMapperTest, RejectsEmptyWrappingAndTakenRangesUnsent) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {.iova = Iova{0x1000}});
  ASSERT_THAT(mapping, IsOk());

  EXPECT_THAT(mapper_->Map(Buffer().first(0), {}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(mapper_->Map(Buffer(), {.iova = Iova{UINT64_MAX}}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(mapper_->Map(Buffer(), {.iova = Iova{0x1fff}}),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("[0x1000, +0x1388)")));

  EXPECT_THAT(mapping->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapperTest, ChoosesAnAddressInAWindow) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0, 0});
  const MapOptions options = {.iova = IovaWindow{.first = Iova{0x10000}, .length = 0x10000}};

  absl::StatusOr<DmaMapping> one = mapper_->Map(Buffer(), options);
  absl::StatusOr<DmaMapping> other = mapper_->Map(Buffer(), options);
  ASSERT_THAT(one, IsOk());
  ASSERT_THAT(other, IsOk());

  EXPECT_EQ(one->iova(), Iova{0x10000});
  EXPECT_EQ(other->iova(), Iova{0x12000});
  EXPECT_THAT(one->Unmap(), IsOk());
  EXPECT_THAT(other->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapperTest, KeepsToTheLimitThatTheServerNamed) {
  Start(R"({"capabilities":{"max_dma_maps":1}})", absl::OkStatus());
  ServedRequests served = AnswerAll(*server_, {0, 0});
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());

  EXPECT_THAT(mapper_->Map(Buffer(), {.iova = Iova{0x1000}}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("takes 1 mappings")));

  EXPECT_THAT(mapping->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
}

TEST_F(DmaMapperTest, MemoryIsServedBeforeTheServerHasAnswered) {
  auto served = std::async(std::launch::async, [this] {
    const absl::StatusOr<ScriptedPeer::Message> map = server_->Receive();
    EXPECT_THAT(map, IsOk());
    EXPECT_THAT(
        twin_->Send({.command = Command::kDmaRead}, Hex("0010000000000000 0100000000000000")),
        IsOk());
    const absl::StatusOr<ScriptedPeer::Message> reply = twin_->Receive();
    EXPECT_THAT(reply, IsOk());
    EXPECT_FALSE(reply->header.error_flag);
    EXPECT_THAT(server_->Reply(map->header), IsOk());
    EXPECT_THAT(AnswerNext(*server_).get(), IsOk());
  });

  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {.iova = Iova{0x1000}});

  ASSERT_THAT(mapping, IsOk());
  EXPECT_THAT(mapping->Unmap(), IsOk());
  served.get();
}

TEST_F(DmaMapperTest, MemoryIsServedUntilTheServerHasLetGoAndNotAfter) {
  const std::vector<uint8_t> read = Hex("0010000000000000 0100000000000000");
  ServedRequest served = AnswerNext(*server_);
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {.iova = Iova{0x1000}});
  ASSERT_THAT(mapping, IsOk());
  ASSERT_THAT(served.get(), IsOk());
  auto unmapping = std::async(std::launch::async, [&] { return mapping->Unmap(); });
  const absl::StatusOr<ScriptedPeer::Message> unmap = server_->Receive();
  ASSERT_THAT(unmap, IsOk());

  ASSERT_THAT(twin_->Send({.command = Command::kDmaRead}, read), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> during = twin_->Receive();
  ASSERT_THAT(server_->Reply(unmap->header), IsOk());
  EXPECT_THAT(unmapping.get(), IsOk());
  ASSERT_THAT(twin_->Send({.command = Command::kDmaRead}, read), IsOk());
  const absl::StatusOr<ScriptedPeer::Message> after = twin_->Receive();

  ASSERT_THAT(during, IsOk());
  EXPECT_FALSE(during->header.error_flag);
  ASSERT_THAT(after, IsOk());
  EXPECT_EQ(after->header.error, static_cast<uint32_t>(EFAULT));
}

TEST_F(DmaMapperTest, ARefusedMappingLeavesNothingBehind) {
  ServedRequests served = AnswerAll(*server_, {ENOSPC, ENOSPC});

  EXPECT_THAT(mapper_->Map(Buffer(), {.iova = Iova{0x1000}}),
              StatusIs(absl::StatusCode::kResourceExhausted));

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapperTest, AnUnmapWhoseOutcomeIsNotKnownEndsConnectionAndMapping) {
  ServedRequests served = AnswerAll(*server_, {0, EBUSY});
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());

  EXPECT_FALSE(mapping->Unmap().ok());

  EXPECT_THAT(served.get(), IsOk());
  EXPECT_FALSE(session_->status().ok());
  EXPECT_EQ(session_->dma_table().size(), 0u);
  EXPECT_THAT(mapping->Unmap(), IsOk());  // Nothing is left to be done.
}

TEST_F(DmaMapperTest, AHandleUnmapsWhenItIsDestroyedAndWhenItIsAssigned) {
  ServedRequests served = AnswerAll(*server_, {0, 0, 0, 0});
  {
    absl::StatusOr<DmaMapping> one = mapper_->Map(Buffer(), {.iova = Iova{0x10000}});
    absl::StatusOr<DmaMapping> other = mapper_->Map(Buffer(), {.iova = Iova{0x20000}});
    ASSERT_THAT(one, IsOk());
    ASSERT_THAT(other, IsOk());
    *one = *std::move(other);
    EXPECT_EQ(one->iova(), Iova{0x20000});
    EXPECT_EQ(session_->dma_table().size(), 1u);
  }

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[2].body, ElementsAreArray(Hex("18000000 00000000"
                                                        "0000010000000000 8813000000000000")));
  EXPECT_THAT((*requests)[3].body, ElementsAreArray(Hex("18000000 00000000"
                                                        "0000020000000000 8813000000000000")));
  EXPECT_EQ(session_->dma_table().size(), 0u);
}

TEST_F(DmaMapperTest, AHandleKeepsTheConnectionAlive) {
  ServedRequests served = AnswerAll(*server_, {0, 0});
  absl::StatusOr<DmaMapping> mapping = mapper_->Map(Buffer(), {});
  ASSERT_THAT(mapping, IsOk());

  mapper_.reset();
  session_.reset();

  EXPECT_THAT(mapping->Unmap(), IsOk());
  EXPECT_THAT(served.get(), IsOk());
  EXPECT_THAT(server_->ReceiveEof(), IsOk());
}

}  // namespace
}  // namespace vfio_user
