#include "server/dma/dirty_log.h"

#include <algorithm>
#include <bit>
#include <iterator>
#include <optional>

namespace vfio_user {
namespace {

constexpr uint64_t kBitsPerByte = 8;

// The address before `address`, or the first one.
uint64_t Before(uint64_t address) { return address == 0 ? 0 : address - 1; }
// The address after `address`, or the last one.
uint64_t After(uint64_t address) { return address == UINT64_MAX ? address : address + 1; }

}  // namespace

void SetBits(std::span<uint8_t> bitmap, uint64_t first, uint64_t last) {
  const uint64_t first_byte = first / kBitsPerByte;
  const uint64_t last_byte = last / kBitsPerByte;
  const auto from_first = static_cast<uint8_t>(0xff << first % kBitsPerByte);
  const auto to_last = static_cast<uint8_t>(0xff >> (kBitsPerByte - 1 - last % kBitsPerByte));
  if (first_byte == last_byte) {
    bitmap[first_byte] = static_cast<uint8_t>(bitmap[first_byte] | (from_first & to_last));
    return;
  }
  bitmap[first_byte] |= from_first;
  std::ranges::fill(bitmap.subspan(first_byte + 1, last_byte - first_byte - 1), uint8_t{0xff});
  bitmap[last_byte] |= to_last;
}

DirtyLog::DirtyLog(const DmaLoggingStart& start, size_t most_ranges)
    : asked_page_size_(start.page_size), most_ranges_(most_ranges), page_size_(start.page_size) {
  for (const DmaLoggingRange& range : start.ranges) {
    const uint64_t first = ToU64(range.address);
    logged_.push_back({first, first + (range.length - 1)});
  }
  if (logged_.empty()) logged_.push_back({0, UINT64_MAX});
  std::ranges::sort(logged_, {}, &Range::first);
  size_t kept = 0;
  for (const Range& range : logged_) {
    if (kept > 0 && range.first <= After(logged_[kept - 1].last)) {
      logged_[kept - 1].last = std::max(logged_[kept - 1].last, range.last);
    } else {
      logged_[kept++] = range;
    }
  }
  logged_.resize(kept);
}

void DirtyLog::Mark(Iova first, Iova last) {
  auto logged = std::ranges::lower_bound(logged_, ToU64(first), {}, &Range::last);
  for (; logged != logged_.end() && logged->first <= ToU64(last); ++logged) {
    const Range written = {std::max(ToU64(first), logged->first),
                           std::min(ToU64(last), logged->last)};
    const Range pages = RoundOut(written);
    Add({std::max(pages.first, logged->first), std::min(pages.last, logged->last)});
  }
  if (dirty_.size() > most_ranges_) Coarsen();
}

void DirtyLog::Take(Iova first, Iova last, uint64_t page_size, std::span<uint8_t> bitmap) {
  const Range asked = {ToU64(first), ToU64(last)};
  const int page_bits = std::countr_zero(page_size);
  auto at = dirty_.lower_bound(asked.first);
  const auto begin = at;
  // What stays of the first range, and of the last one.
  std::optional<Range> before;
  std::optional<Range> after;
  for (; at != dirty_.end() && at->second <= asked.last; ++at) {
    const Range dirty = {at->second, at->first};
    SetBits(bitmap, (std::max(dirty.first, asked.first) - asked.first) >> page_bits,
            (std::min(dirty.last, asked.last) - asked.first) >> page_bits);
    if (dirty.first < asked.first) before = {dirty.first, asked.first - 1};
    if (dirty.last > asked.last) after = {asked.last + 1, dirty.last};
  }
  dirty_.erase(begin, at);
  if (before) dirty_.emplace(before->last, before->first);
  if (after) dirty_.emplace(after->last, after->first);
  // A report from within a range makes two of it.
  if (dirty_.size() > most_ranges_) Coarsen();
  if (dirty_.size() < most_ranges_ / 4) page_size_ = asked_page_size_;
}

DirtyLog::Range DirtyLog::RoundOut(Range bytes) const {
  return {bytes.first & ~(page_size_ - 1), bytes.last | (page_size_ - 1)};
}

void DirtyLog::Add(Range bytes) {
  // The first range that touches, or comes after.
  auto at = dirty_.lower_bound(Before(bytes.first));
  // A device writes the same places again and again: nothing to do is what there mostly is.
  if (at != dirty_.end() && at->second <= bytes.first && bytes.last <= at->first) return;
  const auto begin = at;
  for (; at != dirty_.end() && at->second <= After(bytes.last); ++at) {
    bytes.first = std::min(bytes.first, at->second);
    bytes.last = std::max(bytes.last, at->first);
  }
  dirty_.erase(begin, at);
  dirty_.emplace(bytes.last, bytes.first);
}

void DirtyLog::Coarsen() {
  while (dirty_.size() > most_ranges_ / 2) {
    page_size_ *= 2;
    absl::btree_map<uint64_t, uint64_t> finer;
    finer.swap(dirty_);
    for (const auto& [last, first] : finer) {
      Range pages = RoundOut({first, last});
      if (!dirty_.empty()) {
        const auto previous = std::prev(dirty_.end());
        if (pages.first <= After(previous->first)) {
          pages.first = std::min(pages.first, previous->second);
          dirty_.erase(previous);
        }
      }
      dirty_.emplace_hint(dirty_.end(), pages.last, pages.first);
    }
  }
}

}  // namespace vfio_user
