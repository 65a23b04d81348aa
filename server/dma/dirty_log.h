// Which bytes of the client's memory a device has written: pure bookkeeping.
#ifndef SERVER_DMA_DIRTY_LOG_H_
#define SERVER_DMA_DIRTY_LOG_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/btree_map.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Sets bits `first` to `last`, both included, of a bitmap whose lowest bit is that of its first
// byte. In time proportional to the bytes touched.
void SetBits(std::span<uint8_t> bitmap, uint64_t first, uint64_t last);

// Remembers writes as ranges of whole pages of its own page size, and tells of them in pages of any
// other: a range knows its bytes, so that a report clears exactly the bytes that it spoke of, even
// where it ends within a page. Neither a mark nor a report costs more for a longer range of
// addresses, only for more dirty ranges in it and a longer bitmap.
//
// Pages that touch make one range. A client that sees to it that many do not, with tiny pages and
// writes far apart, cannot use up memory: above the limit the log's pages double until half of it
// will do, and go back when reports have emptied it. A report then says more than was written, and
// never less. Thread-compatible.
class DirtyLog {
 public:
  // A million pages that do not touch, in about 32 MB at worst.
  static constexpr size_t kMostRanges = 1 << 20;

  // Logs what lies in the ranges of `start`, or everything where there are none; pages are of
  // start.page_size, a power of two. `most_ranges` is at least 4.
  explicit DirtyLog(const DmaLoggingStart& start, size_t most_ranges = kMostRanges);

  // The bytes from `first` to `last` were written, or will be.
  void Mark(Iova first, Iova last);

  // Sets a bit in `bitmap`, which is zeros, for each page of `page_size` bytes, counted from
  // `first`, that has a dirty byte up to `last`; and forgets these bytes. The bitmap has a bit for
  // each page; `page_size` is a power of two.
  void Take(Iova first, Iova last, uint64_t page_size, std::span<uint8_t> bitmap);

  // Of dirty bytes.
  size_t range_count() const { return dirty_.size(); }
  // What marks are rounded to at present.
  uint64_t page_size() const { return page_size_; }

 private:
  // Inclusive.
  struct Range {
    uint64_t first = 0;
    uint64_t last = 0;
  };

  Range RoundOut(Range bytes) const;
  void Add(Range bytes);
  void Coarsen();

  const uint64_t asked_page_size_;
  const size_t most_ranges_;
  std::vector<Range> logged_;  // Ascending; they do not touch.
  uint64_t page_size_;
  // From the last byte of each range to its first; they do not touch.
  absl::btree_map<uint64_t, uint64_t> dirty_;
};

}  // namespace vfio_user

#endif  // SERVER_DMA_DIRTY_LOG_H_
