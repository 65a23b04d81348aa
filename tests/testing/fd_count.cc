#include "tests/testing/fd_count.h"

#include <dirent.h>
#include <unistd.h>

#include <string>

#include "absl/cleanup/cleanup.h"

namespace vfio_user {

int OpenFdCountOf(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) return -1;
  const absl::Cleanup close = [directory] { ::closedir(directory); };
  int count = 0;
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') ++count;
  }
  return pid == ::getpid() ? count - 1 : count;
}

int OpenFdCount() { return OpenFdCountOf(::getpid()); }

}  // namespace vfio_user
