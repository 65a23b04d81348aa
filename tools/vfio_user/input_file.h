// What a command reads its data from.
#ifndef TOOLS_VFIO_USER_INPUT_FILE_H_
#define TOOLS_VFIO_USER_INPUT_FILE_H_

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/stop_signals.h"

namespace vfio_user {

// A file, pipe or device, read from its start to its end. Movable. Thread-compatible.
class InputFile {
 public:
  // A UsageError for what cannot be read: not there, a directory.
  static absl::StatusOr<InputFile> Open(const std::string& path);

  // How long a regular file was when it was opened, in bytes; nullopt for what has no length. It
  // is a hint: a file may grow, and the kernel's own files say 0.
  std::optional<uint64_t> size_hint() const;

  // Has Read return Cancelled when a signal comes while it waits. Borrowed.
  void StopAt(const StopSignals& stop) { stop_ = &stop; }

  // Fills `into` as far as the file goes: fewer bytes mean its end.
  absl::StatusOr<size_t> Read(std::span<std::byte> into);

  // Has the next Read begin at `offset`, in bytes, of a file that can be read twice.
  absl::Status Seek(uint64_t offset);

  // What is left of it. Memory is taken as it comes.
  absl::StatusOr<std::vector<std::byte>> ReadAll();

  const std::string& path() const { return path_; }
  const struct stat& stat() const { return stat_; }

 private:
  InputFile(std::string path, UniqueFd fd, const struct stat& stat)
      : path_(std::move(path)), fd_(std::move(fd)), stat_(stat) {}

  std::string path_;
  UniqueFd fd_;
  struct stat stat_;
  const StopSignals* stop_ = nullptr;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_INPUT_FILE_H_
