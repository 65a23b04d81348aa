// Which pages of a range a device has written.
#ifndef CLIENT_DIRTY_PAGES_H_
#define CLIENT_DIRTY_PAGES_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// A bit per page of `page_size` bytes, counted from the range's first byte, wherever that is; the
// last page ends with the range. As a container it is the written parts in ascending order, pages
// that adjoin as one:
//
//   for (const IovaRange& written : pages) Send(written);
//
// A value type: copies are deep, 1 bit per page. Makes no system call. Thread-compatible.
class DirtyPages {
 public:
  class Iterator;

  // More pages would take more than 256 MiB.
  static constexpr uint64_t kMaxPages = uint64_t{1} << 31;

  // All clean. InvalidArgument for a range that is empty or passes 2^64 - 1 and a page size that is
  // no power of two; ResourceExhausted for more than kMaxPages.
  static absl::StatusOr<DirtyPages> Create(const IovaRange& range, uint64_t page_size);

  const IovaRange& range() const { return range_; }
  uint64_t page_size() const { return uint64_t{1} << shift_; }  // In bytes.
  uint64_t page_count() const { return last_page_ + 1; }

  // The lowest page is the lowest bit of the first word. Bits beyond page_count() are 0.
  std::span<const uint64_t> words() const { return words_; }

  // Whether the page that `address` is in was written; false outside the range.
  bool IsDirty(Iova address) const;
  uint64_t dirty_count() const;  // In pages.

  Iterator begin() const;
  std::default_sentinel_t end() const { return {}; }

  // Marks each page of which `written` has a byte. What is outside the range is left out.
  void Mark(const IovaRange& written);
  // The same for all that `other` has, whatever its range and page size. Takes time in proportion
  // to other's words and written parts, not to its pages.
  void Mark(const DirtyPages& other);
  // Marks the pages whose bits are set in `bitmap`, laid out like words(). Its length must be
  // theirs.
  void MarkBitmap(std::span<const uint8_t> bitmap);

 private:
  DirtyPages(const IovaRange& range, uint64_t page_size);

  void MarkPages(uint64_t first, uint64_t last);
  // The first page at or behind `page` that is dirty, or clean; nullopt when there is none.
  std::optional<uint64_t> FindFrom(uint64_t page, bool dirty) const;
  // The first written part at or behind `page`.
  std::optional<IovaRange> NextFrom(uint64_t page) const;

  IovaRange range_;
  int shift_ = 0;
  uint64_t last_page_ = 0;
  std::vector<uint64_t> words_;
};

// Single pass over what was written. Changes to the pages invalidate it.
class DirtyPages::Iterator {
 public:
  using iterator_concept = std::input_iterator_tag;
  using value_type = IovaRange;
  using difference_type = std::ptrdiff_t;

  const IovaRange& operator*() const { return *current_; }
  const IovaRange* operator->() const { return &*current_; }
  Iterator& operator++();
  void operator++(int) { ++*this; }
  friend bool operator==(const Iterator& it, std::default_sentinel_t) {
    return !it.current_.has_value();
  }

 private:
  friend class DirtyPages;
  explicit Iterator(const DirtyPages& pages) : pages_(&pages), current_(pages.NextFrom(0)) {}

  const DirtyPages* pages_;
  std::optional<IovaRange> current_;
};

inline DirtyPages::Iterator DirtyPages::begin() const { return Iterator(*this); }

}  // namespace vfio_user

#endif  // CLIENT_DIRTY_PAGES_H_
