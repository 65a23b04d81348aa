#include "proto_defs/wire/wire_reader.h"

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/invalid_argument_matcher.h"

namespace vfio_user {
namespace {

TEST(WireReaderTest, ReadsFieldsOfEveryWidthInOrder) {
  const std::vector<uint8_t> bytes =
      Hex("01"
          "03 02"
          "07 06 05 04"
          "0f 0e 0d 0c 0b 0a 09 08"
          "fe ff ff ff");
  WireReader in(bytes);

  EXPECT_EQ(in.Read<uint8_t>(), 0x01);
  EXPECT_EQ(in.Read<uint16_t>(), 0x0203);
  EXPECT_EQ(in.Read<uint32_t>(), 0x04050607u);
  EXPECT_EQ(in.Read<uint64_t>(), 0x08090a0b0c0d0e0fu);
  EXPECT_EQ(in.Read<int32_t>(), -2);
  EXPECT_TRUE(in.Finish("TEST").ok());
}

TEST(WireReaderTest, SkipTakeAndTakeRestAdvance) {
  const std::vector<uint8_t> bytes = Hex("00 01 02 03 04 05");
  WireReader in(bytes);

  in.Skip(1);
  const std::span<const uint8_t> two = in.Take(2);
  EXPECT_EQ(in.remaining(), 3u);
  const std::span<const uint8_t> rest = in.TakeRest();

  EXPECT_EQ(two.data(), bytes.data() + 1);
  EXPECT_EQ(two.size(), 2u);
  EXPECT_EQ(rest.data(), bytes.data() + 3);
  EXPECT_EQ(rest.size(), 3u);
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_TRUE(in.Finish("TEST").ok());
}

TEST(WireReaderTest, AReadPastTheEndYieldsZeroAndIsReported) {
  const std::vector<uint8_t> bytes = Hex("ff ff ff");
  WireReader in(bytes);

  EXPECT_EQ(in.Read<uint32_t>(), 0u);

  EXPECT_THAT(in.Finish("TEST"), IsInvalidArgument("TEST: body is 3 bytes, want 4"));
  EXPECT_THAT(in.FinishPrefix("TEST"), IsInvalidArgument("body is 3 bytes, want at least 4"));
}

TEST(WireReaderTest, NothingIsReadAfterAReadPastTheEnd) {
  const std::vector<uint8_t> bytes = Hex("ff ff ff");
  WireReader in(bytes);

  in.Read<uint32_t>();

  EXPECT_EQ(in.Read<uint8_t>(), 0);
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_TRUE(in.Take(0).empty());
  EXPECT_TRUE(in.TakeRest().empty());
}

TEST(WireReaderTest, AHugeCountDoesNotWrapIntoBounds) {
  const std::vector<uint8_t> bytes = Hex("01 02 03 04");
  WireReader in(bytes);

  in.Skip(2);
  EXPECT_TRUE(in.Take(std::numeric_limits<size_t>::max()).empty());

  EXPECT_TRUE(in.Take(1).empty());
  EXPECT_TRUE(in.Take(std::numeric_limits<size_t>::max()).empty());
  EXPECT_THAT(in.FinishPrefix("TEST"), IsInvalidArgument("TEST: body is 4 bytes"));
}

TEST(WireReaderTest, FinishRejectsWhatWasNotRead) {
  const std::vector<uint8_t> bytes = Hex("01 02");
  WireReader in(bytes);

  in.Read<uint8_t>();

  EXPECT_THAT(in.Finish("TEST"), IsInvalidArgument("TEST: body is 2 bytes, want 1"));
  EXPECT_TRUE(in.FinishPrefix("TEST").ok());
}

TEST(WireReaderTest, ReadsNothingFromNothing) {
  WireReader in(std::span<const uint8_t>{});

  EXPECT_TRUE(in.Finish("TEST").ok());
  EXPECT_TRUE(in.TakeRest().empty());
  EXPECT_EQ(in.Read<uint64_t>(), 0u);
  EXPECT_THAT(in.Finish("TEST"), IsInvalidArgument("body is 0 bytes, want 8"));
}

}  // namespace
}  // namespace vfio_user
