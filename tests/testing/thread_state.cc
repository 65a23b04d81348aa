#include "tests/testing/thread_state.h"

#include <chrono>
#include <fstream>
#include <string>
#include <thread>

namespace vfio_user {

bool AwaitAsleep(pid_t tid) {
  const std::string path = "/proc/self/task/" + std::to_string(tid) + "/stat";
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < give_up) {
    std::string line;
    if (!std::getline(std::ifstream(path), line)) return false;
    // "tid (name) state ...", and the name may hold anything.
    const size_t name_end = line.rfind(')');
    if (name_end == std::string::npos || name_end + 2 >= line.size()) return false;
    if (line[name_end + 2] == 'S') return true;
    std::this_thread::yield();
  }
  return false;
}

}  // namespace vfio_user
