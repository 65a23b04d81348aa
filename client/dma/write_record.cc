#include "client/dma/write_record.h"

#include <algorithm>
#include <iterator>

#include "absl/status/status.h"

namespace vfio_user {

absl::Status WriteRecord::Start(uint64_t page_size) {
  MutexLock lock(mu_);
  if (on_) {
    return absl::FailedPreconditionError(
        "DMA is logged already: a client has one DmaLog at a time, which must be stopped first");
  }
  page_size_ = page_size;
  on_ = true;
  return absl::OkStatus();
}

void WriteRecord::SetPageSize(uint64_t page_size) {
  MutexLock lock(mu_);
  page_size_ = page_size;
}

void WriteRecord::Stop() {
  MutexLock lock(mu_);
  on_ = false;
  ranges_.clear();
}

std::optional<uint64_t> WriteRecord::page_size() const {
  MutexLock lock(mu_);
  return on_ ? std::optional(page_size_) : std::nullopt;
}

void WriteRecord::Record(const IovaRange& mapping, const IovaRange& written) {
  if (!on_ || written.length == 0) return;
  MutexLock lock(mu_);
  if (!on_) return;
  const uint64_t base = ToU64(mapping.first);
  const uint64_t in_page = page_size_ - 1;
  const uint64_t first = (ToU64(written.first) - base) & ~in_page;
  const uint64_t last = (ToU64(*LastByte(written)) - base) | in_page;
  Add(base + first, base + std::min(last, mapping.length - 1));
}

void WriteRecord::Keep(const DirtyPages& reported) {
  MutexLock lock(mu_);
  if (!on_) return;
  for (const IovaRange& written : reported) Add(ToU64(written.first), ToU64(*LastByte(written)));
}

void WriteRecord::TakeInto(DirtyPages& pages) {
  const uint64_t wanted_first = ToU64(pages.range().first);
  const uint64_t wanted_last = ToU64(*LastByte(pages.range()));
  MutexLock lock(mu_);
  auto range = ranges_.upper_bound(wanted_first);
  if (range != ranges_.begin()) --range;
  while (range != ranges_.end() && range->first <= wanted_last) {
    const auto [first, last] = *range;
    if (last < wanted_first) {
      ++range;
      continue;
    }
    pages.Mark({Iova{first}, last - first + 1});
    range = ranges_.erase(range);
    // What is outside is left for another report.
    if (first < wanted_first) ranges_.emplace(first, wanted_first - 1);
    if (last > wanted_last) ranges_.emplace(wanted_last + 1, last);
    range = ranges_.upper_bound(std::max(first, wanted_first));
  }
}

void WriteRecord::Add(uint64_t first, uint64_t last) {
  auto above = ranges_.upper_bound(first);
  if (above != ranges_.begin()) {
    const auto below = std::prev(above);
    if (below->second >= last) return;
    if (first == 0 || below->second >= first - 1) {
      first = below->first;
      above = ranges_.erase(below);
    }
  }
  while (above != ranges_.end() && (last == UINT64_MAX || above->first <= last + 1)) {
    last = std::max(last, above->second);
    above = ranges_.erase(above);
  }
  ranges_.emplace(first, last);
}

}  // namespace vfio_user
