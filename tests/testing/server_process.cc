#include "tests/testing/server_process.h"

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/testing/tool_run.h"
#include "tools/vfio_user/child_server.h"

namespace vfio_user {

absl::StatusOr<ChildServer> StartServer(const std::string& device,
                                        const std::vector<std::string>& arguments) {
  ChildServer::Options options;
  options.program = ToolPath();
  options.device = device;
  options.arguments = arguments;
  return ChildServer::Start(options);
}

int FdsNaming(pid_t pid, std::string_view suffix) {
  std::error_code error;
  const std::filesystem::directory_iterator links("/proc/" + std::to_string(pid) + "/fd", error);
  if (error) return -1;
  int count = 0;
  for (const std::filesystem::directory_entry& link : links) {
    const std::string target = std::filesystem::read_symlink(link, error).string();
    if (!error && target.ends_with(suffix)) ++count;
  }
  return count;
}

}  // namespace vfio_user
