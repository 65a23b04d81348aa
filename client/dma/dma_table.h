// Which memory of this process is at which bus address.
#ifndef CLIENT_DMA_DMA_TABLE_H_
#define CLIENT_DMA_DMA_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client_options.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Memory that the device was lent. Borrowed from the application.
struct DmaMemory {
  std::byte* data = nullptr;  // Written only if `access` has kWrite.
  uint64_t size = 0;          // In bytes.
  DmaMapFlags access;         // Of kRead and kWrite.
};

// Makes no system call and knows no connection. Thread-safe.
class DmaTable {
 public:
  class Use;

  // InvalidArgument for an empty range and one that passes 2^64 - 1, AlreadyExists where it
  // overlaps another. On error, no change.
  absl::Status Insert(Iova iova, const DmaMemory& memory) ABSL_LOCKS_EXCLUDED(mu_);

  // Inserts at the lowest free address in `window`, and returns it. InvalidArgument for empty
  // memory, a window that is empty or passes 2^64 - 1, and an alignment that is no power of two;
  // ResourceExhausted where there is no room. Where the window is the last one's, and no smaller
  // mapping was placed in it before, it does not look at what is known to be full.
  absl::StatusOr<Iova> InsertIn(const IovaWindow& window, const DmaMemory& memory)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Takes out what was inserted at `iova`; nothing when there is none. From the call on nobody can
  // find it, and it returns when the last Use of it is gone.
  void Erase(Iova iova) ABSL_LOCKS_EXCLUDED(mu_);

  // The memory at [address, address + count), in use until the Use is gone. OutOfRange (EFAULT)
  // unless the range is in one mapping: where two adjoin, a server has a message for each.
  // PermissionDenied (EACCES) unless the mapping allows `access`.
  absl::StatusOr<Use> Find(Iova address, uint64_t count, DmaMapFlag access)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Of mappings.
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    uint64_t last = 0;  // The last bus address.
    DmaMemory memory;
    int uses = 0;
    bool leaving = false;  // Erase waits for `uses` to become 0.
  };
  using Entries = absl::btree_map<uint64_t, Entry>;  // By the first bus address.

  // The entry with the lowest address that is not entirely below `address`.
  Entries::iterator FirstEndingAt(uint64_t address) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::optional<uint64_t> LowestFree(const IovaWindow& window, uint64_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The lowest address from `from`, which is aligned, on.
  std::optional<uint64_t> LowestFreeFrom(uint64_t from, const IovaWindow& window, uint64_t size)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void EraseLocked(Entries::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status InsertLocked(Iova iova, const DmaMemory& memory) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Release(uint64_t first) ABSL_LOCKS_EXCLUDED(mu_);

  mutable Mutex mu_;
  CondVar released_;
  Entries entries_ ABSL_GUARDED_BY(mu_);

  // What is known of a window: below `from`, which is aligned, there is no room for `size` bytes.
  // Without it, to fill a window with mappings would take a time that is their number squared.
  struct Full {
    IovaWindow window;
    uint64_t size = 0;
    uint64_t from = 0;
  };
  std::optional<Full> full_ ABSL_GUARDED_BY(mu_);
};

// Keeps a mapping in the table for as long as it lives. Movable; belongs to one thread.
class DmaTable::Use {
 public:
  Use(Use&& other) noexcept : table_(other.table_), mapping_(other.mapping_), data_(other.data_) {
    other.table_ = nullptr;
  }
  Use& operator=(Use&&) = delete;
  ~Use() {
    if (table_ != nullptr) table_->Release(ToU64(mapping_.first));
  }

  // Where the range that was looked for starts.
  std::byte* data() const { return data_; }
  // All of the mapping that the range is in.
  const IovaRange& mapping() const { return mapping_; }

 private:
  friend class DmaTable;
  Use(DmaTable* table, const IovaRange& mapping, std::byte* data)
      : table_(table), mapping_(mapping), data_(data) {}

  DmaTable* table_;
  IovaRange mapping_;
  std::byte* data_;
};

}  // namespace vfio_user

#endif  // CLIENT_DMA_DMA_TABLE_H_
