#include "tests/bench/stay_on.h"

#include <sched.h>

#include <vector>

namespace vfio_user {
namespace {

std::vector<int> UsableProcessors() {
  std::vector<int> usable;
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) != 0) return usable;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) usable.push_back(i);
  }
  return usable;
}

}  // namespace

void StayOn(size_t processor) {
  // Once: what has been told to stay may use that one alone.
  static const auto& usable = *new std::vector<int>(UsableProcessors());
  if (processor >= usable.size()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(usable[processor], &set);
  (void)::sched_setaffinity(0, sizeof(set), &set);
}

}  // namespace vfio_user
