#include "server/commands/command_table.h"

#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto_defs/wire/command.h"

namespace vfio_user {
namespace {

TEST(CommandTableTest, HasEachCommandOnceAndWithAHandler) {
  std::set<Command> seen;
  for (const CommandEntry& entry : CommandTable()) {
    EXPECT_TRUE(seen.insert(entry.command).second) << CommandName(entry.command);
    EXPECT_NE(entry.handler, nullptr) << CommandName(entry.command);
    EXPECT_NE(CommandName(entry.command), "UNKNOWN");
    EXPECT_EQ(FindCommand(entry.command), &entry);
  }
}

TEST(CommandTableTest, HasNoneOfTheCommandsThatOnlyServersSend) {
  EXPECT_EQ(FindCommand(Command::kDmaRead), nullptr);
  EXPECT_EQ(FindCommand(Command::kDmaWrite), nullptr);
  EXPECT_EQ(FindCommand(Command{0}), nullptr);
  EXPECT_EQ(FindCommand(Command{14}), nullptr);
  EXPECT_EQ(FindCommand(Command{0xffff}), nullptr);
}

TEST(CommandTableTest, TakesDescriptorsOnlyWhereTheyMeanSomething) {
  for (const CommandEntry& entry : CommandTable()) {
    const bool takes =
        entry.command == Command::kDmaMap || entry.command == Command::kDeviceSetIrqs;
    EXPECT_EQ(entry.fds == FdRule::kTake, takes) << CommandName(entry.command);
  }
  EXPECT_EQ(FindCommand(Command::kDmaUnmap)->fds, FdRule::kDiscard);
}

}  // namespace
}  // namespace vfio_user
