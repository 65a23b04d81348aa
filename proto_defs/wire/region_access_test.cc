#include "proto_defs/wire/region_access.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/limits.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

std::vector<uint8_t> AccessBytes() {
  return Hex(
      "18 00 00 00 00 00 00 00"  // offset
      "07 00 00 00"              // region
      "04 00 00 00");            // count
}

RegionAccess Access() { return {.offset = 0x18, .region = RegionIndex::kConfig, .count = 4}; }

std::vector<uint8_t> DataBytes() {
  return Hex(
      "18 00 00 00 00 00 00 00"  // offset
      "07 00 00 00"              // region
      "04 00 00 00"              // count
      "44 43 50 59");            // data
}

TEST(RegionAccessTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<RegionAccess> access = RegionAccess::Parse(AccessBytes(), "REGION_READ");

  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(*access, Access());
  EXPECT_EQ(Serialize(*access), AccessBytes());
}

TEST(RegionAccessTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = AccessBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto body = std::span(bytes).first(length);
    EXPECT_THAT(RegionAccess::Parse(body, "REGION_READ"), IsInvalidArgument("REGION_READ: body is"))
        << length;
    EXPECT_THAT(RegionAccess::ParsePrefix(body, "REGION_WRITE"),
                IsInvalidArgument("REGION_WRITE: body is"))
        << length;
  }
}

TEST(RegionAccessTest, OnlyThePrefixMayBeFollowed) {
  EXPECT_THAT(RegionAccess::Parse(DataBytes(), "REGION_READ"),
              IsInvalidArgument("body is 20 bytes, want 16"));

  const absl::StatusOr<RegionAccess> access = RegionAccess::ParsePrefix(DataBytes(), "REGION_READ");
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(*access, Access());
}

TEST(RegionAccessTest, RejectsARangeThatWraps) {
  RegionAccess access = Access();
  access.offset = UINT64_MAX - 3;
  EXPECT_TRUE(RegionAccess::Parse(Serialize(access), "M").ok());

  access.offset = UINT64_MAX - 2;
  EXPECT_THAT(RegionAccess::Parse(Serialize(access), "M"), IsInvalidArgument("passes 2^64 - 1"));
  EXPECT_THAT(RegionAccess::ParsePrefix(Serialize(access), "M"), IsInvalidArgument("passes"));
}

TEST(RegionAccessTest, TakesACountOfZero) {
  RegionAccess access = Access();
  access.count = 0;

  EXPECT_TRUE(RegionAccess::Parse(Serialize(access), "M").ok());
}

TEST(RegionAccessWithDataTest, BorrowsTheDataFromTheBody) {
  const std::vector<uint8_t> bytes = DataBytes();

  const absl::StatusOr<RegionAccessWithData> write =
      RegionAccessWithData::Parse(bytes, "REGION_WRITE");

  ASSERT_TRUE(write.ok()) << write.status();
  EXPECT_EQ(write->access, Access());
  EXPECT_EQ(write->data.data(), bytes.data() + 16);
  EXPECT_EQ(write->data.size(), 4u);
  EXPECT_EQ(Serialize(*write), bytes);
}

TEST(RegionAccessWithDataTest, RejectsEveryTruncationAndMore) {
  std::vector<uint8_t> bytes = DataBytes();
  bytes.push_back(0);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 20) continue;
    EXPECT_THAT(RegionAccessWithData::Parse(std::span(bytes).first(length), "REGION_WRITE"),
                IsInvalidArgument("REGION_WRITE: "))
        << length;
  }
}

TEST(RegionAccessWithDataTest, SaysBothLengths) {
  const std::vector<uint8_t> bytes = DataBytes();

  EXPECT_THAT(RegionAccessWithData::Parse(std::span(bytes).first(19), "REGION_WRITE"),
              IsInvalidArgument("REGION_WRITE: data is 3 bytes, want count, 4"));
}

std::vector<uint8_t> MultiBytes() {
  return Hex(
      "02 00 00 00 00 00 00 00"    // wr_cnt
      "00 10 00 00 00 00 00 00"    // offset
      "00 00 00 00"                // region
      "04 00 00 00"                // count
      "01 02 03 04 00 00 00 00"    // data
      "08 00 00 00 00 00 00 00"    // offset
      "02 00 00 00"                // region
      "08 00 00 00"                // count
      "11 12 13 14 15 16 17 18");  // data
}

WriteMultiRequest Multi() {
  return {.entries = {{.access = {.offset = 0x1000, .region = RegionIndex::kBar0, .count = 4},
                       .data = {1, 2, 3, 4}},
                      {.access = {.offset = 8, .region = RegionIndex::kBar2, .count = 8},
                       .data = {0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18}}}};
}

TEST(WriteMultiRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<WriteMultiRequest> request = WriteMultiRequest::Parse(MultiBytes());

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, Multi());
  EXPECT_EQ(Serialize(*request), MultiBytes());
}

TEST(WriteMultiRequestTest, RejectsEveryTruncationAndMore) {
  std::vector<uint8_t> bytes = MultiBytes();
  bytes.push_back(0);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 56) continue;
    EXPECT_THAT(WriteMultiRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("REGION_WRITE_MULTI: "))
        << length;
  }
}

TEST(WriteMultiRequestTest, RejectsCountsThatWouldWrap) {
  // 2^61 * 24 is 0 in 64 bits, and the last one is 48: the bytes that are there.
  for (const uint64_t count :
       {uint64_t{3}, kMaxWriteMultiEntries + 1, uint64_t{1} << 61, (uint64_t{1} << 61) + 2}) {
    std::vector<uint8_t> bytes = MultiBytes();
    std::memcpy(bytes.data(), &count, sizeof(count));
    EXPECT_THAT(WriteMultiRequest::Parse(bytes), IsInvalidArgument("REGION_WRITE_MULTI: "))
        << count;
  }
}

TEST(WriteMultiRequestTest, RejectsAnEntryOfMoreThanEightBytes) {
  WriteMultiRequest request = Multi();
  request.entries[1].access.count = 9;

  EXPECT_THAT(WriteMultiRequest::Parse(Serialize(request)), IsInvalidArgument("count is 9"));
}

TEST(WriteMultiRequestTest, RejectsARangeThatWraps) {
  WriteMultiRequest request = Multi();
  request.entries[1].access.offset = UINT64_MAX - 6;

  EXPECT_THAT(WriteMultiRequest::Parse(Serialize(request)), IsInvalidArgument("passes"));
}

TEST(WriteMultiReplyTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes = Hex("02 00 00 00 00 00 00 00");

  const absl::StatusOr<WriteMultiReply> reply = WriteMultiReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->done, 2u);
  EXPECT_EQ(Serialize(*reply), bytes);
}

TEST(WriteMultiReplyTest, RejectsEveryOtherLength) {
  const std::vector<uint8_t> bytes(9);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 8) continue;
    EXPECT_THAT(WriteMultiReply::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("REGION_WRITE_MULTI reply: body is"))
        << length;
  }
}

}  // namespace
}  // namespace vfio_user
