// A device in another process reads and writes memory of this one, by every path, and with what
// makes them faster off and on.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/dma_mapping.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/far_memory.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tools/vfio_user/child_server.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"
#include "tools/vfio_user/round_trip.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::Eq;

// CRC-32 of "123456789", the check value that its definitions give.
constexpr uint64_t kCheckValue = 0xcbf43926;
constexpr std::string_view kCheckText = "123456789";

Iova Plus(Iova iova, uint64_t offset) { return Iova{ToU64(iova) + offset}; }

struct Setting {
  std::string name;
  DmaPath path = DmaPath::kAuto;
  std::vector<std::string> arguments = {};  // Of `serve`.
  absl::Duration busy_poll = absl::ZeroDuration();
};

// For gtest, which would print the bytes.
void PrintTo(const Setting& setting, std::ostream* os) { *os << setting.name; }

Setting Spinning(Setting setting) {
  setting.name += "Spinning";
  setting.arguments = {"--busy-poll", "200"};
  setting.busy_poll = absl::Microseconds(200);
  return setting;
}

std::string SettingName(const ::testing::TestParamInfo<Setting>& tested) {
  return tested.param.name;
}

const Setting kFileIo = {.name = "FileIo", .path = DmaPath::kFileIo};
const Setting kByDescriptor = {
    .name = "FileIoByDescriptor", .path = DmaPath::kFileIo, .arguments = {"--no-process-vm"}};
const Setting kMmap = {.name = "Mmap", .path = DmaPath::kMmap};
const Setting kMessage = {.name = "Message", .path = DmaPath::kMessage};

class DmaTest : public ::testing::Test {
 protected:
  void Connect(const Setting& setting) {
    absl::StatusOr<ChildServer> server = StartServer("dma-copy", setting.arguments);
    ASSERT_THAT(server, IsOk());
    server_.emplace(*std::move(server));
    absl::StatusOr<Client> client =
        Client::Connect(server_->socket_path(), {.busy_poll = setting.busy_poll});
    ASSERT_THAT(client, IsOk());
    client_.emplace(*std::move(client));
    DmaCopyOptions options;
    options.path = setting.path;
    absl::StatusOr<std::unique_ptr<DmaCopyDriver>> driver = DmaCopyDriver::Open(*client_, options);
    ASSERT_THAT(driver, IsOk());
    driver_ = *std::move(driver);
  }
  void TearDown() override {
    driver_.reset();
    client_.reset();
    if (!server_) return;
    EXPECT_THAT(server_->Stop(), IsOk());
  }

  std::optional<ChildServer> server_;
  std::optional<Client> client_;
  std::unique_ptr<DmaCopyDriver> driver_;
};

class DmaPathTest : public DmaTest, public ::testing::WithParamInterface<Setting> {
 protected:
  void SetUp() override { Connect(GetParam()); }
};

TEST_P(DmaPathTest, DeviceReadsTheMemory) {
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client_, 4096, GetParam().path);
  ASSERT_THAT(buffer, IsOk());
  ASSERT_EQ(buffer->path(), GetParam().path);
  std::ranges::copy(std::as_bytes(std::span(kCheckText)), buffer->bytes().begin() + 100);

  EXPECT_THAT(driver_->Run(DmaCopyOperation::Crc32(Plus(buffer->iova(), 100), kCheckText.size())),
              IsOkAndHolds(kCheckValue));
}

TEST_P(DmaPathTest, DeviceWritesTheMemoryAndNothingBeside) {
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client_, 100, GetParam().path);
  ASSERT_THAT(buffer, IsOk());

  ASSERT_THAT(
      driver_->Run(DmaCopyOperation::Fill(0x1111111111111111, Plus(buffer->iova(), 10), 80)),
      IsOk());

  const std::span<std::byte> bytes = buffer->bytes();
  EXPECT_THAT(bytes.first(10), Each(Eq(std::byte{0})));
  EXPECT_THAT(bytes.subspan(10, 80), Each(Eq(std::byte{0x11})));
  EXPECT_THAT(bytes.last(10), Each(Eq(std::byte{0})));
}

TEST_P(DmaPathTest, DeviceCopiesBetweenOddAddressesOfOddLength) {
  constexpr size_t kLength = (3 << 20) + 7;
  const absl::StatusOr<DmaBuffer> from = DmaBuffer::Create(*client_, kLength + 64, GetParam().path);
  const absl::StatusOr<DmaBuffer> to = DmaBuffer::Create(*client_, kLength + 64, GetParam().path);
  ASSERT_THAT(from, IsOk());
  ASSERT_THAT(to, IsOk());
  const std::vector<std::byte> data = PseudoRandomBytes(kLength);
  std::ranges::copy(data, from->bytes().begin() + 5);

  ASSERT_THAT(
      driver_->Run(DmaCopyOperation::Copy(Plus(from->iova(), 5), Plus(to->iova(), 11), kLength)),
      IsOk());

  EXPECT_TRUE(std::ranges::equal(to->bytes().subspan(11, kLength), data));
  EXPECT_THAT(to->bytes().first(11), Each(Eq(std::byte{0})));
  EXPECT_THAT(to->bytes().last(53), Each(Eq(std::byte{0})));
}

TEST_P(DmaPathTest, RangeThatIsNotMappedFailsAndTheNextOperationRuns) {
  const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client_, 4096, GetParam().path);
  ASSERT_THAT(buffer, IsOk());
  const Iova beyond = Plus(buffer->iova(), 4096 - 8);

  EXPECT_THAT(driver_->Run(DmaCopyOperation::Crc32(Iova{0x1000}, 4)),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(driver_->Run(DmaCopyOperation::Fill(~uint64_t{0}, beyond, uint64_t{1} << 30)),
              StatusIs(absl::StatusCode::kOutOfRange));

  EXPECT_THAT(driver_->Run(DmaCopyOperation::Fill(0, buffer->iova(), 4096)), IsOk());
}

TEST_P(DmaPathTest, UnmappedMemoryCannotBeReachedAnyMore) {
  absl::StatusOr<DmaBuffer> kept = DmaBuffer::Create(*client_, 4096, GetParam().path);
  ASSERT_THAT(kept, IsOk());
  Iova gone{};
  {
    const absl::StatusOr<DmaBuffer> buffer = DmaBuffer::Create(*client_, 4096, GetParam().path);
    ASSERT_THAT(buffer, IsOk());
    gone = buffer->iova();
  }

  EXPECT_THAT(driver_->Run(DmaCopyOperation::Copy(gone, kept->iova(), 4096)),
              StatusIs(absl::StatusCode::kOutOfRange));
}

INSTANTIATE_TEST_SUITE_P(Paths, DmaPathTest,
                         ::testing::Values(kFileIo, Spinning(kFileIo), kByDescriptor, kMmap,
                                           kMessage, Spinning(kMessage)),
                         SettingName);

// Memory that the test itself has: what has no file cannot be mapped.
class DmaMallocTest : public DmaPathTest {
 protected:
  absl::StatusOr<DmaMapping> Map(std::span<std::byte> memory) {
    return client_->Map(memory, MapOptions{.path = GetParam().path});
  }
  absl::StatusOr<DmaMapping> MapReadOnly(std::span<const std::byte> memory) {
    return client_->Map(memory, MapOptions{.path = GetParam().path});
  }
};

TEST_P(DmaMallocTest, MappingMayStartAndEndAnywhere) {
  std::vector<std::byte> memory(10000);
  const std::span<std::byte> lent = std::span(memory).subspan(3, 9001);
  const absl::StatusOr<DmaMapping> mapping = Map(lent);
  ASSERT_THAT(mapping, IsOk());
  EXPECT_EQ(ToU64(mapping->iova()), reinterpret_cast<uintptr_t>(lent.data()));

  ASSERT_THAT(driver_->Run(DmaCopyOperation::Fill(0x2222222222222222, mapping->iova(), 9001)),
              IsOk());

  EXPECT_THAT(lent, Each(Eq(std::byte{0x22})));
  EXPECT_THAT(std::span(memory).first(3), Each(Eq(std::byte{0})));
  EXPECT_THAT(std::span(memory).subspan(9004), Each(Eq(std::byte{0})));
}

TEST_P(DmaMallocTest, DeviceReadsReadOnlyMemoryAndMayNotWriteIt) {
  // Long enough for process_vm_writev(), which the memory's own protection would not stop.
  std::vector<std::byte> text(64 << 10);
  std::ranges::copy(std::as_bytes(std::span(kCheckText)), text.begin());
  const std::vector<std::byte> before = text;
  const absl::StatusOr<DmaMapping> mapping = MapReadOnly(text);
  ASSERT_THAT(mapping, IsOk());

  EXPECT_THAT(driver_->Run(DmaCopyOperation::Crc32(mapping->iova(), kCheckText.size())),
              IsOkAndHolds(kCheckValue));
  EXPECT_THAT(driver_->Run(DmaCopyOperation::Fill(~uint64_t{0}, mapping->iova(), text.size())),
              StatusIs(absl::StatusCode::kPermissionDenied));

  EXPECT_TRUE(text == before);
}

TEST_P(DmaMallocTest, MemoryThatWasFreedFailsTheTransferAndNothingElse) {
  constexpr size_t kBytes = 64 << 10;
  const std::span<std::byte> freed = MapFarMemory(kBytes);
  ASSERT_FALSE(freed.empty());
  const absl::StatusOr<DmaMapping> mapping = Map(freed);
  ASSERT_THAT(mapping, IsOk());
  ASSERT_EQ(::munmap(freed.data(), kBytes), 0);

  EXPECT_FALSE(driver_->Run(DmaCopyOperation::Crc32(mapping->iova(), kBytes)).ok());
  EXPECT_FALSE(driver_->Run(DmaCopyOperation::Fill(0, mapping->iova(), kBytes)).ok());

  std::vector<std::byte> memory(100);
  const absl::StatusOr<DmaMapping> other = Map(memory);
  ASSERT_THAT(other, IsOk());
  EXPECT_THAT(driver_->Run(DmaCopyOperation::Fill(0, other->iova(), 100)), IsOk());
}

INSTANTIATE_TEST_SUITE_P(Paths, DmaMallocTest,
                         ::testing::Values(kFileIo, Spinning(kFileIo), kByDescriptor, kMessage,
                                           Spinning(kMessage)),
                         SettingName);

using DmaMmapTest = DmaTest;

TEST_F(DmaMmapTest, FileThatIsCutOffFailsTheTransferAndNothingElse) {
  Connect(kMmap);
  constexpr size_t kBytes = 64 << 10;
  const UniqueFd file(::memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.get(), kBytes), 0);
  void* const address = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(address, MAP_FAILED);
  const FileMemory memory = {file.get(), 0, {static_cast<std::byte*>(address), kBytes}};
  {
    const absl::StatusOr<DmaMapping> mapping =
        client_->MapFile(memory, MapOptions{.path = DmaPath::kMmap});
    ASSERT_THAT(mapping, IsOk());
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);

    EXPECT_FALSE(driver_->Run(DmaCopyOperation::Crc32(mapping->iova(), kBytes)).ok());
    EXPECT_FALSE(driver_->Run(DmaCopyOperation::Fill(0, mapping->iova(), kBytes)).ok());
  }
  EXPECT_THAT(driver_->Run(DmaCopyOperation{}), IsOk());
  ASSERT_EQ(::munmap(address, kBytes), 0);
}

using DmaManyTest = DmaTest;

TEST_F(DmaManyTest, FourThousandMappingsNeedOneDescriptorInTheServer) {
  Connect(kFileIo);
  constexpr size_t kMappings = 4096;
  constexpr size_t kBytes = 64;
  std::vector<std::byte> memory(kMappings * kBytes);
  std::vector<DmaMapping> mappings;
  for (size_t i = 0; i < kMappings; ++i) {
    absl::StatusOr<DmaMapping> mapping = client_->Map(std::span(memory).subspan(i * kBytes, kBytes),
                                                      MapOptions{.path = DmaPath::kFileIo});
    ASSERT_THAT(mapping, IsOk()) << i;
    mappings.push_back(*std::move(mapping));
  }

  EXPECT_EQ(FdsNaming(server_->process().pid(), "/mem"), 1);
  for (const size_t i : {size_t{0}, size_t{2047}, kMappings - 1}) {
    EXPECT_THAT(driver_->Run(DmaCopyOperation::Fill(~uint64_t{0}, mappings[i].iova(), kBytes)),
                IsOk());
    EXPECT_THAT(std::span(memory).subspan(i * kBytes, kBytes), Each(Eq(std::byte{0xff})));
  }
}

}  // namespace
}  // namespace vfio_user
