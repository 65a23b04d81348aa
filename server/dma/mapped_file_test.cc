#include "server/dma/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/dma_map.h"
#include "server/dma/mapping_budget.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

constexpr DmaMapFlags kBoth = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr size_t kPage = 4096;

// Every byte different from its neighbours and from those a page away.
std::string Pattern(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<char>(i % 251);
  return out;
}

UniqueFd SealedMemfd(size_t bytes) {
  UniqueFd fd(::memfd_create("mapped_file_test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  return fd;
}

std::string ReadString(const MappedFile& mapped, uint64_t offset, size_t bytes) {
  std::string out(bytes, '\0');
  EXPECT_THAT(mapped.Read(offset, std::as_writable_bytes(std::span(out))), IsOk());
  return out;
}

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}

TEST(MappedFileTest, MovesBytesOfAnUnsealedFile) {
  const UniqueFd file = Memfd(Pattern(2 * kPage));
  const auto mapped = MappedFile::Map(file, {0, 2 * kPage}, kBoth);
  ASSERT_THAT(mapped, IsOk());

  EXPECT_EQ(ReadString(*mapped, 4090, 20), Pattern(2 * kPage).substr(4090, 20));
  EXPECT_THAT(mapped->Write(4094, BytesOf("word")), IsOk());

  EXPECT_EQ(ContentOf(file).substr(4094, 4), "word");
}

TEST(MappedFileTest, MovesBytesOfASealedFile) {
  const UniqueFd file = SealedMemfd(2 * kPage);
  const auto mapped = MappedFile::Map(file, {0, 2 * kPage}, kBoth);
  ASSERT_THAT(mapped, IsOk());

  EXPECT_THAT(mapped->Write(4094, BytesOf("word")), IsOk());

  EXPECT_EQ(ContentOf(file).substr(4094, 4), "word");
  EXPECT_EQ(ReadString(*mapped, 4093, 6), std::string("\0word\0", 6));
}

TEST(MappedFileTest, TakesAnOffsetInTheMiddleOfAPage) {
  const UniqueFd file = Memfd(Pattern(3 * kPage));
  const auto mapped = MappedFile::Map(file, {kPage + 123, kPage + 1}, kBoth);
  ASSERT_THAT(mapped, IsOk());

  EXPECT_EQ(ReadString(*mapped, 0, kPage + 1), Pattern(3 * kPage).substr(kPage + 123, kPage + 1));
}

TEST(MappedFileTest, NeedsNoDescriptor) {
  UniqueFd file = Memfd("content");
  const int before = OpenFdCount();
  const auto mapped = MappedFile::Map(file, {0, 7}, kBoth);
  ASSERT_THAT(mapped, IsOk());

  file.Reset();

  EXPECT_EQ(OpenFdCount(), before - 1);
  EXPECT_EQ(ReadString(*mapped, 0, 7), "content");
}

TEST(MappedFileTest, RejectsARangeBeyondTheFile) {
  const UniqueFd file = Memfd(Pattern(kPage));

  EXPECT_THAT(MappedFile::Map(file, {1, kPage - 1}, kBoth), IsOk());
  for (const FileRange range :
       {FileRange{1, kPage}, FileRange{kPage, 1}, FileRange{0, kPage + 1}, FileRange{INT64_MAX, 2},
        FileRange{UINT64_MAX, 1}, FileRange{1, UINT64_MAX - 1}}) {
    EXPECT_EQ(ErrnoOf(MappedFile::Map(file, range, kBoth).status()), EINVAL)
        << range.offset << "+" << range.size;
  }
}

TEST(MappedFileTest, PassesOnWhyMmapRefused) {
  const UniqueFd mem(::open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  const UniqueFd executable(::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

  EXPECT_EQ(ErrnoOf(MappedFile::Map(mem, {0, kPage}, kBoth).status()), ENODEV);
  EXPECT_EQ(ErrnoOf(MappedFile::Map(executable, {0, kPage}, kBoth).status()), EACCES);
  EXPECT_THAT(MappedFile::Map(executable, {0, kPage}, DmaMapFlag::kRead), IsOk());
}

TEST(MappedFileTest, SurvivesAClientThatTruncatesItsFile) {
  const UniqueFd file = Memfd(Pattern(4 * kPage));
  const auto mapped = MappedFile::Map(file, {0, 4 * kPage}, kBoth);
  ASSERT_THAT(mapped, IsOk());
  ASSERT_EQ(::ftruncate(file.get(), kPage), 0);
  std::vector<std::byte> buffer(4 * kPage);

  const absl::Status read = mapped->Read(0, buffer);
  const absl::Status written = mapped->Write(2 * kPage, std::span(buffer).first(8));

  EXPECT_THAT(read, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(ErrnoOf(read), EIO);
  EXPECT_THAT(written, StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(ErrnoOf(written), EIO);
}

// Needs a reserved huge page (vm.nr_hugepages).
TEST(MappedFileTest, MapsHugePages) {
  constexpr size_t kHugePage = 2 << 20;
  const UniqueFd file(
      ::memfd_create("mapped_file_test", MFD_CLOEXEC | MFD_HUGETLB | MFD_ALLOW_SEALING));
  if (!file.valid() || ::ftruncate(file.get(), kHugePage) != 0) GTEST_SKIP() << "no huge pages";
  ASSERT_EQ(::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  auto mapped = MappedFile::Map(file, {kPage + 5, kPage}, kBoth);
  if (ErrnoOf(mapped.status()) == ENOMEM) GTEST_SKIP() << "no free huge page";
  ASSERT_THAT(mapped, IsOk());

  ASSERT_THAT(mapped->Write(3, BytesOf("word")), IsOk());

  EXPECT_EQ(ReadString(*mapped, 2, 6), std::string("\0word\0", 6));
  // munmap() refuses part of a huge page, and the mapping would leak.
  { const MappedFile gone = *std::move(mapped); }
  EXPECT_EQ(ErrnoOf(MappedFile::Map(file, {1, kHugePage}, kBoth).status()), EINVAL);
}

TEST(MappedFileTest, TakesOneOfTheBudgetForAsLongAsItLives) {
  MappingBudget budget(1);
  const UniqueFd file = Memfd(std::string(4096, 'x'));
  {
    const auto first = MappedFile::Map(file, {0, 4096}, DmaMapFlag::kRead, budget);
    ASSERT_THAT(first, IsOk());
    EXPECT_EQ(ErrnoOf(MappedFile::Map(file, {0, 4096}, DmaMapFlag::kRead, budget).status()),
              ENOSPC);
  }

  // A mapping that mmap() refuses takes none either.
  EXPECT_FALSE(MappedFile::Map(FdView(-1), {0, 4096}, DmaMapFlag::kRead, budget).ok());
  EXPECT_THAT(MappedFile::Map(file, {0, 4096}, DmaMapFlag::kRead, budget), IsOk());
}

}  // namespace
}  // namespace vfio_user
