// Long and scattered transfers to another process's memory by file I/O, with process_vm_readv() and
// without: nobody who is not counting system calls can tell.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "server/dma/client_dma_space_fixture.h"
#include "server/dma/process_memory.h"
#include "server/dma_space.h"
#include "tests/testing/memory_lender.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using testing::Each;
using testing::HasSubstr;

constexpr size_t kPage = 4096;
constexpr size_t kLentBytes = 10 << 20;  // More than is moved at once.
constexpr uint64_t kBase = 0x1000003;

// The client's too, at the same address.
alignas(kPage) std::array<std::byte, kLentBytes> lent = {};

// What it holds at first: no piece of it is anywhere else.
std::span<const std::byte> Pattern() {
  static const std::vector<uint64_t> words = [] {
    std::vector<uint64_t> out(kLentBytes / sizeof(uint64_t));
    std::iota(out.begin(), out.end(), 1);
    return out;
  }();
  return std::as_bytes(std::span(words));
}

// By memcmp(), because these are many.
bool Same(std::span<const std::byte> one, std::span<const std::byte> other) {
  return one.size() == other.size() && std::memcmp(one.data(), other.data(), one.size()) == 0;
}

void FillLent() { std::memcpy(lent.data(), Pattern().data(), lent.size()); }

class ClientDmaSpaceProcessVmTest : public ClientDmaSpaceFixture,
                                    public testing::WithParamInterface<bool> {
 protected:
  ClientDmaSpaceProcessVmTest()
      : ClientDmaSpaceFixture({.max_maps = 4096, .process_vm = GetParam()}) {}

  void SetUp() override {
    (void)Pattern();  // Made in this process, and not in each of a client's.
    Lend(FillLent);
  }

  // Connects a client whose memory is as `prepare` leaves it, mapped at kBase.
  void Lend(const std::function<void()>& prepare) {
    if (lender_ != nullptr) space_.Disconnect();
    lender_ = std::make_unique<MemoryLender>(prepare);
    Connect(lender_->credentials());
    ASSERT_THAT(MapLent(kReadWrite), IsOk());
  }
  absl::Status MapLent(DmaMapFlags access, uint64_t address = kBase) {
    return MapFd({.flags = access | DmaMapFlag::kFileIo,
                  .file_offset = reinterpret_cast<uintptr_t>(lent.data()),
                  .address = Iova{address},
                  .size = lent.size()},
                 UniqueFd(::fcntl(lender_->mem().get(), F_DUPFD_CLOEXEC, 0)));
  }

  static Iova At(size_t offset) { return Iova{kBase + offset}; }

  // What the client has at `offset`.
  std::vector<std::byte> Lent(size_t offset, size_t bytes) const {
    std::vector<std::byte> out(bytes);
    const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(lent.data()) + offset);
    EXPECT_EQ(::pread(lender_->mem().get(), out.data(), bytes, at), static_cast<ssize_t>(bytes));
    return out;
  }

  std::unique_ptr<MemoryLender> lender_;
};

INSTANTIATE_TEST_SUITE_P(OffAndOn, ClientDmaSpaceProcessVmTest, testing::Bool(),
                         [](const auto& on) { return std::string(on.param ? "On" : "Off"); });

// Of a transfer in `count` pieces: where each lies, next to no other, in no order.
struct Layout {
  Layout(size_t count, size_t most_bytes) {
    std::mt19937 random(1);
    std::vector<size_t> slots(count);
    std::iota(slots.begin(), slots.end(), 0);
    std::shuffle(slots.begin(), slots.end(), random);
    const size_t slot_bytes = kLentBytes / count;
    for (const size_t slot : slots) {
      bytes.push_back(1 + random() % std::min(most_bytes, slot_bytes - 1));
      offsets.push_back(slot * slot_bytes + random() % (slot_bytes - bytes.back()));
    }
  }
  std::vector<size_t> offsets;
  std::vector<size_t> bytes;
};

TEST_P(ClientDmaSpaceProcessVmTest, MovesPiecesOfAllSizes) {
  for (const auto& [count, most_bytes] :
       {std::pair<size_t, size_t>(2, 5 << 20), {5, 100'000}, {6, 8000}, {3000, 3000}}) {
    SCOPED_TRACE(count);
    Lend(FillLent);
    const Layout layout(count, most_bytes);
    std::vector<std::vector<std::byte>> buffers;
    std::vector<DmaReadPiece> reads;
    std::vector<DmaWritePiece> writes;
    for (size_t i = 0; i < count; ++i) buffers.emplace_back(layout.bytes[i]);
    for (size_t i = 0; i < count; ++i) {
      reads.push_back({At(layout.offsets[i]), buffers[i]});
      writes.push_back({At(layout.offsets[i]), buffers[i]});
    }

    ASSERT_THAT(space_.Read(reads, DmaAccessPath::kAuto), IsOk());
    std::vector<std::byte> expected = Lent(0, kLentBytes);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_EQ(std::memcmp(buffers[i].data(), &expected[layout.offsets[i]], layout.bytes[i]), 0);
      std::memset(buffers[i].data(), static_cast<int>(i), buffers[i].size());
      std::memcpy(&expected[layout.offsets[i]], buffers[i].data(), buffers[i].size());
    }
    ASSERT_THAT(space_.Write(writes, DmaAccessPath::kAuto), IsOk());
    ASSERT_TRUE(Same(Lent(0, kLentBytes), expected));
  }
}

TEST_P(ClientDmaSpaceProcessVmTest, MovesWhatIsLongerThanIsMovedAtOnce) {
  std::vector<std::byte> buffer(kLentBytes - 1);

  ASSERT_THAT(space_.Read(At(1), buffer), IsOk());
  EXPECT_TRUE(Same(buffer, Pattern().subspan(1)));

  std::memset(buffer.data(), 'w', buffer.size());
  ASSERT_THAT(space_.Write(At(0), buffer), IsOk());
  EXPECT_TRUE(Same(Lent(0, kLentBytes - 1), buffer));
  EXPECT_THAT(Lent(kLentBytes - 1, 1), Each(Pattern().back()));
}

// As it is through the descriptor: the application's protections are its own business.
TEST_P(ClientDmaSpaceProcessVmTest, MovesBytesOfPagesThatAreProtected) {
  Lend([] {
    FillLent();
    ::mprotect(&lent[3 * kPage], kPage, PROT_READ);
    ::mprotect(&lent[9 * kPage], kPage, PROT_NONE);
  });
  std::vector<std::byte> buffer(32 * kPage);

  ASSERT_THAT(space_.Read(At(0), buffer), IsOk());
  EXPECT_TRUE(Same(buffer, Pattern().first(buffer.size())));

  std::memset(buffer.data(), 'w', buffer.size());
  ASSERT_THAT(space_.Write(At(0), buffer), IsOk());
  EXPECT_TRUE(Same(Lent(0, buffer.size()), buffer));
}

TEST_P(ClientDmaSpaceProcessVmTest, SaysWhereMemoryIsGone) {
  Lend([] {
    FillLent();
    ::munmap(&lent[20 * kPage], kPage);
  });
  std::vector<std::byte> buffer(32 * kPage, std::byte{'w'});
  const std::string where = fmt::format("131072 bytes at {:#x}: memory at file offset {:#x}", kBase,
                                        reinterpret_cast<uintptr_t>(&lent[20 * kPage]));

  const absl::Status written = space_.Write(At(0), buffer);
  EXPECT_THAT(written, StatusIs(absl::StatusCode::kAborted, HasSubstr("DMA write of " + where)));
  EXPECT_EQ(ErrnoOf(written), EIO);
  EXPECT_THAT(Lent(0, 20 * kPage), Each(std::byte{'w'}));

  std::memset(buffer.data(), 0, buffer.size());
  const absl::Status read = space_.Read(At(0), buffer);
  EXPECT_THAT(read, StatusIs(absl::StatusCode::kAborted, HasSubstr("DMA read of " + where)));
  EXPECT_EQ(ErrnoOf(read), EIO);
  EXPECT_THAT(std::span(buffer).first(20 * kPage), Each(std::byte{'w'}));
}

TEST_P(ClientDmaSpaceProcessVmTest, SaysThatTheOwnerOfTheMemoryIsGone) {
  std::vector<std::byte> buffer(32 * kPage);
  for (const auto& go : {&MemoryLender::Exec, &MemoryLender::Exit}) {
    Lend(FillLent);
    ASSERT_THAT(space_.Read(At(0), buffer), IsOk());

    (*lender_.*go)();

    EXPECT_THAT(space_.Read(At(0), buffer), StatusIs(absl::StatusCode::kUnavailable));
    EXPECT_THAT(space_.Write(At(0), buffer), StatusIs(absl::StatusCode::kUnavailable));
  }
}

TEST_P(ClientDmaSpaceProcessVmTest, HoldsTransfersToTheDirectionOfAMapping) {
  constexpr uint64_t kReadOnly = kBase + 2 * kLentBytes;
  ASSERT_THAT(MapLent(DmaMapFlag::kRead, kReadOnly), IsOk());
  std::vector<std::byte> buffer(32 * kPage, std::byte{'w'});
  // Of one file, and only the second is refused.
  const std::array<DmaWritePiece, 2> pieces = {{{At(0), buffer}, {Iova{kReadOnly}, buffer}}};

  EXPECT_EQ(ErrnoOf(space_.Write(pieces, DmaAccessPath::kAuto)), EACCES);

  EXPECT_THAT(Lent(0, 1), Each(Pattern()[0]));
}

TEST_P(ClientDmaSpaceProcessVmTest, UnmapWaitsForTheTransfer) {
  ASSERT_THAT(Map(kBase + kLentBytes, 4), IsOk());
  std::vector<std::byte> buffer(64 * kPage + 4);
  auto read = std::async(std::launch::async,
                         [&] { return space_.Read(At(kLentBytes - 64 * kPage), buffer); });
  const auto request = client_->Receive();
  ASSERT_THAT(request, IsOk());
  std::atomic<int> released = 0;

  ASSERT_THAT(space_.Unmap(Iova{kBase}, kLentBytes, [&] { ++released; }), IsOk());

  EXPECT_EQ(released, 0);
  std::vector<uint8_t> reply = request->body;
  reply.resize(reply.size() + 4, 'm');
  ASSERT_THAT(client_->Reply(request->header, reply), IsOk());
  EXPECT_THAT(read.get(), IsOk());
  EXPECT_EQ(released, 1);
  EXPECT_EQ(buffer[0], Pattern()[kLentBytes - 64 * kPage]);
  EXPECT_EQ(buffer.back(), std::byte{'m'});
}

TEST_P(ClientDmaSpaceProcessVmTest, IsCancelled) {
  std::atomic<bool> began = false;
  auto read = std::async(std::launch::async, [&] {
    std::vector<std::byte> buffer(kLentBytes);
    absl::Status status;
    while (status.ok()) {
      status = space_.Read(At(0), buffer);
      began = true;
    }
    return status;
  });
  while (!began) std::this_thread::yield();

  space_.CancelTransfers();

  EXPECT_THAT(read.get(), StatusIs(absl::StatusCode::kCancelled));
}

TEST_P(ClientDmaSpaceProcessVmTest, LogsWhatItWrote) {
  ASSERT_THAT(space_.write_log().Start({.page_size = kPage, .ranges = {}}), IsOk());
  const std::vector<std::byte> buffer(16 * kPage);

  ASSERT_THAT(space_.Write(At(kPage), buffer), IsOk());

  DmaLoggingReport report{
      .address = Iova{kBase - kBase % kPage}, .length = 64 * kPage, .page_size = kPage};
  ASSERT_THAT(space_.write_log().Report(report), IsOk());
  EXPECT_EQ(report.bitmap, (std::vector<uint8_t>{0xfe, 0xff, 0x03, 0, 0, 0, 0, 0}));
}

// From here on, this process gets EPERM when it reads more than a byte through a descriptor.
bool RefusePread() {
  std::array<sock_filter, 6> filter = {{
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  }};
  const sock_fprog program = {.len = filter.size(), .filter = filter.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST_P(ClientDmaSpaceProcessVmTest, ReadsLongAndScatteredMemoryOtherwiseOnlyWhereItMay) {
  if (!ProcessMemory::Find(lender_->mem(), lender_->credentials())) {
    GTEST_SKIP() << "process_vm_readv() is refused here";
  }
  std::vector<std::byte> buffer(64 * 512);
  std::vector<DmaReadPiece> pieces;
  for (size_t i = 0; i < 64; ++i) {
    pieces.push_back({At(i * 1000), std::span(buffer).subspan(i * 512, 512)});
  }
  std::vector<std::byte> longer(64 * kPage);
  const auto moves = [&] {
    if (!RefusePread()) return 2;
    const bool scattered = space_.Read(pieces, DmaAccessPath::kAuto).ok();
    const bool in_one = space_.Read(At(0), longer).ok();
    return scattered && in_one ? 1 : scattered || in_one ? 3 : 0;
  };

  EXPECT_EXIT(std::_Exit(moves()), testing::ExitedWithCode(GetParam() ? 1 : 0), "");
}

}  // namespace
}  // namespace vfio_user
