// What a command writes its data to.
#ifndef TOOLS_VFIO_USER_OUTPUT_FILE_H_
#define TOOLS_VFIO_USER_OUTPUT_FILE_H_

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/unique_fd.h"
#include "tools/vfio_user/stop_signals.h"

namespace vfio_user {

// A file that is there whole or not at all: it is written beside its place, under a name of its
// own, and Commit moves it there, replacing what was. A pipe or device that exists already, and
// standard output under any name, is written to as it stands. Movable. Thread-compatible.
class OutputFile {
 public:
  // A UsageError for what cannot be written: a directory, no directory to be in, no permission. A
  // file that is replaced keeps its permissions; a symbolic link keeps pointing where it did.
  static absl::StatusOr<OutputFile> Create(const std::string& path);

  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  // Without Commit nothing remains of it.
  ~OutputFile();

  // Has Write return Cancelled when a signal comes while it waits. Borrowed.
  void StopAt(const StopSignals& stop) { stop_ = &stop; }

  // All of `bytes`, behind what was written before.
  absl::Status Write(std::span<const std::byte> bytes);

  // Puts the file in its place. To be called last, and once.
  absl::Status Commit();

 private:
  OutputFile(std::string path, std::string temporary_path, UniqueFd fd);

  static absl::StatusOr<OutputFile> CreateBeside(const std::string& path);
  absl::Status AwaitRoom() const;

  std::string path_;
  std::string temporary_path_;  // Empty when there is none (any more).
  UniqueFd fd_;
  const StopSignals* stop_ = nullptr;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_OUTPUT_FILE_H_
