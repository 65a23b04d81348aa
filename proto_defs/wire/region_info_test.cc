#include "proto_defs/wire/region_info.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

std::vector<uint8_t> RequestBytes() {
  return Hex(
      "50 00 00 00"                // argsz
      "00 00 00 00"                // flags
      "02 00 00 00"                // index
      "00 00 00 00"                // cap_offset
      "00 00 00 00 00 00 00 00"    // size
      "00 00 00 00 00 00 00 00");  // offset
}

TEST(RegionInfoRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<RegionInfoRequest> request = RegionInfoRequest::Parse(RequestBytes());

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, (RegionInfoRequest{.argsz = 80, .index = RegionIndex::kBar2}));
  EXPECT_EQ(Serialize(*request), RequestBytes());
}

TEST(RegionInfoRequestTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = RequestBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(RegionInfoRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_REGION_INFO: body is"))
        << length;
  }
}

TEST(RegionInfoRequestTest, RejectsAShortArgsz) {
  std::vector<uint8_t> bytes = RequestBytes();
  bytes[0] = 31;

  EXPECT_THAT(RegionInfoRequest::Parse(bytes), IsInvalidArgument("argsz is 31"));
}

TEST(RegionInfoRequestTest, TakesALongerBody) {
  std::vector<uint8_t> bytes = RequestBytes();
  bytes.resize(4064);

  EXPECT_TRUE(RegionInfoRequest::Parse(bytes).ok());
}

// The 32 bytes of a reply; capabilities, if any, start right after them.
std::vector<uint8_t> PlainBytes() {
  return Hex(
      "20 00 00 00"                // argsz
      "07 00 00 00"                // flags: read, write, mmap
      "01 00 00 00"                // index
      "00 00 00 00"                // cap_offset
      "00 40 00 00 00 00 00 00"    // size
      "00 00 10 00 00 00 00 00");  // offset
}

RegionInfo Plain() {
  return {.flags = RegionFlags(RegionFlag::kRead) | RegionFlag::kWrite | RegionFlag::kMmap,
          .index = RegionIndex::kBar1,
          .size = 0x4000,
          .file_offset = 0x100000};
}

std::vector<uint8_t> WithCaps(std::string_view caps) {
  std::vector<uint8_t> bytes = PlainBytes();
  bytes[4] |= 8;   // flags: caps
  bytes[12] = 32;  // cap_offset
  const std::vector<uint8_t> tail = Hex(caps);
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  bytes[0] = static_cast<uint8_t>(bytes.size());  // argsz
  return bytes;
}

constexpr std::string_view kSparse =
    "01 00"                     // id: sparse areas
    "01 00"                     // version
    "50 00 00 00"               // next: 80
    "02 00 00 00"               // areas
    "00 00 00 00"               // reserved
    "00 00 00 00 00 00 00 00"   // first offset
    "00 10 00 00 00 00 00 00"   // first size
    "00 20 00 00 00 00 00 00"   // second offset
    "00 20 00 00 00 00 00 00";  // second size
constexpr std::string_view kType =
    "02 00"         // id: type
    "01 00"         // version
    "00 00 00 00"   // next: none
    "05 00 00 00"   // type
    "06 00 00 00";  // subtype

std::vector<uint8_t> FullBytes() { return WithCaps(std::string(kSparse) + std::string(kType)); }

RegionInfo Full() {
  RegionInfo info = Plain();
  info.argsz = 96;
  info.flags |= RegionFlag::kCaps;
  info.sparse_areas = {{.offset = 0, .size = 0x1000}, {.offset = 0x2000, .size = 0x2000}};
  info.type = RegionType{.type = 5, .subtype = 6};
  return info;
}

TEST(RegionInfoTest, ParsesAReplyWithoutCapabilities) {
  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(PlainBytes());

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(*info, Plain());
  EXPECT_EQ(Serialize(*info), PlainBytes());
}

TEST(RegionInfoTest, ParsesBothCapabilities) {
  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(FullBytes());

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(*info, Full());
}

TEST(RegionInfoTest, SerializesToTheSpecifiedBytes) {
  RegionInfo info = Full();
  info.argsz = 1;                           // As if nobody had set it.
  info.flags = info.flags & Plain().flags;  // Nor this.

  EXPECT_EQ(Serialize(info), FullBytes());
  EXPECT_EQ(info.FullSize(), 96u);
}

TEST(RegionInfoTest, SerializesOneCapabilityAlone) {
  RegionInfo sparse = Full();
  sparse.type.reset();
  EXPECT_EQ(sparse.FullSize(), 80u);
  EXPECT_EQ(Serialize(sparse).size(), 80u);
  EXPECT_EQ(RegionInfo::Parse(Serialize(sparse))->sparse_areas, Full().sparse_areas);

  RegionInfo type = Full();
  type.sparse_areas.reset();
  EXPECT_EQ(type.FullSize(), 48u);
  EXPECT_EQ(Serialize(type), WithCaps(kType));
}

TEST(RegionInfoTest, TellsAnEmptyListOfAreasFromNone) {
  const absl::StatusOr<RegionInfo> info =
      RegionInfo::Parse(WithCaps("0100 0100 00000000 00000000 00000000"));

  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_TRUE(info->sparse_areas.has_value());
  EXPECT_TRUE(info->sparse_areas->empty());
}

TEST(RegionInfoTest, SerializesOnlyTheStartForASmallArgsz) {
  std::vector<uint8_t> expected = PlainBytes();
  expected[0] = 96;  // argsz: what to ask for

  for (uint32_t max_bytes = 32; max_bytes < 96; ++max_bytes) {
    std::vector<uint8_t> bytes;
    WireWriter out(bytes);
    Full().AppendTo(out, max_bytes);
    EXPECT_EQ(bytes, expected) << max_bytes;
  }
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);
  Full().AppendTo(out, 96);
  EXPECT_EQ(bytes, FullBytes());
}

TEST(RegionInfoTest, ReturnsTheArgszToAskWith) {
  std::vector<uint8_t> bytes = PlainBytes();
  bytes[0] = 96;

  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(bytes);

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->argsz, 96u);
  EXPECT_FALSE(info->flags.Has(RegionFlag::kCaps));
}

TEST(RegionInfoTest, RejectsEveryTruncation) {
  for (const std::vector<uint8_t>& bytes : {PlainBytes(), FullBytes()}) {
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_THAT(RegionInfo::Parse(std::span(bytes).first(length)),
                  IsInvalidArgument("DEVICE_GET_REGION_INFO reply: "))
          << length;
    }
  }
}

TEST(RegionInfoTest, DropsUnknownFlags) {
  for (size_t bit = 4; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = PlainBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);

    const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(bytes);

    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(*info, Plain());
  }
}

TEST(RegionInfoTest, SkipsUnknownCapabilities) {
  const absl::StatusOr<RegionInfo> info =
      RegionInfo::Parse(WithCaps("63 00 07 00 28 00 00 00"  // id 99, version 7, next: 40
                                 "02 00 01 00 00 00 00 00 05 00 00 00 06 00 00 00"));

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->type, (RegionType{.type = 5, .subtype = 6}));
}

TEST(RegionInfoTest, TakesCapabilitiesInAnyOrder) {
  std::vector<uint8_t> bytes = WithCaps(
      "02 00 01 00 00 00 00 00 05 00 00 00 06 00 00 00"    // @32, the last one
      "01 00 01 00 20 00 00 00 00 00 00 00 00 00 00 00");  // @48, next: 32
  bytes[12] = 48;

  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(bytes);

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->type.has_value());
  EXPECT_TRUE(info->sparse_areas.has_value());
}

TEST(RegionInfoTest, TakesTheCapsFlagWithoutAnOffsetForNoCapabilities) {
  std::vector<uint8_t> bytes = FullBytes();
  bytes[12] = 0;

  const absl::StatusOr<RegionInfo> info = RegionInfo::Parse(bytes);

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->sparse_areas, std::nullopt);
}

TEST(RegionInfoTest, IgnoresTheOffsetWithoutTheCapsFlag) {
  std::vector<uint8_t> bytes = PlainBytes();
  bytes[12] = 0xff;

  EXPECT_TRUE(RegionInfo::Parse(bytes).ok());
}

TEST(RegionInfoTest, RejectsAChainThatStartsInsideTheFixedPart) {
  for (uint8_t offset = 1; offset < 32; ++offset) {
    std::vector<uint8_t> bytes = FullBytes();
    bytes[12] = offset;
    EXPECT_THAT(RegionInfo::Parse(bytes), IsInvalidArgument("capability at")) << int{offset};
  }
}

TEST(RegionInfoTest, RejectsAChainThatLeavesTheBody) {
  for (const uint32_t offset : {96u, 97u, 0x80000000u, UINT32_MAX}) {
    std::vector<uint8_t> start = FullBytes();
    std::memcpy(&start[12], &offset, sizeof(offset));
    EXPECT_THAT(RegionInfo::Parse(start), IsInvalidArgument("capability at")) << offset;

    std::vector<uint8_t> next = FullBytes();
    std::memcpy(&next[36], &offset, sizeof(offset));
    EXPECT_THAT(RegionInfo::Parse(next), IsInvalidArgument("capability at")) << offset;
  }
}

TEST(RegionInfoTest, RejectsAnUnknownCapabilityThatIsItsOwnSuccessor) {
  EXPECT_THAT(RegionInfo::Parse(WithCaps("63 00 01 00 20 00 00 00")),
              IsInvalidArgument("does not end"));
}

TEST(RegionInfoTest, RejectsTwoCapabilitiesThatPointAtEachOther) {
  EXPECT_THAT(RegionInfo::Parse(WithCaps("63 00 01 00 28 00 00 00"
                                         "64 00 01 00 20 00 00 00")),
              IsInvalidArgument("does not end"));
}

TEST(RegionInfoTest, RejectsACapabilityThatIsThereTwice) {
  EXPECT_THAT(RegionInfo::Parse(WithCaps("02 00 01 00 30 00 00 00 05 00 00 00 06 00 00 00"
                                         "02 00 01 00 00 00 00 00 05 00 00 00 06 00 00 00")),
              IsInvalidArgument("capability 2 is there twice"));
  EXPECT_THAT(RegionInfo::Parse(WithCaps("01 00 01 00 30 00 00 00 00 00 00 00 00 00 00 00"
                                         "01 00 01 00 00 00 00 00 00 00 00 00 00 00 00 00")),
              IsInvalidArgument("capability 1 is there twice"));
}

TEST(RegionInfoTest, RejectsAKnownCapabilityOfAnotherVersion) {
  std::vector<uint8_t> bytes = FullBytes();
  bytes[34] = 2;

  EXPECT_THAT(RegionInfo::Parse(bytes), IsInvalidArgument("capability 1 has version 2, want 1"));
}

TEST(RegionInfoTest, RejectsMoreAreasThanTheBodyHolds) {
  for (const uint32_t count : {4u, 0x10000000u, 0x10000001u, UINT32_MAX}) {
    std::vector<uint8_t> bytes = FullBytes();
    std::memcpy(&bytes[40], &count, sizeof(count));
    EXPECT_THAT(RegionInfo::Parse(bytes), IsInvalidArgument("sparse areas")) << count;
  }
}

TEST(RegionInfoTest, RejectsAnAreaOutsideTheRegion) {
  RegionInfo info = Full();
  info.sparse_areas = {{.offset = 0x4000, .size = 1}};
  EXPECT_THAT(RegionInfo::Parse(Serialize(info)), IsInvalidArgument("sparse area at 0x4000"));

  info.sparse_areas = {{.offset = 0x1000, .size = UINT64_MAX}};
  EXPECT_THAT(RegionInfo::Parse(Serialize(info)), IsInvalidArgument("sparse area at 0x1000"));

  info.sparse_areas = {{.offset = UINT64_MAX, .size = 1}};
  EXPECT_THAT(RegionInfo::Parse(Serialize(info)), IsInvalidArgument("sparse area at"));

  info.sparse_areas = {{.offset = 0x4000, .size = 0}, {.offset = 0, .size = 0x4000}};
  EXPECT_TRUE(RegionInfo::Parse(Serialize(info)).ok());
}

TEST(RegionInfoTest, RejectsAFileRangeThatWrapsWhereItIsUsed) {
  RegionInfo info = Plain();
  info.file_offset = UINT64_MAX - 1;
  EXPECT_THAT(RegionInfo::Parse(Serialize(info)), IsInvalidArgument("offset 0xffff"));

  info.flags = RegionFlag::kRead;
  EXPECT_TRUE(RegionInfo::Parse(Serialize(info)).ok());
}

}  // namespace
}  // namespace vfio_user
