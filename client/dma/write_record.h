// What the client itself knows of the memory that its device wrote.
#ifndef CLIENT_DMA_WRITE_RECORD_H_
#define CLIENT_DMA_WRITE_RECORD_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "client/dirty_pages.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Holds what DMA messages wrote, which no server has to know, and what a server reported that
// nobody has asked for yet: libvfio-user reports a mapping from its beginning only, and forgets
// what it has told. A report is made of both.
//
// Has at most one entry for two pages of what is mapped, and no page twice. Makes no system call.
// Thread-safe.
class WriteRecord {
 public:
  // From now on writes are recorded, in whole pages of that many bytes, a power of two.
  // FailedPrecondition while it is on.
  absl::Status Start(uint64_t page_size) ABSL_LOCKS_EXCLUDED(mu_);
  // From now on in pages of that many bytes; what was recorded stays as it is.
  void SetPageSize(uint64_t page_size) ABSL_LOCKS_EXCLUDED(mu_);
  // Forgets everything.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

  // In bytes; nullopt while it is off.
  std::optional<uint64_t> page_size() const ABSL_LOCKS_EXCLUDED(mu_);

  // Notes a write within `mapping`, from whose first byte pages are counted. To be called when the
  // bytes are written, all or some: a report that came between the note and the bytes would take
  // the note, and nobody would ever hear of the bytes. Does nothing while it is off.
  void Record(const IovaRange& mapping, const IovaRange& written) ABSL_LOCKS_EXCLUDED(mu_);

  // Notes what a server reported, for a later TakeInto. Does nothing while it is off.
  void Keep(const DirtyPages& reported) ABSL_LOCKS_EXCLUDED(mu_);

  // Moves what is noted in the range of `pages` there.
  void TakeInto(DirtyPages& pages) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Ranges = absl::btree_map<uint64_t, uint64_t>;  // First and last address; apart.

  // Adds [first, last].
  void Add(uint64_t first, uint64_t last) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Looked at without the lock by every message.
  std::atomic<bool> on_ = false;
  mutable Mutex mu_;
  uint64_t page_size_ ABSL_GUARDED_BY(mu_) = 0;
  Ranges ranges_ ABSL_GUARDED_BY(mu_);
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_WRITE_RECORD_H_
