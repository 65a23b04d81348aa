#include "proto_defs/wire/wire_writer.h"

#include <cstdint>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "proto_defs/wire/hex_bytes.h"

namespace vfio_user {
namespace {

TEST(WireWriterTest, WritesFieldsOfEveryWidthInOrder) {
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);

  out.Write<uint8_t>(0x01);
  out.Write<uint16_t>(0x0203);
  out.Write<uint32_t>(0x04050607);
  out.Write<uint64_t>(0x08090a0b0c0d0e0f);
  out.Write<int32_t>(-2);

  EXPECT_EQ(bytes, Hex("01 0302 07060504 0f0e0d0c0b0a0908 feffffff"));
}

TEST(WireWriterTest, AppendsToWhatIsThere) {
  std::vector<uint8_t> bytes = Hex("aa");
  WireWriter out(bytes);

  out.WriteBytes(Hex("01 02"));
  out.WriteZeros(3);
  out.WriteBytes(std::as_bytes(std::span("\x03", 1)));

  EXPECT_EQ(bytes, Hex("aa 0102 000000 03"));
}

struct Pair {
  void AppendTo(WireWriter& out) const {
    out.Write<uint8_t>(1);
    out.Write<uint16_t>(2);
  }
};

TEST(SerializeTest, IsTheBytesOfOneMessage) { EXPECT_EQ(Serialize(Pair()), Hex("01 0200")); }

}  // namespace
}  // namespace vfio_user
