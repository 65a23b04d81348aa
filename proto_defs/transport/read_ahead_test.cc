#include "proto_defs/transport/read_ahead.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/header.h"
#include "tests/testing/memfd.h"

namespace vfio_user {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ReadAheadTest : public testing::Test {
 protected:
  // Receives `bytes` bytes: messages that say `sizes`, one after the other, with a descriptor.
  void FillWith(std::vector<uint32_t> sizes, size_t bytes) {
    size_t at = 0;
    for (const uint32_t size : sizes) {
      const std::array<uint8_t, kHeaderBytes> header = MessageHeader{.msg_size = size}.Serialize();
      std::ranges::copy(header, ahead_.Room().subspan(at).begin());
      at += size;
    }
    std::vector<UniqueFd> fds;
    fds.push_back(Memfd("abc"));
    ahead_.Fill(bytes, std::move(fds));
  }

  // Takes what is the rest of a message of this size.
  void Skip(size_t bytes) {
    std::vector<uint8_t> sink(bytes);
    ASSERT_EQ(ahead_.Take(sink), bytes);
  }

  ReadAhead ahead_;
};

TEST_F(ReadAheadTest, IsEmptyAtFirst) {
  std::array<uint8_t, 4> none;

  EXPECT_TRUE(ahead_.empty());
  EXPECT_EQ(ahead_.Take(none), 0u);
  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
}

TEST_F(ReadAheadTest, GivesOutItsBytesInOrder) {
  std::ranges::copy(std::array<uint8_t, 5>{1, 2, 3, 4, 5}, ahead_.Room().begin());
  ahead_.Fill(5, {});
  std::vector<uint8_t> first(2);
  std::vector<uint8_t> rest(9);

  EXPECT_EQ(ahead_.Take(first), 2u);
  EXPECT_FALSE(ahead_.empty());
  EXPECT_EQ(ahead_.Take(rest), 3u);

  EXPECT_TRUE(ahead_.empty());
  EXPECT_THAT(first, ElementsAre(1, 2));
  EXPECT_THAT(rest, ElementsAre(3, 4, 5, 0, 0, 0, 0, 0, 0));
}

TEST_F(ReadAheadTest, DescriptorsBelongToTheOnlyMessage) {
  FillWith({48}, 48);

  EXPECT_THAT(ahead_.TakeFds(), SizeIs(1));
  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
}

TEST_F(ReadAheadTest, DescriptorsBelongToTheLastMessage) {
  FillWith({16, 20, 48}, 16 + 20 + 48);

  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
  Skip(16);
  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
  Skip(20);
  EXPECT_THAT(ahead_.TakeFds(), SizeIs(1));
}

TEST_F(ReadAheadTest, DescriptorsBelongToTheLastMessageAlsoWhenOnlyAPartOfItIsThere) {
  FillWith({32, 48}, 32 + 7);

  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
  Skip(32);
  EXPECT_THAT(ahead_.TakeFds(), SizeIs(1));
}

TEST_F(ReadAheadTest, DescriptorsBelongToAMessageThatIsLongerThanTheRoom) {
  FillWith({48, 1u << 20}, ReadAhead::kCapacity);

  EXPECT_THAT(ahead_.TakeFds(), IsEmpty());
  Skip(48);
  EXPECT_THAT(ahead_.TakeFds(), SizeIs(1));
}

TEST_F(ReadAheadTest, DescriptorsBelongToAMessageWhoseSizeCannotBe) {
  FillWith({32, 15}, ReadAhead::kCapacity);

  Skip(32);
  EXPECT_THAT(ahead_.TakeFds(), SizeIs(1));
}

}  // namespace
}  // namespace vfio_user
