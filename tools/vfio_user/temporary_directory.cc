#include "tools/vfio_user/temporary_directory.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

#include "absl/status/statusor.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"

namespace vfio_user {
namespace {

// Leaves room for the directory's own name and a socket's in the 107 bytes that a path may have.
constexpr size_t kMaxBaseBytes = 60;

}  // namespace

absl::StatusOr<TemporaryDirectory> TemporaryDirectory::Create() {
  const char* const wanted = std::getenv("TMPDIR");
  std::string path = wanted != nullptr ? wanted : "";
  if (path.empty() || path.size() > kMaxBaseBytes) path = "/tmp";
  path += "/vfio-user-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return ErrnoStatus(errno, fmt::format("cannot make a directory {}", path));
  }
  return TemporaryDirectory(std::move(path));
}

TemporaryDirectory::~TemporaryDirectory() {
  if (path_.empty()) return;
  std::error_code ignored;  // Nobody is left to be told, and the directory is a temporary one.
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace vfio_user
