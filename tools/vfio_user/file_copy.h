// A file's way through a dma-copy device.
#ifndef TOOLS_VFIO_USER_FILE_COPY_H_
#define TOOLS_VFIO_USER_FILE_COPY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/output_file.h"

namespace vfio_user {

// How much memory a copy takes: each slot has a source and a destination of `slot_bytes`.
struct CopyBuffering {
  // Enough to keep file and device busy at once, and a total against which the rest of the process
  // is small.
  static constexpr size_t kMaxSlotBytes = 16 << 20;
  static constexpr size_t kMaxSlots = 4;

  size_t slot_bytes = kMaxSlotBytes;
  size_t slots = kMaxSlots;

  // No more than a file of `size` bytes needs; the most for one whose size is not known.
  static CopyBuffering For(std::optional<uint64_t> size);

  uint64_t total_bytes() const { return 2 * static_cast<uint64_t>(slot_bytes) * slots; }
};

// Reads a piece of the file into a slot's source, lets the device copy it to the slot's
// destination, and writes that out, with as many slots at once as there are. Thread-compatible.
class FileCopy {
 public:
  // Opens the device and lends it the slots, by `path`. `client` must outlive it.
  static absl::StatusOr<FileCopy> Prepare(const Client& client, const CopyBuffering& buffering,
                                          DmaPath path);

  // Told the number of bytes written so far; an error stops the copy.
  using Progress = std::function<absl::Status(uint64_t done)>;

  // All of `input` to `output`. The number of bytes.
  absl::StatusOr<uint64_t> Run(InputFile& input, OutputFile& output, const Progress& progress);

  // The path that the memory got.
  DmaPath path() const { return slots_.front().source.path(); }

 private:
  struct Slot {
    DmaBuffer source;
    DmaBuffer destination;
    size_t bytes = 0;  // In use.
  };

  FileCopy(std::unique_ptr<DmaCopyDriver> driver, std::vector<Slot> slots)
      : driver_(std::move(driver)), slots_(std::move(slots)) {}

  absl::StatusOr<bool> FillAndSubmit(InputFile& input, Slot& slot);

  std::unique_ptr<DmaCopyDriver> driver_;
  std::vector<Slot> slots_;
};

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_FILE_COPY_H_
