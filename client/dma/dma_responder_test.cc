#include "client/dma/dma_responder.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dirty_pages.h"
#include "client/dma/dma_table.h"
#include "client/dma/write_record.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/message_stream.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/hex_bytes.h"
#include "proto_defs/wire/iova.h"
#include "tests/testing/far_memory.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/scripted_peer.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;
constexpr std::byte kPaint{0xa5};
constexpr uint32_t kMaxDataXferBytes = 64;

// A buffer of 32 bytes at bus address 0x1000, between painted guards, and the server at the other
// end of a channel. Everything happens on one thread: Poll() serves what the server sent.
class DmaResponderTest : public testing::Test {
 protected:
  void SetUp() override {
    memory_.fill(kPaint);
    absl::StatusOr<ScriptedPeer::Connected> connected = ScriptedPeer::Pair();
    ASSERT_THAT(connected, IsOk());
    server_.emplace(std::move(connected->peer));
    absl::StatusOr<Socket> socket = Socket::Adopt(std::move(connected->socket));
    ASSERT_THAT(socket, IsOk());
    channel_.emplace(MessageStream(*std::move(socket), {}), [this](IncomingCommand& command) {
      return responder_.Answer(command, *channel_);
    });
  }

  std::span<std::byte> Buffer() { return std::span(memory_).subspan(kGuard, kBuffer); }
  std::vector<std::byte> Guards() const {
    std::vector<std::byte> guards(memory_.begin(), memory_.begin() + kGuard);
    guards.insert(guards.end(), memory_.end() - kGuard, memory_.end());
    return guards;
  }

  absl::Status Insert(DmaMapFlags access = kReadWrite) {
    return table_.Insert(Iova{0x1000},
                         {.data = Buffer().data(), .size = kBuffer, .access = access});
  }

  // What the server is answered.
  absl::StatusOr<ScriptedPeer::Message> Ask(Command command, const std::vector<uint8_t>& body,
                                            std::span<const FdView> fds = {}) {
    absl::Status status = server_->Send({.msg_id = 7, .command = command}, body, fds);
    status.Update(channel_->Poll());
    if (!status.ok()) return status;
    return server_->Receive();
  }

  // The errno that it is answered with; 0 for none.
  uint32_t ErrnoFor(Command command, const std::vector<uint8_t>& body,
                    std::span<const FdView> fds = {}) {
    const absl::StatusOr<ScriptedPeer::Message> reply = Ask(command, body, fds);
    EXPECT_THAT(reply, IsOk());
    // Header only: libvfio-user leaves the body of an error reply unread.
    EXPECT_TRUE(!reply.ok() || !reply->header.error_flag || reply->body.empty());
    return reply.ok() ? reply->header.error : UINT32_MAX;
  }

  static constexpr size_t kGuard = 16;
  static constexpr size_t kBuffer = 32;

  std::array<std::byte, kGuard + kBuffer + kGuard> memory_;
  DmaTable table_;
  WriteRecord record_;
  DmaResponder responder_{table_, record_, kMaxDataXferBytes};
  std::optional<ScriptedPeer> server_;
  std::optional<Channel> channel_;
};

TEST_F(DmaResponderTest, ReadEchoesAddressAndCountBeforeTheData) {
  ASSERT_THAT(Insert(), IsOk());
  Buffer()[4] = std::byte{0x11};
  Buffer()[5] = std::byte{0x22};

  const absl::StatusOr<ScriptedPeer::Message> reply =
      Ask(Command::kDmaRead, Hex("04 10 00 00 00 00 00 00"     // address
                                 "02 00 00 00 00 00 00 00"));  // count

  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.is_reply());
  EXPECT_FALSE(reply->header.error_flag);
  EXPECT_EQ(reply->header.msg_id, 7);
  EXPECT_EQ(reply->header.command, Command::kDmaRead);
  EXPECT_THAT(reply->body, ElementsAreArray(Hex("04 10 00 00 00 00 00 00"
                                                "02 00 00 00 00 00 00 00"
                                                "11 22")));
}

TEST_F(DmaResponderTest, WriteChangesTheMemoryAndEchoesAddressAndCount) {
  ASSERT_THAT(Insert(), IsOk());

  const absl::StatusOr<ScriptedPeer::Message> reply =
      Ask(Command::kDmaWrite, Hex("1e 10 00 00 00 00 00 00"
                                  "02 00 00 00 00 00 00 00"
                                  "33 44"));

  ASSERT_THAT(reply, IsOk());
  EXPECT_FALSE(reply->header.error_flag);
  EXPECT_THAT(reply->body, ElementsAreArray(Hex("1e 10 00 00 00 00 00 00"
                                                "02 00 00 00 00 00 00 00")));
  EXPECT_EQ(Buffer()[29], kPaint);
  EXPECT_EQ(Buffer()[30], std::byte{0x33});
  EXPECT_EQ(Buffer()[31], std::byte{0x44});
  EXPECT_THAT(Guards(), Each(kPaint));
}

TEST_F(DmaResponderTest, WholeMappingsCanBeReadAndWritten) {
  ASSERT_THAT(Insert(), IsOk());
  std::vector<uint8_t> write = Hex("00 10 00 00 00 00 00 00  20 00 00 00 00 00 00 00");
  write.insert(write.end(), kBuffer, 0x77);

  EXPECT_EQ(ErrnoFor(Command::kDmaWrite, write), 0u);
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  20 00 00 00 00 00 00 00")),
            0u);
  EXPECT_THAT(std::vector(Buffer().begin(), Buffer().end()), Each(std::byte{0x77}));
  EXPECT_THAT(Guards(), Each(kPaint));
}

TEST_F(DmaResponderTest, AccessToNoBytesInsideAMappingSucceeds) {
  ASSERT_THAT(Insert(), IsOk());

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  00 00 00 00 00 00 00 00")),
            0u);
}

TEST_F(DmaResponderTest, RangesOutsideTheMappingAreEfaultAndChangeNothing) {
  ASSERT_THAT(Insert(), IsOk());

  // Just before it, just after it, across its end, and nowhere near it.
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("ff 0f 00 00 00 00 00 00  01 00 00 00 00 00 00 00")),
            static_cast<uint32_t>(EFAULT));
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("20 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00")),
            static_cast<uint32_t>(EFAULT));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("1f 10 00 00 00 00 00 00  02 00 00 00 00 00 00 00  33 44")),
      static_cast<uint32_t>(EFAULT));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 00 00 00 00 00 00 80  02 00 00 00 00 00 00 00  33 44")),
      static_cast<uint32_t>(EFAULT));
  EXPECT_THAT(memory_, Each(kPaint));
}

TEST_F(DmaResponderTest, RangesThatWrapAreEinval) {
  ASSERT_THAT(Insert(), IsOk());

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("10 10 00 00 00 00 00 00  ff ff ff ff ff ff ff ff")),
            static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("ff ff ff ff ff ff ff ff  02 00 00 00 00 00 00 00")),
            static_cast<uint32_t>(EINVAL));
}

TEST_F(DmaResponderTest, CountsAboveTheNegotiatedSizeAreE2big) {
  ASSERT_THAT(Insert(), IsOk());
  std::vector<uint8_t> write = Hex("00 10 00 00 00 00 00 00  41 00 00 00 00 00 00 00");
  write.insert(write.end(), kMaxDataXferBytes + 1, 0x77);

  // One byte more, and what would be worth 16 EiB of memory.
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  41 00 00 00 00 00 00 00")),
            static_cast<uint32_t>(E2BIG));
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 00 00 00 00 00 00 00  ff ff ff ff ff ff ff ff")),
            static_cast<uint32_t>(E2BIG));
  EXPECT_EQ(ErrnoFor(Command::kDmaWrite, write), static_cast<uint32_t>(E2BIG));
  EXPECT_THAT(memory_, Each(kPaint));
}

TEST_F(DmaResponderTest, AccessAgainstTheDirectionIsEaccesAndChangesNothing) {
  ASSERT_THAT(Insert(DmaMapFlag::kRead), IsOk());

  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00  33")),
      static_cast<uint32_t>(EACCES));
  EXPECT_THAT(memory_, Each(kPaint));
}

TEST_F(DmaResponderTest, NothingIsServedAfterTheMappingIsGone) {
  ASSERT_THAT(Insert(), IsOk());
  table_.Erase(Iova{0x1000});

  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00  33")),
      static_cast<uint32_t>(EFAULT));
  EXPECT_THAT(memory_, Each(kPaint));
}

TEST_F(DmaResponderTest, BodiesThatAreNotWhatTheirFieldsSayAreEinval) {
  ASSERT_THAT(Insert(), IsOk());

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, {}), static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00")),
            static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00  00")),
      static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 10 00 00 00 00 00 00  02 00 00 00 00 00 00 00  33")),
      static_cast<uint32_t>(EINVAL));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00  33 44")),
      static_cast<uint32_t>(EINVAL));
  EXPECT_THAT(memory_, Each(kPaint));
}

TEST_F(DmaResponderTest, DescriptorsAreEinvalAndClosed) {
  ASSERT_THAT(Insert(), IsOk());
  const UniqueFd file = Memfd("x");
  const FdView fd = file;
  const int before = OpenFdCount();

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00"),
                     {&fd, 1}),
            static_cast<uint32_t>(EINVAL));

  EXPECT_EQ(OpenFdCount(), before);
}

TEST_F(DmaResponderTest, OtherCommandsAreEnosys) {
  EXPECT_EQ(ErrnoFor(Command::kDmaMap, Hex("00 00")), static_cast<uint32_t>(ENOSYS));
  EXPECT_EQ(ErrnoFor(Command{0}, {}), static_cast<uint32_t>(ENOSYS));
  EXPECT_EQ(ErrnoFor(Command{0xffff}, {}), static_cast<uint32_t>(ENOSYS));
}

TEST_F(DmaResponderTest, AWriteThatWantsNoReplyGetsNone) {
  ASSERT_THAT(Insert(), IsOk());
  const auto body = Hex("00 10 00 00 00 00 00 00  01 00 00 00 00 00 00 00  33");
  ASSERT_THAT(server_->Send({.command = Command::kDmaWrite, .no_reply = true}, body), IsOk());
  ASSERT_THAT(channel_->Poll(), IsOk());

  // The next answer is that to the next command.
  const absl::StatusOr<ScriptedPeer::Message> reply = Ask(Command{99}, {});

  ASSERT_THAT(reply, IsOk());
  EXPECT_EQ(reply->header.command, Command{99});
  EXPECT_EQ(Buffer()[0], std::byte{0x33});
}

TEST_F(DmaResponderTest, WritesAreRecordedAndReadsAreNot) {
  ASSERT_THAT(Insert(), IsOk());
  ASSERT_THAT(record_.Start(8), IsOk());
  absl::StatusOr<DirtyPages> pages = DirtyPages::Create({Iova{0x1000}, kBuffer}, 8);
  ASSERT_THAT(pages, IsOk());

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 10 00 00 00 00 00 00  20 00 00 00 00 00 00 00")),
            0u);
  record_.TakeInto(*pages);
  EXPECT_EQ(pages->dirty_count(), 0u);

  EXPECT_EQ(ErrnoFor(Command::kDmaWrite, Hex("0f 10 00 00 00 00 00 00"
                                             "02 00 00 00 00 00 00 00 11 22")),
            0u);
  EXPECT_EQ(ErrnoFor(Command::kDmaWrite, Hex("1f 10 00 00 00 00 00 00"
                                             "02 00 00 00 00 00 00 00 11 22")),
            uint32_t{EFAULT});
  record_.TakeInto(*pages);
  EXPECT_EQ(pages->words()[0], 0b0110u);
}

TEST_F(DmaResponderTest, MemoryThatWasFreedIsEfaultAndNoSignal) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const std::span<std::byte> freed = MapFarMemory(page);
  ASSERT_FALSE(freed.empty());
  ASSERT_THAT(
      table_.Insert(Iova{0x5000}, {.data = freed.data(), .size = page, .access = kReadWrite}),
      IsOk());
  ASSERT_EQ(::munmap(freed.data(), page), 0);

  EXPECT_EQ(ErrnoFor(Command::kDmaRead, Hex("00 50 00 00 00 00 00 00  01 00 00 00 00 00 00 00")),
            static_cast<uint32_t>(EFAULT));
  EXPECT_EQ(
      ErrnoFor(Command::kDmaWrite, Hex("00 50 00 00 00 00 00 00  01 00 00 00 00 00 00 00  33")),
      static_cast<uint32_t>(EFAULT));
}

}  // namespace
}  // namespace vfio_user
