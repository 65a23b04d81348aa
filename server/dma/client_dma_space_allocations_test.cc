// What transfers allocate: nothing.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/client_dma_space_fixture.h"
#include "server/dma_space.h"
#include "tests/testing/allocation_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr size_t kPieces = 64;
constexpr size_t kPieceBytes = 512;
constexpr uint64_t kMemory = 0x100000;
constexpr uint64_t kFile = 0x200000;

class ClientDmaSpaceAllocationsTest : public ClientDmaSpaceFixture,
                                      public testing::WithParamInterface<bool> {
 protected:
  ClientDmaSpaceAllocationsTest() : ClientDmaSpaceFixture({.process_vm = GetParam()}) {}

  // Memory of this process by file I/O, and a file that is mapped, each in as many mappings as
  // there are pieces.
  void SetUp() override {
    if (!CountsAllocations()) GTEST_SKIP() << "ThreadSanitizer has operator new to itself";
    Connect({.pid = ::getpid(), .uid = ::getuid(), .gid = ::getgid()});
    const UniqueFd file(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(::ftruncate(file.get(), static_cast<off_t>(memory_.size())), 0);
    ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
    const UniqueFd mem = OpenSelfMem();
    for (uint64_t i = 0; i < kPieces; ++i) {
      const uint64_t at = i * kPieceBytes;
      ASSERT_THAT(MapFd({.flags = kReadWrite | DmaMapFlag::kFileIo,
                         .file_offset = reinterpret_cast<uintptr_t>(&memory_[at]),
                         .address = Iova{kMemory + at},
                         .size = kPieceBytes},
                        UniqueFd(::fcntl(mem.get(), F_DUPFD_CLOEXEC, 0))),
                  IsOk());
      ASSERT_THAT(MapFd({.flags = kReadWrite,
                         .file_offset = at,
                         .address = Iova{kFile + at},
                         .size = kPieceBytes},
                        UniqueFd(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0))),
                  IsOk());
    }
  }

  // How many allocations it takes to read and write the pieces at `from`.
  int AllocationsOf(uint64_t from, size_t pieces) {
    std::vector<DmaReadPiece> reads;
    std::vector<DmaWritePiece> writes;
    for (size_t i = 0; i < pieces; ++i) {
      const std::span<std::byte> part = std::span(buffer_).subspan(i * kPieceBytes, kPieceBytes);
      reads.push_back({Iova{from + i * kPieceBytes}, part});
      writes.push_back({Iova{from + i * kPieceBytes}, part});
    }
    const int before = AllocationCount();
    EXPECT_TRUE(space_.Read(reads, DmaAccessPath::kAuto).ok());
    EXPECT_TRUE(space_.Write(writes, DmaAccessPath::kAuto).ok());
    return AllocationCount() - before;
  }

  std::vector<std::byte> memory_ = std::vector<std::byte>(kPieces * kPieceBytes);
  std::vector<std::byte> buffer_ = memory_;
};

INSTANTIATE_TEST_SUITE_P(OffAndOn, ClientDmaSpaceAllocationsTest, testing::Bool(),
                         [](const auto& on) { return std::string(on.param ? "On" : "Off"); });

TEST_P(ClientDmaSpaceAllocationsTest, AreNoneOfDirectTransfersInUpTo64Pieces) {
  for (const size_t pieces : {size_t{1}, size_t{2}, size_t{10}, kPieces}) {
    EXPECT_EQ(AllocationsOf(kMemory, pieces), 0) << pieces;
    EXPECT_EQ(AllocationsOf(kFile, pieces), 0) << pieces;
  }
}

}  // namespace
}  // namespace vfio_user
