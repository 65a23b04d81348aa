#include "proto_defs/wire/dma_access.h"

#include <cstdint>
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

std::vector<uint8_t> AccessBytes() {
  return Hex(
      "00 10 00 00 00 7f 00 00"    // address
      "03 00 00 00 00 00 00 00");  // count
}

DmaAccess Access() { return {.address = Iova{0x7f0000001000}, .count = 3}; }

std::vector<uint8_t> DataBytes() {
  return Hex(
      "00 10 00 00 00 7f 00 00"  // address
      "03 00 00 00 00 00 00 00"  // count
      "01 02 03");               // data
}

TEST(DmaAccessTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<DmaAccess> access = DmaAccess::Parse(AccessBytes(), "DMA_READ");

  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(*access, Access());
  EXPECT_EQ(Serialize(*access), AccessBytes());
}

TEST(DmaAccessTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = AccessBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    const auto body = std::span(bytes).first(length);
    EXPECT_THAT(DmaAccess::Parse(body, "DMA_READ"), IsInvalidArgument("DMA_READ: body is"))
        << length;
    EXPECT_THAT(DmaAccess::ParsePrefix(body, "DMA_WRITE"), IsInvalidArgument("DMA_WRITE: body is"))
        << length;
  }
}

TEST(DmaAccessTest, OnlyThePrefixMayBeFollowed) {
  EXPECT_THAT(DmaAccess::Parse(DataBytes(), "DMA_READ"),
              IsInvalidArgument("DMA_READ: body is 19 bytes, want 16"));

  const absl::StatusOr<DmaAccess> access = DmaAccess::ParsePrefix(DataBytes(), "DMA_READ");
  ASSERT_TRUE(access.ok()) << access.status();
  EXPECT_EQ(*access, Access());
}

TEST(DmaAccessTest, RejectsARangeThatWraps) {
  DmaAccess access{.address = Iova{1}, .count = UINT64_MAX};
  EXPECT_TRUE(DmaAccess::Parse(Serialize(access), "M").ok());

  access.address = Iova{2};
  EXPECT_THAT(DmaAccess::Parse(Serialize(access), "M"),
              IsInvalidArgument("M: address 0x2 with count 0xffffffffffffffff passes"));
  EXPECT_THAT(DmaAccess::ParsePrefix(Serialize(access), "M"), IsInvalidArgument("passes"));
}

TEST(DmaAccessTest, TakesACountOfZero) {
  EXPECT_TRUE(DmaAccess::Parse(Serialize(DmaAccess{.address = Iova{UINT64_MAX}}), "M").ok());
}

TEST(DmaWriteReplyTest, HasACountOfEightBytesOrOfFour) {
  const std::vector<uint8_t> bytes = AccessBytes();

  const absl::StatusOr<DmaAccess> eight = DmaAccess::ParseWriteReply(bytes);
  const absl::StatusOr<DmaAccess> four = DmaAccess::ParseWriteReply(std::span(bytes).first(12));

  ASSERT_TRUE(eight.ok()) << eight.status();
  EXPECT_EQ(*eight, Access());
  ASSERT_TRUE(four.ok()) << four.status();
  EXPECT_EQ(*four, Access());
}

TEST(DmaWriteReplyTest, RejectsEveryOtherLength) {
  const std::vector<uint8_t> bytes = DataBytes();
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 12 || length == 16) continue;
    EXPECT_THAT(DmaAccess::ParseWriteReply(std::span(bytes).first(length)),
                IsInvalidArgument("DMA_WRITE reply: body is"))
        << length;
  }
}

TEST(DmaWriteReplyTest, RejectsARangeThatWraps) {
  EXPECT_THAT(DmaAccess::ParseWriteReply(Hex("ffffffffffffffff 02000000")),
              IsInvalidArgument("passes"));
  EXPECT_THAT(DmaAccess::ParseWriteReply(Hex("ffffffffffffffff 0200000000000000")),
              IsInvalidArgument("passes"));
}

TEST(DmaAccessWithDataTest, BorrowsTheDataFromTheBody) {
  const std::vector<uint8_t> bytes = DataBytes();

  const absl::StatusOr<DmaAccessWithData> write = DmaAccessWithData::Parse(bytes, "DMA_WRITE");

  ASSERT_TRUE(write.ok()) << write.status();
  EXPECT_EQ(write->access, Access());
  EXPECT_EQ(write->data.data(), bytes.data() + 16);
  EXPECT_EQ(write->data.size(), 3u);
  EXPECT_EQ(Serialize(*write), bytes);
}

TEST(DmaAccessWithDataTest, RejectsEveryTruncationAndMore) {
  std::vector<uint8_t> bytes = DataBytes();
  bytes.push_back(0);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 19) continue;
    EXPECT_THAT(DmaAccessWithData::Parse(std::span(bytes).first(length), "DMA_WRITE"),
                IsInvalidArgument("DMA_WRITE: "))
        << length;
  }
}

}  // namespace
}  // namespace vfio_user
