#include "client/session/owner_process.h"

#include <sys/mman.h>

#include <new>

namespace vfio_user {
namespace {

// Never unmapped: objects that look at it may outlive everything else.
std::atomic<pid_t>* MapMark() {
  constexpr size_t kBytes = sizeof(std::atomic<pid_t>);
  void* const page =
      ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return nullptr;
  if (::madvise(page, kBytes, MADV_WIPEONFORK) == 0) return new (page) std::atomic<pid_t>(0);
  ::munmap(page, kBytes);
  return nullptr;
}

}  // namespace

OwnerProcess::OwnerProcess() : pid_(::getpid()) {
  static std::atomic<pid_t>* const mark = MapMark();
  if (mark == nullptr) return;
  mark->store(pid_, std::memory_order_relaxed);
  mark_ = mark;
}

}  // namespace vfio_user
