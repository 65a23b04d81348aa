#include "tests/testing/tool_run.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(RunToolTest, GivesWhatTheToolSaysAndHowItEnds) {
  const ToolRun done = RunTool({"--help"});
  const ToolRun wrong = RunTool({"nosuch"});

  EXPECT_EQ(done.exit_code, 0);
  EXPECT_THAT(done.out, HasSubstr("vfio-user"));
  EXPECT_THAT(done.err, IsEmpty());
  EXPECT_GT(done.max_rss_kib, 0);
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.out, IsEmpty());
  EXPECT_THAT(wrong.err, HasSubstr("nosuch"));
}

}  // namespace
}  // namespace vfio_user
