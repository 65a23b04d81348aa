// Every request that is refused, with the errno that its sender gets. The connection goes on.
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/header.h"
#include "server/probe_device.h"
#include "server/raw_client.h"
#include "server/server_fixture.h"
#include "tests/testing/fd_count.h"
#include "tests/testing/memfd.h"
#include "tests/testing/status_matchers.h"

namespace vfio_user {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<uint8_t> Words(std::initializer_list<uint32_t> words) {
  std::vector<uint8_t> bytes;
  for (const uint32_t word : words) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<uint8_t>(word >> shift & 0xff));
    }
  }
  return bytes;
}

std::vector<uint8_t> Bytes(size_t count) { return std::vector<uint8_t>(count, 0); }

std::vector<uint8_t> Join(std::vector<uint8_t> first, const std::vector<uint8_t>& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

struct Refusal {
  const char* name;
  Command command;
  std::vector<uint8_t> body;
  uint32_t error;
  size_t fds = 0;  // Ordinary files.
};

class ServerRefusalTest : public ServerFixture, public testing::WithParamInterface<Refusal> {};

TEST_P(ServerRefusalTest, IsAnsweredWithItsErrnoAndTheConnectionGoesOn) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  // A mapping, for those that overlap it or miss it.
  ASSERT_THAT(client->ErrorOf(Command::kDmaMap, Words({32, 3, 0, 0, 0x10000, 0, 0x1000, 0})),
              IsOkAndHolds(0u));
  const UniqueFd file = Memfd("file");
  const std::vector<FdView> fds(GetParam().fds, FdView(file));
  const int before = OpenFdCount();

  const auto sent = client->Send(GetParam().command, GetParam().body, fds);

  ASSERT_THAT(sent, IsOk());
  const auto reply = client->peer().Receive();
  ASSERT_THAT(reply, IsOk());
  EXPECT_TRUE(reply->header.is_reply());
  EXPECT_EQ(reply->header.msg_id, sent->msg_id);
  EXPECT_EQ(reply->header.command, GetParam().command);
  EXPECT_TRUE(reply->header.error_flag);
  EXPECT_EQ(reply->header.error, GetParam().error);
  EXPECT_THAT(reply->body, IsEmpty());
  EXPECT_THAT(client->ErrorOf(Command::kDeviceGetInfo, Words({16, 0, 0, 0})), IsOkAndHolds(0u));
  EXPECT_EQ(OpenFdCount(), before);
  EXPECT_THAT(log(), ElementsAre(HasSubstr("refused ")));
}

constexpr Command kGetInfo = Command::kDeviceGetInfo;
constexpr Command kRegionInfo = Command::kDeviceGetRegionInfo;
constexpr Command kIrqInfo = Command::kDeviceGetIrqInfo;
constexpr Command kSetIrqs = Command::kDeviceSetIrqs;

std::string NameOf(const testing::TestParamInfo<Refusal>& refusal) { return refusal.param.name; }

INSTANTIATE_TEST_SUITE_P(
    Commands, ServerRefusalTest,
    testing::Values(Refusal{"Zero", Command{0}, {}, EINVAL},
                    Refusal{"DmaRead", Command::kDmaRead, Bytes(16), EINVAL},
                    Refusal{"DmaWrite", Command::kDmaWrite, Bytes(24), EINVAL},
                    Refusal{"DirtyPages", Command{14}, Bytes(16), EINVAL},
                    Refusal{"UnknownWithBody", Command{19}, Bytes(100'000), EINVAL},
                    Refusal{"UnknownWithFds", Command{0xffff}, Bytes(4), EINVAL, 2},
                    Refusal{"WriteMulti", Command::kRegionWriteMulti, Bytes(8), EINVAL},
                    Refusal{"Feature", Command::kDeviceFeature, Words({8, 0x10001}), EINVAL},
                    Refusal{"MigDataRead", Command::kMigDataRead, Words({24, 16}), EINVAL},
                    Refusal{"MigDataWrite", Command::kMigDataWrite, Words({8, 0}), EINVAL}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    DmaMap, ServerRefusalTest,
    testing::Values(
        Refusal{"NoBody", Command::kDmaMap, {}, EINVAL},
        Refusal{"ShortBody", Command::kDmaMap, Bytes(31), EINVAL},
        Refusal{"ShortArgsz", Command::kDmaMap, Words({31, 3, 0, 0, 0, 0, 0x1000, 0}), EINVAL},
        Refusal{"UnknownFlag", Command::kDmaMap, Words({32, 19, 0, 0, 0, 0, 0x1000, 0}), EINVAL},
        Refusal{"MmapAndFileIo", Command::kDmaMap, Words({32, 15, 0, 0, 0, 0, 0x1000, 0}), EINVAL,
                1},
        Refusal{"MmapWithoutFd", Command::kDmaMap, Words({32, 7, 0, 0, 0, 0, 0x1000, 0}), EINVAL},
        Refusal{"FileIoWithoutFd", Command::kDmaMap, Words({32, 11, 0, 0, 0, 0, 0x1000, 0}),
                EINVAL},
        Refusal{"TwoFds", Command::kDmaMap, Words({32, 11, 0, 0, 0, 0, 0x1000, 0}), EINVAL, 2},
        Refusal{"SizeZero", Command::kDmaMap, Words({32, 3, 0, 0, 0x5000, 0, 0, 0}), EINVAL},
        Refusal{"Wraps", Command::kDmaMap, Words({32, 3, 0, 0, 0xfffff000, 0xffffffff, 0x2000, 0}),
                EINVAL},
        Refusal{"Overlaps", Command::kDmaMap, Words({32, 3, 0, 0, 0x10fff, 0, 1, 0}), EEXIST},
        Refusal{"SameAgain", Command::kDmaMap, Words({32, 3, 0, 0, 0x10000, 0, 0x1000, 0}),
                EEXIST}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    DmaUnmap, ServerRefusalTest,
    testing::Values(
        Refusal{"ShortBody", Command::kDmaUnmap, Bytes(23), EINVAL},
        Refusal{"ShortArgsz", Command::kDmaUnmap, Words({23, 0, 0x10000, 0, 0x1000, 0}), EINVAL},
        Refusal{"BothFlags", Command::kDmaUnmap, Words({64, 3, 0, 0, 0, 0, 4096, 0, 8, 0}), EINVAL},
        Refusal{"UnknownFlag", Command::kDmaUnmap, Words({24, 4, 0x10000, 0, 0x1000, 0}), EINVAL},
        Refusal{"AllWithARange", Command::kDmaUnmap, Words({24, 2, 0x10000, 0, 0x1000, 0}), EINVAL},
        Refusal{"NotMapped", Command::kDmaUnmap, Words({24, 0, 0x90000, 0, 0x1000, 0}), ENOENT},
        Refusal{"InPart", Command::kDmaUnmap, Words({24, 0, 0x10000, 0, 0x800, 0}), ENOENT},
        Refusal{"BitmapWithoutLogging", Command::kDmaUnmap,
                Words({48, 1, 0x10000, 0, 0x1000, 0, 4096, 0, 8, 0}), EINVAL}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Infos, ServerRefusalTest,
    testing::Values(Refusal{"InfoShortBody", kGetInfo, Bytes(15), EINVAL},
                    Refusal{"InfoShortArgsz", kGetInfo, Words({15, 0, 0, 0}), EINVAL},
                    Refusal{"InfoWithFd", kGetInfo, Words({16, 0, 0, 0}), EINVAL, 1},
                    Refusal{"RegionShortBody", kRegionInfo, Bytes(31), EINVAL},
                    Refusal{"RegionShortArgsz", kRegionInfo, Words({31, 0, 0, 0, 0, 0, 0, 0}),
                            EINVAL},
                    Refusal{"Region9", kRegionInfo, Words({32, 0, 9, 0, 0, 0, 0, 0}), EINVAL},
                    Refusal{"IrqShortBody", kIrqInfo, Bytes(15), EINVAL},
                    Refusal{"IrqShortArgsz", kIrqInfo, Words({15, 0, 0, 0}), EINVAL},
                    Refusal{"Irq5", kIrqInfo, Words({16, 0, 5, 0}), EINVAL},
                    Refusal{"ResetWithBody", Command::kDeviceReset, Bytes(1), EINVAL},
                    Refusal{"ResetWithFd", Command::kDeviceReset, {}, EINVAL, 1}),
    NameOf);

INSTANTIATE_TEST_SUITE_P(
    Regions, ServerRefusalTest,
    testing::Values(
        Refusal{"ReadShortBody", Command::kRegionRead, Bytes(15), EINVAL},
        Refusal{"ReadLongBody", Command::kRegionRead, Bytes(17), EINVAL},
        Refusal{"ReadRegion9", Command::kRegionRead, Words({0, 0, 9, 4}), EINVAL},
        Refusal{"ReadNoSuchBar", Command::kRegionRead, Words({0, 0, 5, 4}), EINVAL},
        Refusal{"ReadNothingOfNoSuchBar", Command::kRegionRead, Words({0, 0, 5, 0}), EINVAL},
        Refusal{"ReadBeyond", Command::kRegionRead, Words({0xffd, 0, 0, 4}), EINVAL},
        Refusal{"ReadFarBeyond", Command::kRegionRead, Words({0, 1, 0, 0}), EINVAL},
        Refusal{"ReadWraps", Command::kRegionRead, Words({0xffffffff, 0xffffffff, 0, 4}), EINVAL},
        Refusal{"ReadTooMuch", Command::kRegionRead, Words({0, 0, 0, 0x100001}), EINVAL},
        Refusal{"ReadAllThereIs", Command::kRegionRead, Words({0, 0, 0, 0xffffffff}), EINVAL},
        Refusal{"ReadBeyondConfig", Command::kRegionRead, Words({0xffd, 0, 7, 4}), EINVAL},
        Refusal{"ReadWriteOnly", Command::kRegionRead, Words({0, 0, 3, 4}), EACCES},
        Refusal{"ReadWithFd", Command::kRegionRead, Words({0, 0, 0, 4}), EINVAL, 1},
        Refusal{"WriteShortBody", Command::kRegionWrite, Bytes(15), EINVAL},
        Refusal{"WriteWithoutData", Command::kRegionWrite, Words({0, 0, 0, 4}), EINVAL},
        Refusal{"WriteTooLittle", Command::kRegionWrite, Join(Words({0, 0, 0, 4}), Bytes(3)),
                EINVAL},
        Refusal{"WriteTooMuch", Command::kRegionWrite, Join(Words({0, 0, 0, 4}), Bytes(5)), EINVAL},
        Refusal{"WriteBeyond", Command::kRegionWrite, Words({0xffd, 0, 0, 4, 0}), EINVAL},
        Refusal{"WriteReadOnly", Command::kRegionWrite, Words({0, 0, 2, 4, 0}), EACCES}),
    NameOf);

// argsz, flags (data 1, 2 or 4; action 8, 16 or 32), index, start, count.
INSTANTIATE_TEST_SUITE_P(
    SetIrqs, ServerRefusalTest,
    testing::Values(Refusal{"ShortBody", kSetIrqs, Bytes(19), EINVAL},
                    Refusal{"ShortArgsz", kSetIrqs, Words({19, 33, 2, 0, 1}), EINVAL},
                    Refusal{"NoFlags", kSetIrqs, Words({20, 0, 2, 0, 1}), EINVAL},
                    Refusal{"TwoData", kSetIrqs, Words({20, 35, 2, 0, 1}), EINVAL},
                    Refusal{"TwoActions", kSetIrqs, Words({20, 41, 0, 0, 1}), EINVAL},
                    Refusal{"UnknownFlag", kSetIrqs, Words({20, 97, 2, 0, 1}), EINVAL},
                    Refusal{"BoolsMissing", kSetIrqs, Words({20, 34, 2, 0, 2}), EINVAL},
                    Refusal{"BoolsTooMany", kSetIrqs, Words({20, 34, 2, 0, 2, 0}), EINVAL},
                    Refusal{"Index5", kSetIrqs, Words({20, 33, 5, 0, 1}), EINVAL},
                    Refusal{"NoSuchType", kSetIrqs, Words({20, 33, 4, 0, 1}), EINVAL},
                    Refusal{"StartBeyond", kSetIrqs, Words({20, 33, 2, 4, 1}), EINVAL},
                    Refusal{"CountBeyond", kSetIrqs, Words({20, 33, 2, 3, 2}), EINVAL},
                    Refusal{"CountWraps", kSetIrqs, Words({20, 33, 2, 1, 0xffffffff}), EINVAL},
                    Refusal{"ErrHasOneVector", kSetIrqs, Words({20, 33, 3, 0, 2}), EINVAL},
                    Refusal{"CountZeroWithStart", kSetIrqs, Words({20, 33, 2, 1, 0}), EINVAL},
                    Refusal{"CountZeroBind", kSetIrqs, Words({20, 36, 2, 0, 0}), EINVAL},
                    Refusal{"MaskUnmaskable", kSetIrqs, Words({20, 9, 3, 0, 1}), EINVAL},
                    Refusal{"UnmaskUnmaskable", kSetIrqs, Words({20, 17, 3, 0, 1}), EINVAL},
                    Refusal{"MaskByEventfdUnmaskable", kSetIrqs, Words({20, 12, 3, 0, 1}), EINVAL},
                    Refusal{"MaskByNoEventfd", kSetIrqs, Words({20, 12, 0, 0, 1}), EINVAL, 1},
                    Refusal{"FdWithNone", kSetIrqs, Words({20, 33, 2, 0, 1}), EINVAL, 1},
                    Refusal{"TooFewFds", kSetIrqs, Words({20, 36, 2, 0, 2}), EINVAL, 1},
                    Refusal{"TooManyFds", kSetIrqs, Words({20, 36, 2, 0, 1}), EINVAL, 2},
                    Refusal{"NoEventfd", kSetIrqs, Words({20, 36, 2, 0, 1}), EINVAL, 1}),
    NameOf);

class ServerPostedTest : public ServerRefusalTest {};

INSTANTIATE_TEST_SUITE_P(
    Posted, ServerPostedTest,
    testing::Values(Refusal{"Good", Command::kRegionWrite, Words({0, 0, 0, 4, 7}), 0},
                    Refusal{"Bad", Command::kRegionWrite, Words({0, 0, 9, 4, 7}), EINVAL},
                    Refusal{"Reset", Command::kDeviceReset, {}, 0},
                    Refusal{"Unmap", Command::kDmaUnmap, Words({24, 0, 0x10000, 0, 0x1000, 0}), 0},
                    Refusal{"Unknown", Command{99}, {}, EINVAL}),
    NameOf);

TEST_P(ServerPostedTest, GetsNoReplyWhateverBecomesOfIt) {
  Serve(std::make_unique<ProbeDevice>());
  auto client = RawClient::Connect(path());
  ASSERT_THAT(client, IsOk());
  ASSERT_THAT(client->ErrorOf(Command::kDmaMap, Words({32, 3, 0, 0, 0x10000, 0, 0x1000, 0})),
              IsOkAndHolds(0u));
  const MessageHeader header = {.msg_id = 7, .command = GetParam().command, .no_reply = true};

  ASSERT_THAT(client->peer().Send(header, GetParam().body), IsOk());

  // DEVICE_RESET comes after what the worker may still do.
  const auto next = client->Call(Command::kDeviceReset);
  ASSERT_THAT(next, IsOk());
  EXPECT_EQ(next->header.command, Command::kDeviceReset);
  EXPECT_NE(next->header.msg_id, 7);
}

}  // namespace
}  // namespace vfio_user
