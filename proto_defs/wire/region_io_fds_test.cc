#include "proto_defs/wire/region_io_fds.h"

#include <cstdint>
#include <span>
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
      "60 00 00 00"    // argsz
      "00 00 00 00"    // flags
      "02 00 00 00"    // index
      "00 00 00 00");  // count
}

TEST(RegionIoFdsRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<RegionIoFdsRequest> request = RegionIoFdsRequest::Parse(RequestBytes());

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, (RegionIoFdsRequest{.argsz = 96, .index = RegionIndex::kBar2}));
  EXPECT_EQ(Serialize(*request), RequestBytes());
}

TEST(RegionIoFdsRequestTest, RejectsEveryOtherLength) {
  std::vector<uint8_t> bytes = RequestBytes();
  bytes.push_back(0);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 16) continue;
    EXPECT_THAT(RegionIoFdsRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_REGION_IO_FDS: body is"))
        << length;
  }
}

TEST(RegionIoFdsRequestTest, RejectsAShortArgszAndACount) {
  std::vector<uint8_t> argsz = RequestBytes();
  argsz[0] = 15;
  EXPECT_THAT(RegionIoFdsRequest::Parse(argsz), IsInvalidArgument("argsz is 15"));

  std::vector<uint8_t> count = RequestBytes();
  count[12] = 1;
  EXPECT_THAT(RegionIoFdsRequest::Parse(count), IsInvalidArgument("count is 1, want 0"));
}

TEST(RegionIoFdsRequestTest, RejectsEveryFlag) {
  for (size_t bit = 0; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = RequestBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(RegionIoFdsRequest::Parse(bytes), IsInvalidArgument("flags are")) << bit;
  }
}

std::vector<uint8_t> ReplyBytes() {
  return Hex(
      "60 00 00 00"                // argsz: 16 + 2 * 40
      "00 00 00 00"                // flags
      "02 00 00 00"                // index
      "02 00 00 00"                // count
      "00 10 00 00 00 00 00 00"    // offset
      "04 00 00 00 00 00 00 00"    // size
      "00 00 00 00"                // fd_index
      "00 00 00 00"                // type: ioeventfd
      "01 00 00 00"                // flags: datamatch
      "00 00 00 00"                // padding
      "2a 00 00 00 00 00 00 00"    // datamatch
      "00 20 00 00 00 00 00 00"    // offset
      "00 10 00 00 00 00 00 00"    // size
      "ff ff ff ff"                // fd_index: none
      "01 00 00 00"                // type: ioregionfd
      "00 00 00 00"                // flags
      "00 00 00 00"                // padding
      "07 00 00 00 00 00 00 00");  // user_data
}

RegionIoFdsReply Reply() {
  return {.argsz = 96,
          .index = RegionIndex::kBar2,
          .count = 2,
          .entries = {{.offset = 0x1000,
                       .size = 4,
                       .fd_index = 0,
                       .type = IoFdType::kIoEventFd,
                       .flags = 1,
                       .value = 42},
                      {.offset = 0x2000,
                       .size = 0x1000,
                       .fd_index = kNoFdIndex,
                       .type = IoFdType::kIoRegionFd,
                       .value = 7}}};
}

TEST(RegionIoFdsReplyTest, ParsesTheSpecifiedBytes) {
  const absl::StatusOr<RegionIoFdsReply> reply = RegionIoFdsReply::Parse(ReplyBytes());

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(*reply, Reply());
}

TEST(RegionIoFdsReplyTest, SerializesToTheSpecifiedBytes) {
  RegionIoFdsReply reply = Reply();
  reply.argsz = 0;  // As if nobody had set them.
  reply.count = 0;

  EXPECT_EQ(Serialize(reply), ReplyBytes());
}

TEST(RegionIoFdsReplyTest, ParsesTheLongEntriesOfLibvfioUser) {
  const absl::StatusOr<RegionIoFdsReply> reply =
      RegionIoFdsReply::Parse(Hex("40 00 00 00"                 // argsz: 16 + 48
                                  "00 00 00 00"                 // flags
                                  "00 00 00 00"                 // index
                                  "01 00 00 00"                 // count
                                  "00 10 00 00 00 00 00 00"     // offset
                                  "04 00 00 00 00 00 00 00"     // size
                                  "00 00 00 00"                 // fd_index
                                  "02 00 00 00"                 // type: shadow ioeventfd
                                  "00 00 00 00"                 // flags
                                  "01 00 00 00"                 // shadow_mem_fd_index
                                  "80 00 00 00 00 00 00 00"     // shadow_offset
                                  "2a 00 00 00 00 00 00 00"));  // datamatch

  ASSERT_TRUE(reply.ok()) << reply.status();
  ASSERT_EQ(reply->entries.size(), 1u);
  EXPECT_EQ(reply->entries[0], (IoFdEntry{.offset = 0x1000,
                                          .size = 4,
                                          .fd_index = 0,
                                          .type = IoFdType::kShadowIoEventFd,
                                          .value = 42,
                                          .shadow = ShadowMemory{.fd_index = 1, .offset = 0x80}}));
}

TEST(RegionIoFdsReplyTest, TellsCountAndArgszOfWhatDidNotFit) {
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);
  Reply().AppendTo(out, 95);
  EXPECT_EQ(bytes, Hex("60000000 00000000 02000000 02000000"));

  const absl::StatusOr<RegionIoFdsReply> reply = RegionIoFdsReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->argsz, 96u);
  EXPECT_EQ(reply->count, 2u);
  EXPECT_TRUE(reply->entries.empty());
}

TEST(RegionIoFdsReplyTest, RejectsEveryTruncationThatCutsAnEntry) {
  const std::vector<uint8_t> bytes = ReplyBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    if (length == 16) continue;
    EXPECT_THAT(RegionIoFdsReply::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_REGION_IO_FDS reply: "))
        << length;
  }
}

TEST(RegionIoFdsReplyTest, RejectsEntriesOfAnotherLength) {
  for (uint32_t entry_bytes = 0; entry_bytes < 64; ++entry_bytes) {
    if (entry_bytes == 40 || entry_bytes == 48) continue;
    std::vector<uint8_t> bytes = Hex("00000000 00000000 00000000 01000000");
    bytes[0] = static_cast<uint8_t>(16 + entry_bytes);
    bytes.resize(16 + (entry_bytes == 0 ? 40 : entry_bytes));
    EXPECT_THAT(RegionIoFdsReply::Parse(bytes), IsInvalidArgument("make entries of"))
        << entry_bytes;
  }
}

TEST(RegionIoFdsReplyTest, RejectsEntriesThatCountDoesNotHave) {
  std::vector<uint8_t> none = ReplyBytes();
  none[12] = 0;
  EXPECT_THAT(RegionIoFdsReply::Parse(none), IsInvalidArgument("count of 0"));

  std::vector<uint8_t> many = ReplyBytes();
  many[15] = 0xff;
  EXPECT_THAT(RegionIoFdsReply::Parse(many), IsInvalidArgument("make entries of 0 bytes"));

  std::vector<uint8_t> small_argsz = ReplyBytes();
  small_argsz[0] = 15;
  EXPECT_THAT(RegionIoFdsReply::Parse(small_argsz), IsInvalidArgument("argsz is 15"));
}

TEST(RegionIoFdsReplyTest, RejectsACountBeyondTheBodyBeforeItAllocates) {
  // 100,000,000 entries of 40 bytes, says the reply, and brings one.
  std::vector<uint8_t> bytes = Hex("10 28 6b ee 00000000 00000000 00e1f505");
  bytes.resize(16 + 40);

  EXPECT_THAT(RegionIoFdsReply::Parse(bytes), IsInvalidArgument("40 bytes of entries"));
}

TEST(RegionIoFdsReplyTest, RejectsASubRegionThatWraps) {
  RegionIoFdsReply reply = Reply();
  reply.entries[1].offset = UINT64_MAX;
  reply.entries[1].size = 2;

  EXPECT_THAT(RegionIoFdsReply::Parse(Serialize(reply)), IsInvalidArgument("offset 0xffff"));
}

}  // namespace
}  // namespace vfio_user
