#include "proto_defs/wire/command.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace vfio_user {
namespace {

TEST(CommandNameTest, IsTheSpecificationsName) {
  EXPECT_EQ(CommandName(Command{1}), "VERSION");
  EXPECT_EQ(CommandName(Command{2}), "DMA_MAP");
  EXPECT_EQ(CommandName(Command{3}), "DMA_UNMAP");
  EXPECT_EQ(CommandName(Command{4}), "DEVICE_GET_INFO");
  EXPECT_EQ(CommandName(Command{5}), "DEVICE_GET_REGION_INFO");
  EXPECT_EQ(CommandName(Command{6}), "DEVICE_GET_REGION_IO_FDS");
  EXPECT_EQ(CommandName(Command{7}), "DEVICE_GET_IRQ_INFO");
  EXPECT_EQ(CommandName(Command{8}), "DEVICE_SET_IRQS");
  EXPECT_EQ(CommandName(Command{9}), "REGION_READ");
  EXPECT_EQ(CommandName(Command{10}), "REGION_WRITE");
  EXPECT_EQ(CommandName(Command{11}), "DMA_READ");
  EXPECT_EQ(CommandName(Command{12}), "DMA_WRITE");
  EXPECT_EQ(CommandName(Command{13}), "DEVICE_RESET");
  EXPECT_EQ(CommandName(Command{15}), "REGION_WRITE_MULTI");
  EXPECT_EQ(CommandName(Command{16}), "DEVICE_FEATURE");
  EXPECT_EQ(CommandName(Command{17}), "MIG_DATA_READ");
  EXPECT_EQ(CommandName(Command{18}), "MIG_DATA_WRITE");
}

TEST(CommandNameTest, OtherNumbersAreUnknown) {
  int known = 0;
  for (uint32_t number = 0; number <= UINT16_MAX; ++number) {
    if (CommandName(Command{static_cast<uint16_t>(number)}) != "UNKNOWN") ++known;
  }

  EXPECT_EQ(known, 17);
}

}  // namespace
}  // namespace vfio_user
