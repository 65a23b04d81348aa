// The examples of the client, each run twice against one server: the second time on a device that
// somebody has used before.
#include <string>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/server_process.h"
#include "tests/testing/status_matchers.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {
namespace {

using ::testing::HasSubstr;

struct Example {
  std::string name;
  std::string says;
};

class ExamplesE2eTest : public testing::TestWithParam<Example> {
 protected:
  const std::string program_ = ProgramPath("client/examples/" + GetParam().name);
};

TEST_P(ExamplesE2eTest, WorksOnAFreshDeviceAndOnAUsedOne) {
  const absl::StatusOr<ChildServer> server = StartServer();
  ASSERT_THAT(server, IsOk());

  for (const char* const time : {"first", "second"}) {
    SCOPED_TRACE(time);
    const ToolRun run = RunProgram(program_, {server->socket_path()});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_THAT(run.out, HasSubstr(GetParam().says));
  }
}

TEST_P(ExamplesE2eTest, SaysWhatIsWrongWhenNobodyServes) {
  const ToolRun run = RunProgram(program_, {"/nonexistent/socket"});

  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.err, HasSubstr("no server there"));
}

INSTANTIATE_TEST_SUITE_P(All, ExamplesE2eTest,
                         testing::Values(Example{"lend_memory", "bytes copied, equal"},
                                         Example{"read_register", "0x59504344"},
                                         Example{"wait_for_interrupt", "1 interrupt"},
                                         Example{"zero_memory", "bytes, all zero"}),
                         [](const auto& example) { return example.param.name; });

}  // namespace
}  // namespace vfio_user
