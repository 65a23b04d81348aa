#include "server/mappable_bar.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr uint64_t kBytes = 4096;

// The BAR as a client has it that mapped the descriptor.
class Mapped {
 public:
  explicit Mapped(const MappableBar& bar)
      : pages_(::mmap(nullptr, bar.size(), PROT_READ | PROT_WRITE, MAP_SHARED,
                      bar.Describe().file->get(), 0)),
        bytes_(bar.size()) {}
  ~Mapped() { ::munmap(pages_, bytes_); }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  std::span<std::byte> bytes() const { return {static_cast<std::byte*>(pages_), bytes_}; }

 private:
  void* const pages_;
  const size_t bytes_;
};

std::vector<std::byte> Counting(size_t bytes) {
  std::vector<std::byte> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::byte>(i + 1);
  return out;
}

TEST(MappableBarTest, SharesItsBytesWithWhoeverMapsTheFile) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  const Mapped client(*bar);

  ASSERT_THAT(bar->Write(1, Counting(2)), IsOk());
  client.bytes()[4] = std::byte{9};

  EXPECT_THAT(client.bytes().first(4),
              ElementsAre(std::byte{0}, std::byte{1}, std::byte{2}, std::byte{0}));
  std::array<std::byte, 2> read;
  ASSERT_THAT(bar->Read(3, read), IsOk());
  EXPECT_THAT(read, ElementsAre(std::byte{0}, std::byte{9}));
}

TEST(MappableBarTest, MovesAnyLengthAtAnyAlignment) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  for (uint64_t offset = 0; offset < 9; ++offset) {
    for (size_t bytes = 0; bytes < 40; ++bytes) {
      bar->Clear();
      const std::vector<std::byte> written = Counting(bytes);

      ASSERT_THAT(bar->Write(offset, written), IsOk());

      std::vector<std::byte> read(bytes);
      ASSERT_THAT(bar->Read(offset, read), IsOk());
      EXPECT_EQ(read, written);
      std::vector<std::byte> all(kBytes);
      ASSERT_THAT(bar->Read(0, all), IsOk());
      EXPECT_EQ(all[offset + bytes], std::byte{0});
    }
  }
}

TEST(MappableBarTest, RefusesWhatIsBeyondItsEnd) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  std::array<std::byte, 2> bytes = {std::byte{7}, std::byte{7}};

  for (const uint64_t offset : {kBytes - 1, kBytes + 1, uint64_t{UINT64_MAX}}) {
    EXPECT_THAT(bar->Read(offset, bytes), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(bar->Write(offset, bytes), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(bar->Write(kBytes - 2, bytes), IsOk());
  EXPECT_THAT(bar->Read(kBytes, {}), IsOk());
}

TEST(MappableBarTest, IsZeroForEverybodyAfterClear) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  const Mapped client(*bar);
  ASSERT_THAT(bar->Write(0, std::vector<std::byte>(kBytes, std::byte{1})), IsOk());

  bar->Clear();

  std::vector<std::byte> all(kBytes, std::byte{1});
  ASSERT_THAT(bar->Read(0, all), IsOk());
  EXPECT_THAT(all, Each(std::byte{0}));
  EXPECT_THAT(client.bytes(), Each(std::byte{0}));
}

TEST(MappableBarTest, LetsNoClientResizeOrSealItsFile) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  const int file = bar->Describe().file->get();

  EXPECT_NE(::ftruncate(file, 0), 0);
  EXPECT_NE(::ftruncate(file, 2 * kBytes), 0);
  EXPECT_NE(::fcntl(file, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
}

TEST(MappableBarTest, TakesAnAlignedAccessAtOnce) {
  auto bar = MappableBar::Create(kBytes);
  ASSERT_THAT(bar, IsOk());
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    for (uint64_t i = 0; !stop; ++i) {
      const uint64_t value = (i & 1) != 0 ? UINT64_MAX : 0;
      ASSERT_THAT(bar->Write(8, std::as_bytes(std::span(&value, 1))), IsOk());
    }
  });

  for (int i = 0; i < 20'000; ++i) {
    uint64_t value = 1;
    ASSERT_THAT(bar->Read(8, std::as_writable_bytes(std::span(&value, 1))), IsOk());
    ASSERT_TRUE(value == 0 || value == UINT64_MAX) << value;
  }

  stop = true;
  writer.join();
}

TEST(MappableBarTest, RefusesASizeThatNoMappableBarHas) {
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{2048}, uint64_t{4097}, uint64_t{12288}}) {
    EXPECT_THAT(MappableBar::Create(bytes), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(MappableBarTest, LeavesNothingBehind) {
  const int before = OpenFdCount();
  {
    auto bar = MappableBar::Create(kBytes);
    ASSERT_THAT(bar, IsOk());
    const MappableBar moved = *std::move(bar);
    EXPECT_EQ(OpenFdCount(), before + 1);
  }
  EXPECT_EQ(OpenFdCount(), before);
}

TEST(MappableBarTest, DescribesTheAreasItIsGiven) {
  auto bar = MappableBar::Create(2 * kBytes);
  ASSERT_THAT(bar, IsOk());

  EXPECT_THAT(bar->Describe().areas, IsEmpty());
  EXPECT_THAT(bar->Describe({{.offset = kBytes, .size = kBytes}}).areas,
              ElementsAre(SparseArea{.offset = kBytes, .size = kBytes}));
}

}  // namespace
}  // namespace vfio_user
