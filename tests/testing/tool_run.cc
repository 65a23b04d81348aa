#include "tests/testing/tool_run.h"

#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto_defs/transport/unique_fd.h"
#include "tests/testing/memfd.h"
#include "tools/vfio_user/child_process.h"

namespace vfio_user {
namespace {

template <typename T>
T OrAbort(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::cerr << "the program cannot be run: " << result.status() << std::endl;
  std::abort();
}

}  // namespace

std::string ProgramPath(const std::string& path) {
  // What Bazel tells a test of where its data is; without it, the test runs in that directory.
  const char* const root = std::getenv("TEST_SRCDIR");
  const char* const workspace = std::getenv("TEST_WORKSPACE");
  const std::string place =
      root != nullptr && workspace != nullptr ? std::string(root) + "/" + workspace + "/" : "";
  return place + path;
}

std::string ToolPath() { return ProgramPath("tools/vfio_user/vfio-user"); }

ToolRun RunTool(const std::vector<std::string>& arguments) {
  return RunProgram(ToolPath(), arguments);
}

ToolRun RunProgram(const std::string& program, const std::vector<std::string>& arguments) {
  // Files, not pipes: nobody has to read them for the program to go on.
  const UniqueFd out = Memfd("");
  const UniqueFd err = Memfd("");
  ChildProcess child = OrAbort(ChildProcess::Spawn(program, arguments, {-1, out.get(), err.get()}));
  const ProcessEnd end = OrAbort(child.Wait(absl::Minutes(2)));
  return {end.exit_code, ContentOf(out), ContentOf(err), end.max_rss_kib};
}

}  // namespace vfio_user
