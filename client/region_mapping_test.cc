#include "client/region_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/region.h"
#include "client/region_fixture.h"
#include "client/session/scripted_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/region_info.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr RegionFlags kReadWrite = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite;
constexpr RegionFlags kMappable = kReadWrite | RegionFlag::kMmap;
constexpr size_t kFileBytes = 16 << 10;

UniqueFd NewMemfd(int seals) {
  UniqueFd file(::memfd_create("bar", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(::ftruncate(file.get(), kFileBytes), 0);
  EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

std::vector<UniqueFd> Duplicates(const UniqueFd& file, int count = 1) {
  std::vector<UniqueFd> out;
  for (int i = 0; i < count; ++i) out.emplace_back(::fcntl(file.get(), F_DUPFD_CLOEXEC, 0));
  return out;
}

// What the file holds, seen otherwise than by its mapping.
uint32_t Stored(const UniqueFd& file, off_t offset) {
  uint32_t value = 0;
  EXPECT_EQ(::pread(file.get(), &value, sizeof(value), offset), ssize_t{sizeof(value)});
  return value;
}

class RegionMappingTest : public RegionFixture {
 protected:
  void SetUp() override { Connect(kTwinGranted); }

  // Opens a region of the size of the file, of which `areas` can be mapped.
  void OpenAreas(std::optional<std::vector<SparseArea>> areas, std::vector<UniqueFd> files,
                 uint64_t file_offset = 0) {
    absl::StatusOr<Region> region = Open({.flags = kMappable,
                                          .index = RegionIndex::kBar2,
                                          .size = kFileBytes,
                                          .file_offset = file_offset,
                                          .sparse_areas = std::move(areas)},
                                         std::move(files));
    ASSERT_THAT(region, IsOk());
    region_.emplace(*std::move(region));
  }

  // That the region works by messages, and only by them.
  void ExpectMessages() {
    EXPECT_THAT(region_->mapped_areas(), IsEmpty());
    EXPECT_THAT(region_->Mapping(0, 4), IsEmpty());
    auto served = ServeMemory(2);
    EXPECT_THAT(region_->Write<uint32_t>(8, 0x12345678), IsOk());
    EXPECT_THAT(region_->Read<uint32_t>(8), IsOkAndHolds(0x12345678u));
    EXPECT_THAT(served.get(), SizeIs(2));
  }

  const UniqueFd file_ = NewMemfd(F_SEAL_SHRINK);
};

TEST_F(RegionMappingTest, AccessesToASealedFileAreLoadsAndStores) {
  OpenAreas(std::nullopt, Duplicates(file_));

  EXPECT_THAT(region_->mapping_status(), IsOk());
  EXPECT_THAT(region_->mapped_areas(), ElementsAre(SparseArea{.offset = 0, .size = kFileBytes}));
  EXPECT_THAT(region_->Write<uint32_t>(0x10, 0x12345678), IsOk());
  EXPECT_EQ(Stored(file_, 0x10), 0x12345678u);
  EXPECT_THAT(region_->Read<uint8_t>(0x11), IsOkAndHolds(0x56));
  EXPECT_THAT(region_->Read<uint16_t>(0x12), IsOkAndHolds(0x1234));
  EXPECT_THAT(region_->Read<uint64_t>(0x10), IsOkAndHolds(0x12345678u));
  EXPECT_THAT(region_->Read<uint32_t>(0x11), IsOkAndHolds(0x123456u));
  EXPECT_THAT(region_->Read<uint32_t>(kFileBytes - 3), StatusIs(absl::StatusCode::kOutOfRange));
  const std::vector<std::byte> out(5000, std::byte{0x5a});
  std::vector<std::byte> in(5000);
  EXPECT_THAT(region_->WriteBlock(0x101, out), IsOk());
  EXPECT_THAT(region_->ReadBlock(0x101, in), IsOk());
  EXPECT_EQ(in, out);
}

TEST_F(RegionMappingTest, ASealedMappingCanBePointedAt) {
  OpenAreas(std::vector<SparseArea>{{0, 4096}, {8192, 4096}}, Duplicates(file_));

  const std::span<std::byte> memory = region_->Mapping(8192, 4096);

  ASSERT_THAT(memory, SizeIs(4096));
  memory[4] = std::byte{0x5a};
  EXPECT_EQ(Stored(file_, 8196), 0x5au);
  EXPECT_THAT(region_->Mapping(0, 4097), IsEmpty());
  EXPECT_THAT(region_->Mapping(4096, 1), IsEmpty());
  EXPECT_THAT(region_->Mapping(0, 0), IsEmpty());
  EXPECT_THAT(region_->Mapping(UINT64_MAX, 2), IsEmpty());
}

TEST_F(RegionMappingTest, WhatIsNotMappedGoesByMessages) {
  OpenAreas(std::vector<SparseArea>{{8192, 4096}, {0, 4096}}, Duplicates(file_));
  EXPECT_THAT(region_->mapping_status(), IsOk());
  EXPECT_THAT(region_->mapped_areas(), ElementsAre(SparseArea{0, 4096}, SparseArea{8192, 4096}));

  auto served = ServeMemory(3);
  EXPECT_THAT(region_->Write<uint32_t>(4096, 1), IsOk());
  // Cut in two.
  EXPECT_THAT(region_->Write<uint32_t>(8190, 0x04030201), IsOk());
  std::vector<std::byte> all(kFileBytes);
  EXPECT_THAT(region_->ReadBlock(0, std::span(all).first(8193)), IsOk());

  EXPECT_THAT(served.get(), ElementsAre(SeenAccess{Command::kRegionWrite, 4096, 4},
                                        SeenAccess{Command::kRegionWrite, 8190, 2},
                                        SeenAccess{Command::kRegionRead, 4096, 4096}));
  EXPECT_EQ(Stored(file_, 8192), 0x0403u);
  EXPECT_EQ(all[8190], std::byte{1});
  EXPECT_EQ(all[8191], std::byte{2});
  EXPECT_EQ(all[8192], std::byte{3});
}

TEST_F(RegionMappingTest, AreasAreAtTheirOffsetsOfTheFile) {
  OpenAreas(std::vector<SparseArea>{{4096, 4096}}, Duplicates(file_), 8192);

  EXPECT_THAT(region_->Write<uint32_t>(4100, 7), IsOk());

  EXPECT_EQ(Stored(file_, 8192 + 4100), 7u);
}

TEST_F(RegionMappingTest, SurplusDescriptorsAreClosed) {
  const int before = OpenFdCount();

  OpenAreas(std::vector<SparseArea>{{0, 4096}, {8192, 4096}}, Duplicates(file_, 2));

  EXPECT_THAT(region_->mapped_areas(), SizeIs(2));
  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(RegionMappingTest, CopiesKeepTheMemoryAndTheLastOneGivesItBack) {
  OpenAreas(std::nullopt, Duplicates(file_));
  std::optional<Region> copy = *region_;
  const std::span<std::byte> memory = region_->Mapping(0, 4096);
  region_.reset();
  client_.reset();

  memory[0] = std::byte{9};
  EXPECT_THAT(copy->Read<uint8_t>(0), IsOkAndHolds(9));

  copy.reset();
  // Nothing is mapped there any more.
  EXPECT_EQ(::msync(memory.data(), memory.size(), MS_ASYNC), -1);
}

TEST_F(RegionMappingTest, AFileThatIsCutOffBecomesMessages) {
  const UniqueFd file = NewMemfd(0);
  OpenAreas(std::nullopt, Duplicates(file));
  EXPECT_THAT(region_->mapping_status(), IsOk());
  EXPECT_THAT(region_->Write<uint32_t>(4, 5), IsOk());
  EXPECT_EQ(Stored(file, 4), 5u);
  EXPECT_THAT(region_->Mapping(0, 4), IsEmpty()) << "the server may take it away";

  ASSERT_EQ(::ftruncate(file.get(), 4096), 0);

  auto served = ServeMemory(3);
  EXPECT_THAT(region_->Write<uint32_t>(8192, 6), IsOk());
  EXPECT_THAT(region_->Read<uint32_t>(8192), IsOkAndHolds(6u));
  std::vector<std::byte> block(8192);
  EXPECT_THAT(region_->ReadBlock(4096, block), IsOk());
  EXPECT_THAT(served.get(), SizeIs(3));
  EXPECT_THAT(region_->Read<uint32_t>(4), IsOkAndHolds(5u));
}

TEST_F(RegionMappingTest, OnRequestAllGoesByMessages) {
  absl::StatusOr<Region> region =
      Open({.flags = kMappable, .index = RegionIndex::kBar2, .size = kFileBytes}, Duplicates(file_),
           {.path = RegionPath::kMessage});
  ASSERT_THAT(region, IsOk());
  region_.emplace(*std::move(region));

  ExpectMessages();
  EXPECT_THAT(region_->mapping_status(), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RegionMappingTest, ADescriptorOfARegionThatIsNotMappableIsNotUsed) {
  absl::StatusOr<Region> region = Open(
      {.flags = kReadWrite, .index = RegionIndex::kBar2, .size = kFileBytes}, Duplicates(file_));
  ASSERT_THAT(region, IsOk());
  region_.emplace(*std::move(region));

  ExpectMessages();
}

TEST_F(RegionMappingTest, AReadOnlyRegionIsMappedForReading) {
  absl::StatusOr<Region> region = Open({.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kMmap,
                                        .index = RegionIndex::kBar2,
                                        .size = kFileBytes},
                                       Duplicates(file_));
  ASSERT_THAT(region, IsOk());

  EXPECT_THAT(region->Read<uint32_t>(0), IsOkAndHolds(0u));
  EXPECT_THAT(region->Write<uint32_t>(0, 1), StatusIs(absl::StatusCode::kPermissionDenied));
}

// A server that says what is not so gets messages instead.

TEST_F(RegionMappingTest, WithoutADescriptorAllGoesByMessages) {
  OpenAreas(std::nullopt, {});

  ExpectMessages();
  EXPECT_THAT(region_->mapping_status(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                                  HasSubstr("the server sends no descriptor")));
}

TEST_F(RegionMappingTest, AreasBeyondTheFileGoByMessages) {
  OpenAreas(std::nullopt, Duplicates(file_), 4096);

  ExpectMessages();
  EXPECT_THAT(region_->mapping_status(),
              StatusIs(absl::StatusCode::kOutOfRange,
                       HasSubstr("begins at 0x1000 of a file of 0x4000 bytes")));
}

TEST_F(RegionMappingTest, AreasBeyondTheFileDoNotKeepOthersFromBeingMapped) {
  OpenAreas(std::vector<SparseArea>{{0, 4096}, {12288, 4096}}, Duplicates(file_), 4096);

  EXPECT_THAT(region_->mapped_areas(), ElementsAre(SparseArea{0, 4096}));
  EXPECT_THAT(region_->mapping_status(), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(RegionMappingTest, AreasThatDoNotBeginAtAPageGoByMessages) {
  OpenAreas(std::vector<SparseArea>{{0x800, 0x800}}, Duplicates(file_));

  ExpectMessages();
  EXPECT_THAT(region_->mapping_status(), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(RegionMappingTest, AnAreaThatOverlapsAnotherIsLeftOut) {
  OpenAreas(std::vector<SparseArea>{{0, 8192}, {4096, 8192}}, Duplicates(file_));

  EXPECT_THAT(region_->mapped_areas(), ElementsAre(SparseArea{0, 8192}));
  EXPECT_THAT(region_->mapping_status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("overlaps another area")));
}

TEST_F(RegionMappingTest, AListWithoutAreasIsMessages) {
  OpenAreas(std::vector<SparseArea>{}, Duplicates(file_));

  ExpectMessages();
  EXPECT_FALSE(region_->mapping_status().ok());
}

class RegionDescriptorTest : public RegionMappingTest,
                             public ::testing::WithParamInterface<const char*> {};

TEST_P(RegionDescriptorTest, ADescriptorThatCannotBeMappedIsMessages) {
  const UniqueFd file(::open(GetParam(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  OpenAreas(std::nullopt, Duplicates(file));

  ExpectMessages();
  EXPECT_FALSE(region_->mapping_status().ok());
}

INSTANTIATE_TEST_SUITE_P(Files, RegionDescriptorTest,
                         ::testing::Values("/", "/dev/null", "/proc/self/mem", "/proc/self/exe"),
                         [](const auto& tested) {
                           std::string name;
                           for (const char c : std::string(tested.param)) {
                             if (c != '/') name += c;
                           }
                           return name.empty() ? std::string("directory") : name;
                         });

TEST_F(RegionMappingTest, ASocketForAFileIsMessages) {
  std::vector<UniqueFd> files;
  files.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  OpenAreas(std::nullopt, std::move(files));

  ExpectMessages();
  EXPECT_THAT(region_->mapping_status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("neither a file")));
}

TEST_F(RegionMappingTest, AnAreaOutsideTheRegionEndsTheConnection) {
  absl::StatusOr<Region> region =
      Open({.flags = kMappable,
            .index = RegionIndex::kBar2,
            .size = kFileBytes,
            .sparse_areas = std::vector<SparseArea>{{kFileBytes, 4096}}},
           Duplicates(file_));

  EXPECT_THAT(region, StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(client_->status(), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace vfio_user
