#include "tools/vfio_user/file_copy.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"
#include "client/client_options.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/dma_buffer.h"
#include "tools/vfio_user/dma_copy_driver.h"
#include "tools/vfio_user/input_file.h"
#include "tools/vfio_user/output_file.h"

namespace vfio_user {
namespace {

// A file that says that it is empty may be one of the kernel's, which have more to say.
constexpr size_t kMinSlotBytes = 4096;

}  // namespace

CopyBuffering CopyBuffering::For(std::optional<uint64_t> size) {
  if (!size.has_value()) return {};
  CopyBuffering out;
  out.slot_bytes = static_cast<size_t>(std::clamp<uint64_t>(*size, kMinSlotBytes, kMaxSlotBytes));
  const uint64_t needed = *size / out.slot_bytes + (*size % out.slot_bytes != 0 ? 1 : 0);
  out.slots = static_cast<size_t>(std::clamp<uint64_t>(needed, 1, kMaxSlots));
  return out;
}

absl::StatusOr<FileCopy> FileCopy::Prepare(const Client& client, const CopyBuffering& buffering,
                                           DmaPath path) {
  DmaCopyOptions options;
  options.path = path;
  VFIO_USER_ASSIGN_OR_RETURN(std::unique_ptr<DmaCopyDriver> driver,
                             DmaCopyDriver::Open(client, options));
  std::vector<Slot> slots;
  for (size_t i = 0; i < buffering.slots; ++i) {
    VFIO_USER_ASSIGN_OR_RETURN(DmaBuffer source,
                               DmaBuffer::Create(client, buffering.slot_bytes, path));
    VFIO_USER_ASSIGN_OR_RETURN(DmaBuffer destination,
                               DmaBuffer::Create(client, buffering.slot_bytes, path));
    slots.push_back({std::move(source), std::move(destination), 0});
  }
  return FileCopy(std::move(driver), std::move(slots));
}

// False at the end of the file, when there is nothing to submit.
absl::StatusOr<bool> FileCopy::FillAndSubmit(InputFile& input, Slot& slot) {
  VFIO_USER_ASSIGN_OR_RETURN(slot.bytes, input.Read(slot.source.bytes()));
  if (slot.bytes == 0) return false;
  VFIO_USER_RETURN_IF_ERROR(driver_->Submit(
      DmaCopyOperation::Copy(slot.source.iova(), slot.destination.iova(), slot.bytes)));
  return true;
}

absl::StatusOr<uint64_t> FileCopy::Run(InputFile& input, OutputFile& output,
                                       const Progress& progress) {
  uint64_t written = 0;
  size_t next = 0;    // The slot to fill next.
  size_t oldest = 0;  // The slot whose copy was submitted first, if any is in flight.
  bool more = true;
  while (true) {
    if (more && driver_->in_flight() < slots_.size()) {
      VFIO_USER_ASSIGN_OR_RETURN(more, FillAndSubmit(input, slots_[next]));
      if (more) next = (next + 1) % slots_.size();
      continue;
    }
    if (driver_->in_flight() == 0) return written;
    VFIO_USER_RETURN_IF_ERROR(driver_->WaitForOldest().status());
    const Slot& slot = slots_[oldest];
    VFIO_USER_RETURN_IF_ERROR(output.Write(slot.destination.bytes().first(slot.bytes)));
    oldest = (oldest + 1) % slots_.size();
    written += slot.bytes;
    VFIO_USER_RETURN_IF_ERROR(progress(written));
  }
}

}  // namespace vfio_user
