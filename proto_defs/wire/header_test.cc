#include "proto_defs/wire/header.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/limits.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

MessageHeader ParseHex(std::string_view text) {
  const std::vector<uint8_t> bytes = Hex(text);
  return MessageHeader::Parse(std::span<const uint8_t, kHeaderBytes>(bytes));
}

TEST(MessageHeaderTest, ParsesACommand) {
  const MessageHeader header = ParseHex(
      "34 12"          // msg_id
      "02 00"          // command: DMA_MAP
      "30 00 00 00"    // msg_size
      "00 00 00 00"    // flags: a command
      "00 00 00 00");  // error

  EXPECT_EQ(header.msg_id, 0x1234);
  EXPECT_EQ(header.command, Command::kDmaMap);
  EXPECT_EQ(header.msg_size, 48u);
  EXPECT_TRUE(header.is_command());
  EXPECT_FALSE(header.is_reply());
  EXPECT_FALSE(header.no_reply);
  EXPECT_FALSE(header.error_flag);
  EXPECT_EQ(header.error, 0u);
}

TEST(MessageHeaderTest, ParsesAnErrorReply) {
  const MessageHeader header = ParseHex(
      "ff ff"          // msg_id
      "0b 00"          // command: DMA_READ
      "10 00 00 00"    // msg_size
      "21 00 00 00"    // flags: a reply, with Error
      "0e 00 00 00");  // error: EFAULT

  EXPECT_TRUE(header.is_reply());
  EXPECT_FALSE(header.is_command());
  EXPECT_TRUE(header.error_flag);
  EXPECT_EQ(header.error, static_cast<uint32_t>(EFAULT));
}

TEST(MessageHeaderTest, ReadsEachFlagFromItsBit) {
  for (uint32_t bit = 0; bit < 32; ++bit) {
    SCOPED_TRACE(bit);
    const uint32_t flags = uint32_t{1} << bit;
    std::vector<uint8_t> bytes = Hex("0000 0100 10000000 00000000 00000000");
    for (size_t i = 0; i < 4; ++i) bytes[8 + i] = static_cast<uint8_t>(flags >> (8 * i));

    const auto header = MessageHeader::Parse(std::span<const uint8_t, kHeaderBytes>(bytes));

    EXPECT_EQ(header.type, bit < 4 ? 1u << bit : 0u);
    EXPECT_EQ(header.no_reply, bit == 4);
    EXPECT_EQ(header.error_flag, bit == 5);
  }
}

TEST(MessageHeaderTest, AnyOtherTypeIsNeitherCommandNorReply) {
  for (uint8_t type = 2; type < 16; ++type) {
    MessageHeader header;
    header.type = type;
    EXPECT_FALSE(header.is_command());
    EXPECT_FALSE(header.is_reply());
  }
}

TEST(MessageHeaderTest, SerializesEveryField) {
  MessageHeader header;
  header.msg_id = 0x1234;
  header.command = Command::kRegionWrite;
  header.msg_size = 0x01020304;
  header.no_reply = true;
  header.error_flag = true;
  header.error = 0x0a0b0c0d;

  EXPECT_THAT(header.Serialize(), ElementsAreArray(Hex("34 12"
                                                       "0a 00"
                                                       "04 03 02 01"
                                                       "30 00 00 00"
                                                       "0d 0c 0b 0a")));
}

TEST(MessageHeaderTest, ATypeOfMoreThanFourBitsDoesNotSpillIntoOtherFlags) {
  MessageHeader header;
  header.type = 0xff;

  EXPECT_EQ(header.Serialize()[8], 0x0f);
}

TEST(MessageHeaderTest, SurvivesTheRoundTrip) {
  MessageHeader header;
  header.msg_id = 7;
  header.command = Command{0xabcd};
  header.msg_size = UINT32_MAX;
  header.type = 9;
  header.no_reply = true;
  header.error = 5;

  EXPECT_EQ(MessageHeader::Parse(header.Serialize()), header);
}

TEST(MessageHeaderTest, ReplyEchoesIdAndCommandOnly) {
  MessageHeader command;
  command.msg_id = 77;
  command.command = Command::kDmaUnmap;
  command.msg_size = 40;
  command.no_reply = true;
  command.error = 3;

  EXPECT_THAT(command.Reply().Serialize(),
              ElementsAreArray(Hex("4d00 0300 10000000 01000000 00000000")));
  EXPECT_THAT(command.Reply(ENOENT).Serialize(),
              ElementsAreArray(Hex("4d00 0300 10000000 21000000 02000000")));
}

TEST(PeerErrorTest, KeepsTheErrnoAndNamesTheCommand) {
  const absl::Status status = PeerError(Command::kDmaMap, EEXIST);

  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrnoOf(status), EEXIST);
  EXPECT_THAT(std::string(status.message()), HasSubstr("DMA_MAP refused by the peer"));
}

TEST(PeerErrorTest, IsEioForWhatIsNoErrno) {
  EXPECT_EQ(ErrnoOf(PeerError(Command::kDmaMap, 0)), EIO);
  EXPECT_EQ(ErrnoOf(PeerError(Command::kDmaMap, kMaxWireErrno + 1)), EIO);
  EXPECT_EQ(ErrnoOf(PeerError(Command::kDmaMap, UINT32_MAX)), EIO);
  EXPECT_FALSE(PeerError(Command::kDmaMap, 0).ok());
}

TEST(PeerErrorTest, DoesNotLookLikeALostConnection) {
  for (const int error : {ETIMEDOUT, ENOTCONN, ECONNRESET, EPIPE, ETIME, ENETDOWN}) {
    const absl::Status status = PeerError(Command::kDmaMap, static_cast<uint32_t>(error));
    EXPECT_NE(status.code(), absl::StatusCode::kDeadlineExceeded) << error;
    EXPECT_NE(status.code(), absl::StatusCode::kUnavailable) << error;
    EXPECT_EQ(ErrnoOf(status), error);
  }
}

TEST(ToWireErrnoTest, IsTheErrnoOfTheStatusOrOneForItsCode) {
  EXPECT_EQ(ToWireErrno(ErrnoStatus(ENOSPC, "table")), static_cast<uint32_t>(ENOSPC));
  EXPECT_EQ(ToWireErrno(absl::InvalidArgumentError("argsz")), static_cast<uint32_t>(EINVAL));
}

TEST(ToWireErrnoTest, IsNeverZeroForAnError) {
  for (int code = 1; code <= 16; ++code) {
    const uint32_t error = ToWireErrno(absl::Status(static_cast<absl::StatusCode>(code), "x"));
    EXPECT_GE(error, 1u) << code;
    EXPECT_LE(error, kMaxWireErrno) << code;
  }
}

}  // namespace
}  // namespace vfio_user
