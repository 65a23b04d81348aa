#include "server/dma/client_dma_space.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <future>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space_fixture.h"
#include "server/dma_space.h"
#include "tests/testing/far_memory.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::HasSubstr;

class ClientDmaSpaceTest : public ClientDmaSpaceFixture {};

TEST_F(ClientDmaSpaceTest, RejectsWhatIsNoRange) {
  EXPECT_EQ(ErrnoOf(Map(0x1000, 0)), EINVAL);
  EXPECT_EQ(ErrnoOf(Map(UINT64_MAX, 2)), EINVAL);

  EXPECT_THAT(Map(UINT64_MAX, 1), IsOk());
}

TEST_F(ClientDmaSpaceTest, RejectsAnOverlap) {
  ASSERT_THAT(Map(0x1000, 0x1000), IsOk());

  const absl::Status status = Map(0x1fff, 1);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("[0x1fff, +0x1)")));
  EXPECT_EQ(ErrnoOf(status), EEXIST);
  EXPECT_EQ(space_.mapping_count(), 1u);
}

TEST_F(ClientDmaSpaceTest, RejectsAMappingTooMany) {
  for (uint64_t i = 0; i < 4096; ++i) ASSERT_THAT(Map(i, 1), IsOk());

  EXPECT_EQ(ErrnoOf(Map(4096, 1)), ENOSPC);

  ASSERT_THAT(space_.Unmap(Iova{7}, 1, [] {}), IsOk());
  EXPECT_THAT(Map(4096, 1), IsOk());
}

TEST_F(ClientDmaSpaceTest, KeepsOneDescriptorForAllOfAProcess) {
  std::vector<char> memory(4096 * 3);
  const UniqueFd mem = OpenSelfMem();
  const int before = OpenFdCount();

  for (size_t i = 0; i < 4096; ++i) {
    // As if received: each time a descriptor of its own for the one open file.
    ASSERT_THAT(MapFd({.flags = kReadWrite | DmaMapFlag::kFileIo,
                       .file_offset = reinterpret_cast<uintptr_t>(&memory[3 * i]),
                       .address = Iova{3 * i},
                       .size = 3},
                      UniqueFd(::fcntl(mem.get(), F_DUPFD_CLOEXEC, 0))),
                IsOk());
  }

  EXPECT_EQ(space_.mapping_count(), 4096u);
  EXPECT_EQ(OpenFdCount(), before + 1);
  memory[3 * 4000 + 1] = 'x';
  std::string into(5, ' ');
  ASSERT_THAT(space_.Read(Iova{3 * 4000 - 1}, WritableBytes(into)), IsOk());
  EXPECT_EQ(into, std::string("\0\0x\0\0", 5));
  space_.UnmapAll([] {});
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(ClientDmaSpaceTest, MovesBytesByFileIo) {
  std::string memory = "0123456789";
  ASSERT_THAT(MapFileIo(0x1005, memory), IsOk());
  std::string into(4, ' ');

  ASSERT_THAT(space_.Read(Iova{0x1007}, WritableBytes(into)), IsOk());
  ASSERT_THAT(space_.Write(Iova{0x100d}, Bytes(std::string("ab")), DmaAccessPath::kDirect), IsOk());

  EXPECT_EQ(into, "2345");
  EXPECT_EQ(memory, "01234567ab");
}

TEST_F(ClientDmaSpaceTest, MovesBytesByMapping) {
  const UniqueFd file = Memfd("0123456789");
  ASSERT_THAT(MapFd({.flags = kReadWrite | DmaMapFlag::kMmap,
                     .file_offset = 2,
                     .address = Iova{0x1005},
                     .size = 8},
                    UniqueFd(::dup(file.get()))),
              IsOk());
  std::string into(4, ' ');

  ASSERT_THAT(space_.Read(Iova{0x1006}, WritableBytes(into), DmaAccessPath::kDirect), IsOk());
  ASSERT_THAT(space_.Write(Iova{0x1005}, Bytes(std::string("ab"))), IsOk());

  EXPECT_EQ(into, "3456");
  EXPECT_EQ(ContentOf(file), "01ab456789");
}

// A short piece of it is moved while the table is locked; everything holds as for others.
TEST_F(ClientDmaSpaceTest, HoldsShortTransfersOfSealedMemoryToTheRules) {
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::write(file.get(), "0123456789", 10), 10);
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  const auto map = [&](uint64_t address, DmaMapFlags access) {
    return MapFd({.flags = access | DmaMapFlag::kMmap, .address = Iova{address}, .size = 10},
                 UniqueFd(::dup(file.get())));
  };
  ASSERT_THAT(map(0x1000, kReadWrite), IsOk());
  ASSERT_THAT(map(0x2000, DmaMapFlag::kRead), IsOk());
  ASSERT_THAT(map(0x3000, DmaMapFlag::kWrite), IsOk());
  std::string two(2, ' ');

  EXPECT_THAT(space_.Read(Iova{0x1008}, WritableBytes(two)), IsOk());
  EXPECT_EQ(two, "89");
  EXPECT_EQ(ErrnoOf(space_.Read(Iova{0x1009}, WritableBytes(two))), EFAULT);
  EXPECT_EQ(ErrnoOf(space_.Read(Iova{0x0fff}, WritableBytes(two))), EFAULT);
  EXPECT_EQ(ErrnoOf(space_.Read(Iova{0x3000}, WritableBytes(two))), EACCES);
  EXPECT_EQ(ErrnoOf(space_.Write(Iova{0x1009}, Bytes(two))), EFAULT);
  EXPECT_EQ(ErrnoOf(space_.Write(Iova{0x2000}, Bytes(two))), EACCES);
  EXPECT_EQ(ContentOf(file), "0123456789");

  EXPECT_THAT(space_.Write(Iova{0x3004}, Bytes(std::string("ab"))), IsOk());
  EXPECT_EQ(ContentOf(file), "0123ab6789");
  ASSERT_THAT(space_.write_log().Start({.page_size = 4096, .ranges = {}}), IsOk());
  EXPECT_THAT(space_.Write(Iova{0x1000}, Bytes(two)), IsOk());
  DmaLoggingReport report{.address = Iova{0x1000}, .length = 0x3000, .page_size = 4096};
  ASSERT_THAT(space_.write_log().Report(report), IsOk());
  EXPECT_EQ(report.bitmap[0], 1);

  ASSERT_THAT(space_.Unmap(Iova{0x1000}, 10, [] {}), IsOk());
  EXPECT_EQ(ErrnoOf(space_.Read(Iova{0x1000}, WritableBytes(two))), EFAULT);
}

TEST_F(ClientDmaSpaceTest, MovesBytesByMessageWhereAskedThoughThereIsADescriptor) {
  std::string memory = "not this";
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  std::string into(4, ' ');
  auto read = std::async(std::launch::async, [&] {
    return space_.Read(Iova{0x1000}, WritableBytes(into), DmaAccessPath::kMessage);
  });

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  const std::vector<uint8_t> reply = {0, 0x10, 0, 0, 0, 0, 0,   0,   4,   0,
                                      0, 0,    0, 0, 0, 0, 't', 'h', 'a', 't'};
  ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into, "that");
}

TEST_F(ClientDmaSpaceTest, CrossesFromOneMappingIntoTheNextWhateverTheirPaths) {
  std::string memory = "abcd";
  ASSERT_THAT(MapFileIo(0x0ffc, memory), IsOk());
  ASSERT_THAT(Map(0x1000, 2), IsOk());
  const UniqueFd file = Memfd("wxyz");
  ASSERT_THAT(
      MapFd({.flags = kReadWrite, .address = Iova{0x1002}, .size = 4}, UniqueFd(::dup(file.get()))),
      IsOk());
  std::string into(8, ' ');
  auto read = std::async(std::launch::async,
                         [&] { return space_.Read(Iova{0x0ffd}, WritableBytes(into)); });

  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  const std::vector<uint8_t> reply = {0, 0x10, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, '-', '+'};
  ASSERT_THAT(client_->Reply(request->header, reply), IsOk());

  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(into, "bcd-+wxy");
}

TEST_F(ClientDmaSpaceTest, ChecksAllPiecesBeforeAnyByteMoves) {
  std::string memory = "0123456789";
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  const std::string word = "word";

  for (const uint64_t second : {uint64_t{0x0fff}, uint64_t{0x1007}, UINT64_MAX - 1}) {
    const std::array<DmaWritePiece, 2> pieces = {
        {{Iova{0x1000}, Bytes(word)}, {Iova{second}, Bytes(word)}}};
    const absl::Status status = space_.Write(pieces, DmaAccessPath::kAuto);

    EXPECT_THAT(status, StatusIs(absl::StatusCode::kOutOfRange)) << second;
    EXPECT_EQ(ErrnoOf(status), EFAULT);
  }
  EXPECT_EQ(memory, "0123456789");
}

TEST_F(ClientDmaSpaceTest, MovesManyPiecesInOneCall) {
  std::string memory = "0123456789";
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  std::string into(10, ' ');
  std::vector<DmaReadPiece> pieces;
  for (uint64_t i = 0; i < 10; ++i) {
    pieces.push_back({Iova{0x1009 - i}, WritableBytes(std::span(into).subspan(i, 1))});
    pieces.push_back({Iova{0xdead}, {}});
  }

  EXPECT_THAT(space_.Read(pieces, DmaAccessPath::kAuto), IsOk());

  EXPECT_EQ(into, "9876543210");
}

TEST_F(ClientDmaSpaceTest, HoldsTransfersToTheDirectionOfAMapping) {
  std::string memory = "abc";
  ASSERT_THAT(MapFileIo(0x1000, memory, DmaMapFlag::kRead), IsOk());
  ASSERT_THAT(MapFileIo(0x2000, memory, DmaMapFlag::kWrite), IsOk());
  ASSERT_THAT(MapFileIo(0x3000, memory, {}), IsOk());
  ASSERT_THAT(Map(0x4000, 3, DmaMapFlag::kRead), IsOk());
  std::string buffer(3, ' ');
  const auto read = [&](uint64_t at) { return space_.Read(Iova{at}, WritableBytes(buffer)); };
  const auto write = [&](uint64_t at) { return space_.Write(Iova{at}, Bytes(buffer)); };

  EXPECT_THAT(read(0x1000), IsOk());
  EXPECT_EQ(ErrnoOf(write(0x1000)), EACCES);
  EXPECT_THAT(write(0x2000), IsOk());
  EXPECT_THAT(read(0x2000), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_EQ(ErrnoOf(read(0x3000)), EACCES);
  EXPECT_EQ(ErrnoOf(write(0x3000)), EACCES);
  EXPECT_EQ(ErrnoOf(write(0x4000)), EACCES);
}

TEST_F(ClientDmaSpaceTest, DoesNotSendMessagesWhereDirectAccessWasAskedFor) {
  ASSERT_THAT(Map(0x1000, 4), IsOk());
  std::string into(4, ' ');

  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into), DmaAccessPath::kDirect),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("0x1000")));
}

TEST_F(ClientDmaSpaceTest, IsAbortedByFreedMemory) {
  constexpr size_t kBytes = 4096;
  const std::span<std::byte> page = MapFarMemory(kBytes);
  ASSERT_FALSE(page.empty());
  ASSERT_THAT(MapFileIo(0x1000, {reinterpret_cast<char*>(page.data()), kBytes}), IsOk());
  ASSERT_EQ(::munmap(page.data(), kBytes), 0);
  std::array<std::byte, 8> buffer;

  const absl::Status status = space_.Read(Iova{0x1010}, buffer);

  EXPECT_THAT(status, StatusIs(absl::StatusCode::kAborted, HasSubstr("8 bytes at 0x1010")));
  EXPECT_EQ(ErrnoOf(status), EIO);
}

TEST_F(ClientDmaSpaceTest, IsAbortedByATruncatedFile) {
  const UniqueFd file = Memfd(std::string(8192, 'x'));
  ASSERT_THAT(MapFd({.flags = kReadWrite, .address = Iova{0x1000}, .size = 8192},
                    UniqueFd(::dup(file.get()))),
              IsOk());
  ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  std::string buffer(8, ' ');

  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(buffer)),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(space_.Write(Iova{0x1000}, Bytes(buffer)), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(ClientDmaSpaceTest, UnmapsOnlyWhatMatchesExactly) {
  ASSERT_THAT(Map(0x1000, 0x1000), IsOk());
  int released = 0;
  const auto count = [&] { ++released; };

  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1000}, 0xfff, count)), ENOENT);
  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1001}, 0xfff, count)), ENOENT);
  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1000}, 0, count)), ENOENT);
  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1000}, UINT64_MAX, count)), ENOENT);
  EXPECT_EQ(released, 0);

  EXPECT_THAT(space_.Unmap(Iova{0x1000}, 0x1000, count), IsOk());
  EXPECT_EQ(released, 1);
  EXPECT_EQ(ErrnoOf(space_.Unmap(Iova{0x1000}, 0x1000, count)), ENOENT);
  EXPECT_EQ(released, 1);
}

TEST_F(ClientDmaSpaceTest, UnmapsAllAndSaysSoOnce) {
  int released = 0;
  space_.UnmapAll([&] { ++released; });
  EXPECT_EQ(released, 1);
  for (uint64_t i = 0; i < 3; ++i) ASSERT_THAT(Map(i, 1), IsOk());

  space_.UnmapAll([&] { ++released; });

  EXPECT_EQ(released, 2);
  EXPECT_EQ(space_.mapping_count(), 0u);
}

TEST_F(ClientDmaSpaceTest, HasLetGoOfTheDescriptorWhenItSaysSo) {
  std::string memory = "abc";
  const int before = OpenFdCount();
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  int open_at_release = -1;

  ASSERT_THAT(space_.Unmap(Iova{0x1000}, 3, [&] { open_at_release = OpenFdCount(); }), IsOk());

  EXPECT_EQ(open_at_release, before);
}

TEST_F(ClientDmaSpaceTest, RefusesTransfersAndMappingsWithoutAClient) {
  space_.Disconnect();
  space_.Disconnect();
  std::string into(4, ' ');

  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into)),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(Map(0x1000, 4), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ClientDmaSpaceTest, StartsEmptyForTheNextClient) {
  std::string memory = "abcd";
  const int before = OpenFdCount();
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());

  space_.Disconnect();
  EXPECT_EQ(space_.mapping_count(), 0u);
  EXPECT_EQ(OpenFdCount(), before);
  EXPECT_THAT(client_->ReceiveEof(), IsOk());

  Connect();
  std::string into(4, ' ');
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into)),
              StatusIs(absl::StatusCode::kOutOfRange));
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into)), IsOk());
  EXPECT_EQ(into, "abcd");
}

TEST_F(ClientDmaSpaceTest, CancelsTransfersUntilTheyAreResumed) {
  std::string memory = "abcd";
  ASSERT_THAT(MapFileIo(0x1000, memory), IsOk());
  std::string into(4, ' ');

  space_.CancelTransfers();
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into)),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(into, "    ");

  space_.ResumeTransfers();
  EXPECT_THAT(space_.Read(Iova{0x1000}, WritableBytes(into)), IsOk());
}

}  // namespace
}  // namespace vfio_user
