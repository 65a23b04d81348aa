// The vfio-user binary, run as a user would.
#ifndef TESTS_TESTING_TOOL_RUN_H_
#define TESTS_TESTING_TOOL_RUN_H_

#include <string>
#include <vector>

namespace vfio_user {

// Where the binary of `path` in the tree is, which the test names in its `data`.
std::string ProgramPath(const std::string& path);

// Where the vfio-user binary is. The test names //tools/vfio_user:vfio-user in its `data`.
std::string ToolPath();

struct ToolRun {
  int exit_code = -1;  // 128 + signal when a signal ended it.
  std::string out;     // What it wrote to stdout, and to stderr.
  std::string err;
  long max_rss_kib = 0;  // The most memory it had resident at a time.
};

// Runs it to its end, without a terminal. Aborts the test program when it cannot be run, or has
// not ended after two minutes.
ToolRun RunTool(const std::vector<std::string>& arguments);

// The same for another program.
ToolRun RunProgram(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace vfio_user

#endif  // TESTS_TESTING_TOOL_RUN_H_
