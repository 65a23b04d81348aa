#include "proto_defs/wire/irq.h"

#include <cstdint>
#include <cstring>
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

TEST(IrqInfoRequestTest, ParsesAndSerializesTheSpecifiedBytes) {
  const std::vector<uint8_t> bytes =
      Hex("10 00 00 00"    // argsz
          "00 00 00 00"    // flags
          "02 00 00 00"    // index
          "00 00 00 00");  // count

  const absl::StatusOr<IrqInfoRequest> request = IrqInfoRequest::Parse(bytes);

  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(*request, IrqInfoRequest{.index = IrqIndex::kMsix});
  EXPECT_EQ(Serialize(*request), bytes);
}

TEST(IrqInfoRequestTest, RejectsEveryTruncationAndAShortArgsz) {
  const std::vector<uint8_t> bytes = Serialize(IrqInfoRequest());
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(IrqInfoRequest::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_IRQ_INFO: body is"))
        << length;
  }
  EXPECT_THAT(IrqInfoRequest::Parse(Serialize(IrqInfoRequest{.argsz = 15})),
              IsInvalidArgument("argsz is 15"));
}

std::vector<uint8_t> InfoBytes() {
  return Hex(
      "10 00 00 00"    // argsz
      "09 00 00 00"    // flags: eventfd, noresize
      "02 00 00 00"    // index
      "00 08 00 00");  // count
}

IrqInfo Info() {
  return {.flags = IrqInfoFlags(IrqInfoFlag::kEventfd) | IrqInfoFlag::kNoresize,
          .index = IrqIndex::kMsix,
          .count = 2048};
}

TEST(IrqInfoTest, ParsesAndSerializesTheSpecifiedBytes) {
  const absl::StatusOr<IrqInfo> info = IrqInfo::Parse(InfoBytes());

  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(*info, Info());
  EXPECT_EQ(Serialize(*info), InfoBytes());
}

TEST(IrqInfoTest, RejectsEveryTruncation) {
  const std::vector<uint8_t> bytes = InfoBytes();
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_THAT(IrqInfo::Parse(std::span(bytes).first(length)),
                IsInvalidArgument("DEVICE_GET_IRQ_INFO reply: body is"))
        << length;
  }
}

TEST(IrqInfoTest, DropsWhatANewerServerAdds) {
  for (size_t bit = 4; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = InfoBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    bytes.resize(20);

    const absl::StatusOr<IrqInfo> info = IrqInfo::Parse(bytes);

    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(*info, Info());
  }
}

std::vector<uint8_t> SetBytes() {
  return Hex(
      "14 00 00 00"    // argsz
      "24 00 00 00"    // flags: eventfd, trigger
      "02 00 00 00"    // index
      "03 00 00 00"    // start
      "02 00 00 00");  // count
}

SetIrqsRequest Set() {
  return {.data = IrqData::kEventfd,
          .action = IrqAction::kTrigger,
          .index = IrqIndex::kMsix,
          .start = 3,
          .count = 2};
}

std::vector<uint8_t> SetBoolBytes() {
  return Hex(
      "17 00 00 00"  // argsz
      "0a 00 00 00"  // flags: bool, mask
      "01 00 00 00"  // index
      "00 00 00 00"  // start
      "03 00 00 00"  // count
      "01 00 ff");   // bools
}

SetIrqsRequest SetBool() {
  return {.argsz = 23,
          .data = IrqData::kBool,
          .action = IrqAction::kMask,
          .index = IrqIndex::kMsi,
          .count = 3,
          .bools = {1, 0, 255}};
}

TEST(SetIrqsRequestTest, ParsesTheSpecifiedBytes) {
  const absl::StatusOr<SetIrqsRequest> set = SetIrqsRequest::Parse(SetBytes());
  const absl::StatusOr<SetIrqsRequest> set_bool = SetIrqsRequest::Parse(SetBoolBytes());

  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(*set, Set());
  ASSERT_TRUE(set_bool.ok()) << set_bool.status();
  EXPECT_EQ(*set_bool, SetBool());
}

TEST(SetIrqsRequestTest, SerializesToTheSpecifiedBytes) {
  EXPECT_EQ(Serialize(Set()), SetBytes());
  EXPECT_EQ(Serialize(SetBool()), SetBoolBytes());
}

TEST(SetIrqsRequestTest, RejectsEveryTruncation) {
  for (const std::vector<uint8_t>& bytes : {SetBytes(), SetBoolBytes()}) {
    for (size_t length = 0; length < bytes.size(); ++length) {
      EXPECT_THAT(SetIrqsRequest::Parse(std::span(bytes).first(length)),
                  IsInvalidArgument("DEVICE_SET_IRQS: body is"))
          << length;
    }
  }
}

TEST(SetIrqsRequestTest, RejectsALongerBody) {
  for (std::vector<uint8_t> bytes : {SetBytes(), SetBoolBytes()}) {
    bytes.push_back(1);
    EXPECT_THAT(SetIrqsRequest::Parse(bytes), IsInvalidArgument("DEVICE_SET_IRQS: body is"));
  }
}

TEST(SetIrqsRequestTest, RejectsAShortArgsz) {
  SetIrqsRequest request = Set();
  request.argsz = 19;

  EXPECT_THAT(SetIrqsRequest::Parse(Serialize(request)), IsInvalidArgument("argsz is 19"));
}

TEST(SetIrqsRequestTest, RejectsEveryUnknownFlag) {
  for (size_t bit = 6; bit < 32; ++bit) {
    std::vector<uint8_t> bytes = SetBytes();
    bytes[4 + bit / 8] |= static_cast<uint8_t>(1 << bit % 8);
    EXPECT_THAT(SetIrqsRequest::Parse(bytes), IsInvalidArgument("want only bits of 0x3f")) << bit;
  }
}

TEST(SetIrqsRequestTest, WantsOneDataAndOneActionBit) {
  for (uint8_t flags = 0; flags < 64; ++flags) {
    SCOPED_TRACE(int{flags});
    const uint8_t data = flags & 7;
    const uint8_t action = flags & 56;
    const bool good =
        (data == 1 || data == 2 || data == 4) && (action == 8 || action == 16 || action == 32);
    std::vector<uint8_t> bytes = SetBytes();
    bytes[4] = flags;
    if (data == 2) bytes.resize(22, 1);

    const absl::StatusOr<SetIrqsRequest> request = SetIrqsRequest::Parse(bytes);

    if (!good) {
      EXPECT_THAT(request, IsInvalidArgument("want one bit of 0x7 and one of 0x38"));
    } else {
      ASSERT_TRUE(request.ok()) << request.status();
      EXPECT_EQ(request->data, IrqData{data});
      EXPECT_EQ(request->action, IrqAction{action});
    }
  }
}

TEST(SetIrqsRequestTest, RejectsVectorsThatPassTheLastNumber) {
  SetIrqsRequest request = Set();
  request.start = UINT32_MAX - 1;
  request.count = 1;
  EXPECT_TRUE(SetIrqsRequest::Parse(Serialize(request)).ok());

  request.count = 2;
  EXPECT_THAT(SetIrqsRequest::Parse(Serialize(request)), IsInvalidArgument("passes 2^32 - 1"));
}

TEST(SetIrqsRequestTest, TakesCountZeroOnlyToDisableTheWholeType) {
  for (const IrqData data : {IrqData::kNone, IrqData::kBool, IrqData::kEventfd}) {
    for (const IrqAction action : {IrqAction::kMask, IrqAction::kUnmask, IrqAction::kTrigger}) {
      for (const uint32_t start : {0u, 1u}) {
        const SetIrqsRequest request{.data = data, .action = action, .start = start};
        const bool disables = data == IrqData::kNone && action == IrqAction::kTrigger && start == 0;
        EXPECT_EQ(SetIrqsRequest::Parse(Serialize(request)).ok(), disables);
      }
    }
  }
}

TEST(SetIrqsRequestTest, RejectsACountOfBoolsBeyondTheBody) {
  std::vector<uint8_t> bytes = SetBoolBytes();
  const uint32_t count = UINT32_MAX;
  std::memcpy(&bytes[16], &count, sizeof(count));

  EXPECT_THAT(SetIrqsRequest::Parse(bytes), IsInvalidArgument("body is 23 bytes"));
}

}  // namespace
}  // namespace vfio_user
