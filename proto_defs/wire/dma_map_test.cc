#include "proto_defs/wire/dma_map.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

std::vector<uint8_t> MapBytes() {
  return Hex(
      "20 00 00 00"                // argsz
      "0b 00 00 00"                // flags: read, write, file-io
      "00 10 00 00 00 7f 00 00"    // file offset
      "05 00 01 00 00 00 00 00"    // address
      "88 13 00 00 00 00 00 00");  // size
}

DmaMapRequest Map() {
  return {.flags = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite | DmaMapFlag::kFileIo,
          .file_offset = 0x7f0000001000,
          .address = Iova{0x10005},
          .size = 5000};
}

TEST(DmaMapRequestTest, ParsesTheSpecifiedBytes) {
  const absl::StatusOr<DmaMapRequest> request = DmaMapRequest::Parse(MapBytes());

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, Map());
}

TEST(DmaMapRequestTest, SerializesToTheSpecifiedBytes) { EXPECT_EQ(Serialize(Map()), MapBytes()); }

TEST(DmaMapRequestTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = MapBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(DmaMapRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DMA_MAP: body is"))
        << length;
  }
}

TEST(DmaMapRequestTest, RejectsALongerBody) {
  std::vector<uint8_t> bytes = MapBytes();
  bytes.push_back(0);

  EXPECT_THAT(DmaMapRequest::Parse(bytes), IsInvalidArgument("DMA_MAP: body is 33 bytes, want 32"));
}

TEST(DmaMapRequestTest, RejectsAShortArgszAndTakesALongOne) {
  DmaMapRequest request = Map();
  request.argsz = 31;
  EXPECT_THAT(DmaMapRequest::Parse(Serialize(request)), IsInvalidArgument("argsz is 31"));

  request.argsz = 4096;
  EXPECT_TRUE(DmaMapRequest::Parse(Serialize(request)).ok());
}

TEST(DmaMapRequestTest, RejectsEveryUnknownFlag) {
  for (int bit = 4; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = MapBytes();
    bytes[4 + static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(DmaMapRequest::Parse(bytes), IsInvalidArgument("DMA_MAP: flags are")) << bit;
  }
}

TEST(DmaMapRequestTest, TakesEveryKnownFlagAndNone) {
  for (uint8_t flags = 0; flags < 16; ++flags) {
    SCOPED_TRACE(int{flags});
    std::vector<uint8_t> bytes = MapBytes();
    bytes[4] = flags;

    const absl::StatusOr<DmaMapRequest> request = DmaMapRequest::Parse(bytes);

    const bool mmap_and_file_io = (flags & 12) == 12;
    EXPECT_EQ(request.ok(), !mmap_and_file_io);
    if (request.ok()) {
      EXPECT_EQ(request->flags.ToWire(), flags);
    }
  }
}

TEST(DmaMapRequestTest, RejectsMmapWithFileIo) {
  std::vector<uint8_t> bytes = MapBytes();
  bytes[4] = 0x0f;

  EXPECT_THAT(DmaMapRequest::Parse(bytes), IsInvalidArgument("at most one of mmap and file-io"));
}

TEST(DmaMapRequestTest, RejectsSizeZero) {
  DmaMapRequest request = Map();
  request.size = 0;

  EXPECT_THAT(DmaMapRequest::Parse(Serialize(request)), IsInvalidArgument("size is 0"));
}

TEST(DmaMapRequestTest, TakesTheLastByteAndRejectsWhatPassesIt) {
  DmaMapRequest request = Map();
  request.file_offset = 0;
  request.address = Iova{0xfffffffffffff000};
  request.size = 0x1000;
  EXPECT_TRUE(DmaMapRequest::Parse(Serialize(request)).ok());

  request.size = 0x1001;
  EXPECT_THAT(DmaMapRequest::Parse(Serialize(request)),
              IsInvalidArgument("address 0xfffffffffffff000 with size 0x1001 passes"));
}

TEST(DmaMapRequestTest, RejectsAFileRangeThatWraps) {
  DmaMapRequest request = Map();
  request.file_offset = UINT64_MAX;
  request.size = 2;

  EXPECT_THAT(DmaMapRequest::Parse(Serialize(request)), IsInvalidArgument("offset 0xffff"));
}

std::vector<uint8_t> UnmapBytes() {
  return Hex(
      "18 00 00 00"                // argsz
      "00 00 00 00"                // flags
      "00 10 00 00 00 00 00 00"    // address
      "00 20 00 00 00 00 00 00");  // size
}

DmaUnmapRequest Unmap() { return {.address = Iova{0x1000}, .size = 0x2000}; }

std::vector<uint8_t> BitmapUnmapBytes() {
  return Hex(
      "30 00 00 00"                // argsz: 24, 16, and 8 of bitmap
      "01 00 00 00"                // flags: get dirty bitmap
      "00 10 00 00 00 00 00 00"    // address
      "00 20 00 00 00 00 00 00"    // size
      "00 10 00 00 00 00 00 00"    // page size
      "08 00 00 00 00 00 00 00");  // bitmap bytes
}

DmaUnmapRequest BitmapUnmap() {
  return {.argsz = 48,
          .flags = DmaUnmapFlag::kGetDirtyBitmap,
          .address = Iova{0x1000},
          .size = 0x2000,
          .bitmap = DirtyBitmapHeader{.page_size = 0x1000, .size_bytes = 8}};
}

DmaUnmapRequest UnmapAll() { return {.flags = DmaUnmapFlag::kAll}; }

TEST(DmaUnmapRequestTest, ParsesTheSpecifiedBytes) {
  const absl::StatusOr<DmaUnmapRequest> request = DmaUnmapRequest::Parse(UnmapBytes());
  const absl::StatusOr<DmaUnmapRequest> bitmap = DmaUnmapRequest::Parse(BitmapUnmapBytes());

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, Unmap());
  ASSERT_TRUE(bitmap.ok()) << bitmap.status();
  EXPECT_EQ(*bitmap, BitmapUnmap());
}

TEST(DmaUnmapRequestTest, ParsesUnmapAll) {
  const absl::StatusOr<DmaUnmapRequest> request =
      DmaUnmapRequest::Parse(Hex("18000000 02000000 0000000000000000 0000000000000000"));

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, UnmapAll());
}

TEST(DmaUnmapRequestTest, SerializesToTheSpecifiedBytes) {
  EXPECT_EQ(Serialize(Unmap()), UnmapBytes());
  EXPECT_EQ(Serialize(BitmapUnmap()), BitmapUnmapBytes());
}

TEST(DmaUnmapRequestTest, RejectsEveryTruncation) {
  for (const std::vector<uint8_t>& bytes : {UnmapBytes(), BitmapUnmapBytes()}) {
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_THAT(DmaUnmapRequest::Parse(std::span(bytes).first(length)),
                  IsInvalidArgument("DMA_UNMAP: body is"))
          << length;
    }
  }
}

TEST(DmaUnmapRequestTest, RejectsALongerBody) {
  for (std::vector<uint8_t> bytes : {UnmapBytes(), BitmapUnmapBytes()}) {
    bytes.push_back(0);
    EXPECT_THAT(DmaUnmapRequest::Parse(bytes), IsInvalidArgument("DMA_UNMAP: body is"));
  }
}

TEST(DmaUnmapRequestTest, RejectsEveryUnknownFlag) {
  for (int bit = 2; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = UnmapBytes();
    bytes[4 + static_cast<size_t>(bit / 8)] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(DmaUnmapRequest::Parse(bytes), IsInvalidArgument("DMA_UNMAP: flags are")) << bit;
  }
}

TEST(DmaUnmapRequestTest, RejectsBothFlags) {
  DmaUnmapRequest request = BitmapUnmap();
  request.flags |= DmaUnmapFlag::kAll;

  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("at most one of them"));
}

TEST(DmaUnmapRequestTest, RejectsUnmapAllWithARange) {
  DmaUnmapRequest with_address = UnmapAll();
  with_address.address = Iova{1};
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(with_address)), IsInvalidArgument("address 0x1"));

  DmaUnmapRequest with_size = UnmapAll();
  with_size.size = 1;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(with_size)), IsInvalidArgument("size 0x1"));
}

TEST(DmaUnmapRequestTest, RejectsEmptyAndWrappingRanges) {
  DmaUnmapRequest request = Unmap();
  request.size = 0;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("size is 0"));

  request.size = UINT64_MAX;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("passes"));
}

TEST(DmaUnmapRequestTest, RejectsAnArgszThatDoesNotHoldTheReply) {
  DmaUnmapRequest request = Unmap();
  request.argsz = 23;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("argsz is 23"));

  DmaUnmapRequest without_header = BitmapUnmap();
  without_header.argsz = 39;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(without_header)), IsInvalidArgument("argsz is 39"));

  DmaUnmapRequest without_bitmap = BitmapUnmap();
  without_bitmap.argsz = 47;
  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(without_bitmap)),
              IsInvalidArgument("bitmap is 8 bytes, want at most 7"));
}

TEST(DmaUnmapRequestTest, RejectsABitmapWhoseSizeWouldWrapArgsz) {
  DmaUnmapRequest request = BitmapUnmap();
  request.argsz = UINT32_MAX;
  request.bitmap->size_bytes = UINT64_MAX - 39;

  EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("bitmap is"));
}

TEST(DmaUnmapRequestTest, RejectsAPageSizeThatIsNoPowerOfTwo) {
  DmaUnmapRequest request = BitmapUnmap();
  for (const uint64_t page_size : {uint64_t{0}, uint64_t{4097}}) {
    request.bitmap->page_size = page_size;
    EXPECT_THAT(DmaUnmapRequest::Parse(Serialize(request)), IsInvalidArgument("page_size"));
  }
}

TEST(DmaUnmapReplyTest, ParsesTheEcho) {
  const absl::StatusOr<DmaUnmapReply> reply = DmaUnmapReply::Parse(UnmapBytes());

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->echo, Unmap());
  EXPECT_TRUE(reply->bitmap.empty());
}

TEST(DmaUnmapReplyTest, ParsesTheBitmap) {
  std::vector<uint8_t> bytes = BitmapUnmapBytes();
  const std::vector<uint8_t> bitmap = Hex("03 00 00 00 00 00 00 80");
  bytes.insert(bytes.end(), bitmap.begin(), bitmap.end());

  const absl::StatusOr<DmaUnmapReply> reply = DmaUnmapReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->echo, BitmapUnmap());
  EXPECT_EQ(reply->bitmap, bitmap);
  EXPECT_EQ(Serialize(*reply), bytes);
}

TEST(DmaUnmapReplyTest, ParsesTheEmptyBodyOfADeviceWithoutDma) {
  const absl::StatusOr<DmaUnmapReply> reply = DmaUnmapReply::Parse({});

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->echo, std::nullopt);
  EXPECT_TRUE(Serialize(*reply).empty());
}

TEST(DmaUnmapReplyTest, RejectsEveryOtherTruncation) {
  std::vector<uint8_t> with_bitmap = BitmapUnmapBytes();
  with_bitmap.resize(with_bitmap.size() + 8);
  for (const std::vector<uint8_t>& bytes : {UnmapBytes(), with_bitmap}) {
    for (size_t length = 1; length < bytes.size(); ++length) {
      EXPECT_THAT(DmaUnmapReply::Parse(std::span(bytes).first(length)),
                  IsInvalidArgument("DMA_UNMAP reply: body is"))
          << length;
    }
  }
}

TEST(DmaUnmapReplyTest, RejectsABitmapSizeBeyondTheBody) {
  DmaUnmapReply reply{.echo = BitmapUnmap(), .bitmap = std::vector<uint8_t>(8)};
  for (const uint64_t size : {uint64_t{9}, uint64_t{1} << 32, UINT64_MAX - 39, UINT64_MAX}) {
    reply.echo->bitmap->size_bytes = size;
    EXPECT_THAT(DmaUnmapReply::Parse(Serialize(reply)), IsInvalidArgument("body is 48 bytes"));
  }
}

TEST(DmaUnmapReplyTest, DropsUnknownFlags) {
  std::vector<uint8_t> bytes = UnmapBytes();
  bytes[7] = 0x80;

  const absl::StatusOr<DmaUnmapReply> reply = DmaUnmapReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->echo, Unmap());
}

}  // namespace
}  // namespace vfio_user
