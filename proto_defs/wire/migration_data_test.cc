#include "proto_defs/wire/migration_data.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

TEST(MigDataReadRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes =
      Hex("48 00 00 00"    // argsz
          "40 00 00 00");  // size

  const absl::StatusOr<MigDataReadRequest> request = MigDataReadRequest::Parse(bytes);

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, (MigDataReadRequest{.argsz = 72, .size = 64}));
  EXPECT_EQ(Serialize(*request), bytes);
}

TEST(MigDataReadRequestTest, RejectsEveryOtherLength) {
  std::vector<uint8_t> bytes = Hex("48000000 40000000 00");
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 8) continue;
    EXPECT_THAT(MigDataReadRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("MIG_DATA_READ: body is"))
        << length;
  }
}

TEST(MigDataReadRequestTest, RejectsAnArgszThatDoesNotHoldTheReply) {
  EXPECT_THAT(MigDataReadRequest::Parse(Hex("47000000 40000000")),
              IsInvalidArgument("argsz is 71, want at least 72"));
  EXPECT_THAT(MigDataReadRequest::Parse(Hex("ffffffff f8ffffff")),
              IsInvalidArgument("want at least 4294967296"));
}

std::vector<uint8_t> DataBytes() {
  return Hex(
      "0b 00 00 00"  // argsz
      "03 00 00 00"  // size
      "01 02 03");   // data
}

TEST(MigDataReadReplyTest, BorrowsTheDataFromTheBody) {
  const std::vector<uint8_t> bytes = DataBytes();

  const absl::StatusOr<MigDataReadReply> reply = MigDataReadReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->data.data(), bytes.data() + 8);
  EXPECT_EQ(reply->data.size(), 3u);
  EXPECT_EQ(Serialize(*reply), bytes);
}

TEST(MigDataReadReplyTest, TrustsTheSizeOfALongerBody) {
  std::vector<uint8_t> bytes = DataBytes();
  bytes.resize(72);

  const absl::StatusOr<MigDataReadReply> reply = MigDataReadReply::Parse(bytes);

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->data.size(), 3u);
}

TEST(MigDataReadReplyTest, ParsesTheEndOfTheData) {
  const absl::StatusOr<MigDataReadReply> reply = MigDataReadReply::Parse(Hex("08000000 00000000"));

  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->data.empty());
}

TEST(MigDataReadReplyTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = DataBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(MigDataReadReply::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("MIG_DATA_READ reply: body is"))
        << length;
  }
}

TEST(MigDataReadReplyTest, RejectsASizeBeyondTheBody) {
  std::vector<uint8_t> bytes = DataBytes();
  const uint32_t size = UINT32_MAX;
  std::memcpy(&bytes[4], &size, sizeof(size));

  EXPECT_THAT(MigDataReadReply::Parse(bytes), IsInvalidArgument("body is 11 bytes"));
}

TEST(MigDataWriteRequestTest, BorrowsTheDataFromTheBody) {
  const std::vector<uint8_t> bytes = DataBytes();

  const absl::StatusOr<MigDataWriteRequest> request = MigDataWriteRequest::Parse(bytes);

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->data.data(), bytes.data() + 8);
  EXPECT_EQ(request->data.size(), 3u);
  EXPECT_EQ(Serialize(*request), bytes);
}

TEST(MigDataWriteRequestTest, RejectsEveryOtherLength) {
  std::vector<uint8_t> bytes = DataBytes();
  bytes.push_back(4);
  for (size_t length = 0; length <= bytes.size(); ++length) {
    if (length == 11) continue;
    EXPECT_THAT(MigDataWriteRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("MIG_DATA_WRITE: body is"))
        << length;
  }
}

TEST(MigDataWriteRequestTest, RejectsAShortArgsz) {
  std::vector<uint8_t> bytes = DataBytes();
  bytes[0] = 10;

  EXPECT_THAT(MigDataWriteRequest::Parse(bytes), IsInvalidArgument("argsz is 10"));
}

}  // namespace
}  // namespace vfio_user
