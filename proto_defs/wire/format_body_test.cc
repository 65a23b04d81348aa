// FormatBody: every command, in both directions.
#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/hex_bytes.h"

namespace vfio_user {
namespace {

using ::testing::StartsWith;

MessageHeader CommandHeader(Command command) { return {.command = command}; }

std::string CommandText(Command command, std::string_view body) {
  return FormatBody(CommandHeader(command), Hex(body));
}

std::string ReplyText(Command command, std::string_view body) {
  return FormatBody(CommandHeader(command).Reply(), Hex(body));
}

TEST(FormatBodyTest, Version) {
  EXPECT_EQ(CommandText(Command::kVersion, "0000 0200"), "VERSION 0.2 no capabilities");
  EXPECT_EQ(ReplyText(Command::kVersion, "0000 0100 7b7d00"), "VERSION reply 0.1 no capabilities");
}

TEST(FormatBodyTest, DmaMap) {
  EXPECT_EQ(CommandText(Command::kDmaMap,
                        "20000000 09000000 0000000000000000 0010000000000000 0020000000000000"),
            "DMA_MAP address 0x1000 size 0x2000 offset 0x0 flags read|file-io");
  EXPECT_EQ(ReplyText(Command::kDmaMap, ""), "DMA_MAP reply");
}

TEST(FormatBodyTest, DmaUnmap) {
  constexpr std::string_view kBody = "18000000 00000000 0010000000000000 0020000000000000";
  EXPECT_EQ(CommandText(Command::kDmaUnmap, kBody),
            "DMA_UNMAP address 0x1000 size 0x2000 flags none");
  EXPECT_EQ(ReplyText(Command::kDmaUnmap, kBody),
            "DMA_UNMAP reply address 0x1000 size 0x2000 flags none");
  EXPECT_EQ(ReplyText(Command::kDmaUnmap, ""), "DMA_UNMAP reply without a body");
}

TEST(FormatBodyTest, DeviceGetInfo) {
  EXPECT_EQ(CommandText(Command::kDeviceGetInfo, "10000000 00000000 00000000 00000000"),
            "DEVICE_GET_INFO argsz 16");
  EXPECT_EQ(ReplyText(Command::kDeviceGetInfo, "10000000 03000000 09000000 05000000"),
            "DEVICE_GET_INFO reply flags reset|pci regions 9 irqs 5");
}

TEST(FormatBodyTest, DeviceGetRegionInfo) {
  EXPECT_EQ(CommandText(Command::kDeviceGetRegionInfo,
                        "20000000 00000000 07000000 00000000 0000000000000000 0000000000000000"),
            "DEVICE_GET_REGION_INFO region config argsz 32");
  EXPECT_EQ(ReplyText(Command::kDeviceGetRegionInfo,
                      "20000000 03000000 07000000 00000000 0010000000000000 0000000000000000"),
            "DEVICE_GET_REGION_INFO reply region config size 0x1000 offset 0x0 flags read|write "
            "argsz 32");
}

TEST(FormatBodyTest, DeviceGetRegionIoFds) {
  constexpr std::string_view kBody = "10000000 00000000 00000000 00000000";
  EXPECT_EQ(CommandText(Command::kDeviceGetRegionIoFds, kBody),
            "DEVICE_GET_REGION_IO_FDS region bar0 argsz 16");
  EXPECT_EQ(ReplyText(Command::kDeviceGetRegionIoFds, kBody),
            "DEVICE_GET_REGION_IO_FDS reply region bar0 count 0 argsz 16 []");
}

TEST(FormatBodyTest, DeviceGetIrqInfo) {
  EXPECT_EQ(CommandText(Command::kDeviceGetIrqInfo, "10000000 00000000 02000000 00000000"),
            "DEVICE_GET_IRQ_INFO irq msix");
  EXPECT_EQ(ReplyText(Command::kDeviceGetIrqInfo, "10000000 01000000 02000000 08000000"),
            "DEVICE_GET_IRQ_INFO reply irq msix count 8 flags eventfd");
}

TEST(FormatBodyTest, DeviceSetIrqs) {
  EXPECT_EQ(CommandText(Command::kDeviceSetIrqs, "14000000 24000000 02000000 00000000 01000000"),
            "DEVICE_SET_IRQS irq msix start 0 count 1 eventfd|trigger");
  EXPECT_EQ(ReplyText(Command::kDeviceSetIrqs, ""), "DEVICE_SET_IRQS reply");
}

TEST(FormatBodyTest, RegionReadAndWrite) {
  constexpr std::string_view kAccess = "1800000000000000 00000000 02000000";
  constexpr std::string_view kWithData = "1800000000000000 00000000 02000000 cafe";
  EXPECT_EQ(CommandText(Command::kRegionRead, kAccess),
            "REGION_READ region bar0 offset 0x18 count 2");
  EXPECT_EQ(ReplyText(Command::kRegionRead, kWithData),
            "REGION_READ reply region bar0 offset 0x18 count 2 data cafe");
  EXPECT_EQ(CommandText(Command::kRegionWrite, kWithData),
            "REGION_WRITE region bar0 offset 0x18 count 2 data cafe");
  EXPECT_EQ(ReplyText(Command::kRegionWrite, kAccess),
            "REGION_WRITE reply region bar0 offset 0x18 count 2");
}

TEST(FormatBodyTest, DmaReadAndWrite) {
  constexpr std::string_view kAccess = "0010000000000000 0200000000000000";
  constexpr std::string_view kWithData = "0010000000000000 0200000000000000 cafe";
  EXPECT_EQ(CommandText(Command::kDmaRead, kAccess), "DMA_READ address 0x1000 count 2");
  EXPECT_EQ(ReplyText(Command::kDmaRead, kWithData),
            "DMA_READ reply address 0x1000 count 2 data cafe");
  EXPECT_EQ(CommandText(Command::kDmaWrite, kWithData),
            "DMA_WRITE address 0x1000 count 2 data cafe");
  EXPECT_EQ(ReplyText(Command::kDmaWrite, kAccess), "DMA_WRITE reply address 0x1000 count 2");
  EXPECT_EQ(ReplyText(Command::kDmaWrite, "0010000000000000 02000000"),
            "DMA_WRITE reply address 0x1000 count 2");
}

TEST(FormatBodyTest, DeviceReset) {
  EXPECT_EQ(CommandText(Command::kDeviceReset, ""), "DEVICE_RESET");
  EXPECT_EQ(ReplyText(Command::kDeviceReset, ""), "DEVICE_RESET reply");
}

TEST(FormatBodyTest, RegionWriteMulti) {
  EXPECT_EQ(CommandText(Command::kRegionWriteMulti,
                        "0100000000000000 1800000000000000 00000000 02000000 cafe000000000000"),
            "REGION_WRITE_MULTI [region bar0 offset 0x18 count 2 data cafe]");
  EXPECT_EQ(ReplyText(Command::kRegionWriteMulti, "0100000000000000"),
            "REGION_WRITE_MULTI reply done 1");
}

TEST(FormatBodyTest, DeviceFeature) {
  EXPECT_EQ(CommandText(Command::kDeviceFeature, "10000000 01000100"),
            "DEVICE_FEATURE get migration argsz 16");
  EXPECT_EQ(ReplyText(Command::kDeviceFeature, "10000000 01000100 0100000000000000"),
            "DEVICE_FEATURE reply get migration argsz 16 flags stop-copy");
}

TEST(FormatBodyTest, MigrationData) {
  EXPECT_EQ(CommandText(Command::kMigDataRead, "0a000000 02000000"),
            "MIG_DATA_READ argsz 10 size 2");
  EXPECT_EQ(ReplyText(Command::kMigDataRead, "0a000000 02000000 cafe"),
            "MIG_DATA_READ reply size 2 data cafe");
  EXPECT_EQ(CommandText(Command::kMigDataWrite, "0a000000 02000000 cafe"),
            "MIG_DATA_WRITE size 2 data cafe");
  EXPECT_EQ(ReplyText(Command::kMigDataWrite, ""), "MIG_DATA_WRITE reply");
}

TEST(FormatBodyTest, EveryCommandRefusesABodyOfOneByteByItsName) {
  int known = 0;
  for (uint16_t number = 0; number < 64; ++number) {
    const Command command{number};
    const std::string name(CommandName(command));
    if (name == "UNKNOWN") continue;
    ++known;
    EXPECT_THAT(CommandText(command, "00"), StartsWith("malformed: " + name));
    EXPECT_THAT(ReplyText(command, "00"), StartsWith("malformed: " + name));
  }
  EXPECT_EQ(known, 17);
}

TEST(FormatBodyTest, SaysWhyABodyIsMalformed) {
  EXPECT_EQ(CommandText(Command::kDeviceGetInfo, "0000"),
            "malformed: DEVICE_GET_INFO: body is 2 bytes, want at least 16");
  EXPECT_EQ(ReplyText(Command::kDmaMap, "0000"),
            "malformed: DMA_MAP reply: body is 2 bytes, want 0");
}

TEST(FormatBodyTest, UnknownCommandsAndTypes) {
  EXPECT_EQ(CommandText(Command{14}, "0000"), "UNKNOWN 14 with a body of 2 bytes");
  EXPECT_EQ(ReplyText(Command{999}, ""), "UNKNOWN 999 reply with a body of 0 bytes");
  EXPECT_EQ(FormatBody({.command = Command::kDmaMap, .type = 7}, Hex("00")),
            "DMA_MAP of type 7 with a body of 1 bytes");
}

TEST(FormatBodyTest, ErrorReplies) {
  const MessageHeader reply = CommandHeader(Command::kDmaMap).Reply(EEXIST);
  EXPECT_EQ(FormatBody(reply, {}), "DMA_MAP reply refused: File exists (17)");
  EXPECT_EQ(FormatBody(reply, Hex("0000")),
            "DMA_MAP reply refused: File exists (17), with a body of 2 bytes");

  MessageHeader without_errno = CommandHeader(Command::kRegionRead).Reply();
  without_errno.error_flag = true;
  EXPECT_EQ(FormatBody(without_errno, {}), "REGION_READ reply refused: no errno (0)");
}

}  // namespace
}  // namespace vfio_user
