#include "tests/testing/memfd.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <string_view>

namespace vfio_user {
namespace {

// The kernel's number of an eventfd; empty for all else.
std::string EventfdId(FdView fd) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(fd.get()));
  std::string word;
  while (info >> word) {
    if (word == "eventfd-id:" && info >> word) return word;
  }
  return "";
}

}  // namespace

UniqueFd Memfd(std::string_view content) {
  UniqueFd fd(::memfd_create("test", MFD_CLOEXEC));
  if (::pwrite(fd.get(), content.data(), content.size(), 0) !=
      static_cast<ssize_t>(content.size())) {
    return UniqueFd();
  }
  return fd;
}

std::string ContentOf(FdView fd) {
  struct stat file = {};
  if (::fstat(fd.get(), &file) != 0) return "";
  std::string content(static_cast<size_t>(file.st_size), '\0');
  const ssize_t got = ::pread(fd.get(), content.data(), content.size(), 0);
  content.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return content;
}

bool IsSameFile(FdView one, FdView other) {
  struct stat first = {};
  struct stat second = {};
  return ::fstat(one.get(), &first) == 0 && ::fstat(other.get(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino &&
         EventfdId(one) == EventfdId(other);
}

}  // namespace vfio_user
