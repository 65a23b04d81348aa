#include "tests/testing/temp_dir.h"

#include <sys/un.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace vfio_user {
namespace {

constexpr size_t kMostNameBytes = 24;
constexpr std::string_view kTemplate = "/vu.XXXXXX";

std::string Parent() {
  const char* const given = std::getenv("TEST_TMPDIR");
  const std::string parent = given == nullptr ? "" : given;
  const size_t longest = parent.size() + kTemplate.size() + 1 + kMostNameBytes;
  const bool fits = longest < sizeof(sockaddr_un::sun_path);
  return parent.empty() || !fits ? "/tmp" : parent;
}

[[noreturn]] void Die(const std::string& why) {
  std::perror(why.c_str());
  std::abort();
}

}  // namespace

TempDir::TempDir() : path_(Parent().append(kTemplate)) {
  if (::mkdtemp(path_.data()) == nullptr) Die(path_);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::File(std::string_view name) const {
  if (name.size() > kMostNameBytes) Die("a name that is too long for a TempDir");
  return path_ + "/" + std::string(name);
}

}  // namespace vfio_user
