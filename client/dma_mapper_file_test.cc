// Memory that has a file.
#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "client/dma_mapper.h"
#include "client/dma_mapping.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Messages = std::vector<ScriptedPeer::Message>;

class DmaMapperFileTest : public testing::Test {
 protected:
  void SetUp() override {
    Start(absl::OkStatus());
    file_ = Memfd(std::string(8192, 'x'));
    shared_ = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
    ASSERT_NE(shared_, MAP_FAILED);
  }
  void TearDown() override {
    // A mapping that a failed test left must not wait for a server that does not answer.
    server_->Close();
    ::munmap(shared_, 8192);
  }

  void Start(const absl::Status& may_lend_memory) {
    absl::StatusOr<ScriptedSession> started = StartScriptedSession(kTwinGranted);
    ASSERT_THAT(started, IsOk());
    server_.emplace(std::move(started->server));
    twin_ = std::move(started->twin);
    mapper_ = DmaMapper::Create(std::move(started->session), may_lend_memory);
  }

  // The second page of the file.
  FileMemory Page() const {
    return {.fd = file_.get(),
            .offset = 4096,
            .memory = std::span(static_cast<std::byte*>(shared_) + 4096, 4096)};
  }

  UniqueFd file_;
  void* shared_ = MAP_FAILED;
  std::optional<ScriptedPeer> server_;
  std::optional<ScriptedPeer> twin_;
  std::shared_ptr<DmaMapper> mapper_;
};

TEST_F(DmaMapperFileTest, SendsTheFileAndNoModeBitForMmap) {
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->MapFile(Page(), {.iova = Iova{0x1000}});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->path(), DmaPath::kMmap);
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[0].body, ElementsAreArray(Hex("20000000 03000000 0010000000000000"
                                                        "0010000000000000 0010000000000000")));
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  EXPECT_TRUE(IsSameFile((*requests)[0].fds[0], file_));
}

TEST_F(DmaMapperFileTest, AutoGoesDownTheWholeLadderWithTheFilesOwnDescriptor) {
  ServedRequests served = AnswerAll(*server_, {ENODEV, EINVAL, 0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->MapFile(Page(), {.iova = Iova{0x1000}});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(mapping->path(), DmaPath::kMessage);
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  EXPECT_THAT((*requests)[1].body, ElementsAreArray(Hex("20000000 0b000000 0010000000000000"
                                                        "0010000000000000 0010000000000000")));
  ASSERT_EQ((*requests)[1].fds.size(), 1u);
  EXPECT_TRUE(IsSameFile((*requests)[1].fds[0], file_));
  EXPECT_THAT((*requests)[2].fds, IsEmpty());
}

TEST_F(DmaMapperFileTest, FileIoWithTheFilesOwnDescriptorNeedsNoTrust) {
  Start(absl::PermissionDeniedError("not that one"));
  ServedRequests served = AnswerAll(*server_, {0, 0});

  absl::StatusOr<DmaMapping> mapping = mapper_->MapFile(Page(), {.path = DmaPath::kFileIo});
  ASSERT_THAT(mapping, IsOk());
  EXPECT_THAT(mapping->Unmap(), IsOk());

  const absl::StatusOr<Messages> requests = served.get();
  ASSERT_THAT(requests, IsOk());
  ASSERT_EQ((*requests)[0].fds.size(), 1u);
  EXPECT_TRUE(IsSameFile((*requests)[0].fds[0], file_));
}

TEST_F(DmaMapperFileTest, RejectsFilesThatCannotHoldTheMemory) {
  FileMemory page = Page();
  page.fd = -1;
  EXPECT_THAT(mapper_->MapFile(page, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("descriptor -1 is not open")));

  page = Page();
  page.offset = 4097;
  EXPECT_THAT(mapper_->MapFile(page, {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("of 0x2000 bytes")));

  const UniqueFd read_only(
      ::open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only.valid());
  page = Page();
  page.fd = read_only.get();
  EXPECT_THAT(mapper_->MapFile(page, {}), StatusIs(absl::StatusCode::kInvalidArgument,
                                                   HasSubstr("not open for reading and writing")));

  const UniqueFd appending(::open(("/proc/self/fd/" + std::to_string(file_.get())).c_str(),
                                  O_RDWR | O_APPEND | O_CLOEXEC));
  ASSERT_TRUE(appending.valid());
  page.fd = appending.get();
  EXPECT_THAT(mapper_->MapFile(page, {.path = DmaPath::kFileIo}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("O_APPEND")));
}

TEST_F(DmaMapperFileTest, TakesMessagesWhereTheServerIsOutOfRoomForFilesAndAsksAgainLater) {
  // For mmap, file I/O and messages; then for file I/O; then the two are unmapped.
  ServedRequests served = AnswerAll(*server_, {ENOSPC, ENOSPC, 0, 0, 0, 0});
  std::vector<std::byte> other(10);
  {
    const auto page = mapper_->MapFile(Page(), {});
    ASSERT_THAT(page, IsOk());
    EXPECT_EQ(page->path(), DmaPath::kMessage);

    const auto buffer = mapper_->Map(std::span(other), {});
    ASSERT_THAT(buffer, IsOk());
    EXPECT_EQ(buffer->path(), DmaPath::kFileIo);
  }
  EXPECT_THAT(served.get(), IsOk());
}

}  // namespace
}  // namespace vfio_user
