#include "client/dirty_pages.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "fmt/format.h"

namespace vfio_user {
namespace {

constexpr uint64_t kBitsPerWord = 64;

}  // namespace

absl::StatusOr<DirtyPages> DirtyPages::Create(const IovaRange& range, uint64_t page_size) {
  if (!LastByte(range)) {
    return absl::InvalidArgumentError(fmt::format(
        "range [{:#x}, +{:#x}) is empty or passes 2^64 - 1", ToU64(range.first), range.length));
  }
  if (!std::has_single_bit(page_size)) {
    return absl::InvalidArgumentError(
        fmt::format("page size is {:#x}, want a power of two", page_size));
  }
  if ((range.length - 1) / page_size >= kMaxPages) {
    return absl::ResourceExhaustedError(
        fmt::format("[{:#x}, +{:#x}) has more than {} pages of {:#x} bytes; ask for larger pages "
                    "or for less at a time",
                    ToU64(range.first), range.length, kMaxPages, page_size));
  }
  return DirtyPages(range, page_size);
}

DirtyPages::DirtyPages(const IovaRange& range, uint64_t page_size)
    : range_(range),
      shift_(std::countr_zero(page_size)),
      last_page_((range.length - 1) >> shift_),
      words_(last_page_ / kBitsPerWord + 1) {}

bool DirtyPages::IsDirty(Iova address) const {
  const uint64_t offset = ToU64(address) - ToU64(range_.first);
  if (address < range_.first || offset >= range_.length) return false;
  const uint64_t page = offset >> shift_;
  return (words_[page / kBitsPerWord] >> (page % kBitsPerWord) & 1) != 0;
}

uint64_t DirtyPages::dirty_count() const {
  uint64_t count = 0;
  for (const uint64_t word : words_) count += static_cast<uint64_t>(std::popcount(word));
  return count;
}

void DirtyPages::Mark(const IovaRange& written) {
  const std::optional<Iova> written_last = LastByte(written);
  if (!written_last) return;
  const uint64_t base = ToU64(range_.first);
  const uint64_t first = std::max(ToU64(written.first), base);
  const uint64_t last = std::min(ToU64(*written_last), ToU64(*LastByte(range_)));
  if (first > last) return;
  MarkPages((first - base) >> shift_, (last - base) >> shift_);
}

void DirtyPages::Mark(const DirtyPages& other) {
  for (const IovaRange& written : other) Mark(written);
}

void DirtyPages::MarkBitmap(std::span<const uint8_t> bitmap) {
  const size_t bytes = std::min(bitmap.size(), words_.size() * sizeof(uint64_t));
  for (size_t at = 0; at + sizeof(uint64_t) <= bytes; at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, bitmap.data() + at, sizeof(word));
    words_[at / sizeof(uint64_t)] |= word;
  }
  const uint64_t pages_in_last_word = last_page_ % kBitsPerWord + 1;
  words_.back() &= UINT64_MAX >> (kBitsPerWord - pages_in_last_word);
}

void DirtyPages::MarkPages(uint64_t first, uint64_t last) {
  const uint64_t first_word = first / kBitsPerWord;
  const uint64_t last_word = last / kBitsPerWord;
  const uint64_t from_first = UINT64_MAX << (first % kBitsPerWord);
  const uint64_t to_last = UINT64_MAX >> (kBitsPerWord - 1 - last % kBitsPerWord);
  if (first_word == last_word) {
    words_[first_word] |= from_first & to_last;
    return;
  }
  words_[first_word] |= from_first;
  for (uint64_t word = first_word + 1; word < last_word; ++word) words_[word] = UINT64_MAX;
  words_[last_word] |= to_last;
}

std::optional<uint64_t> DirtyPages::FindFrom(uint64_t page, bool dirty) const {
  const auto wanted = [&](uint64_t word) { return dirty ? words_[word] : ~words_[word]; };
  uint64_t word = page / kBitsPerWord;
  if (word >= words_.size()) return std::nullopt;
  uint64_t bits = wanted(word) & UINT64_MAX << (page % kBitsPerWord);
  while (bits == 0) {
    if (++word == words_.size()) return std::nullopt;
    bits = wanted(word);
  }
  const uint64_t found = word * kBitsPerWord + static_cast<uint64_t>(std::countr_zero(bits));
  // What is clean behind the last page is no page.
  return found <= last_page_ ? std::optional(found) : std::nullopt;
}

std::optional<IovaRange> DirtyPages::NextFrom(uint64_t page) const {
  const std::optional<uint64_t> first = FindFrom(page, /*dirty=*/true);
  if (!first) return std::nullopt;
  const uint64_t last = FindFrom(*first, /*dirty=*/false).value_or(page_count()) - 1;
  const uint64_t begin = *first << shift_;
  const uint64_t last_begin = last << shift_;
  // The last byte, inclusive: the range may end at 2^64 - 1, and with less than a page.
  const uint64_t end = last_begin + std::min(page_size() - 1, range_.length - 1 - last_begin);
  return IovaRange{Iova{ToU64(range_.first) + begin}, end - begin + 1};
}

DirtyPages::Iterator& DirtyPages::Iterator::operator++() {
  // The last page that this part touches is known to be the part's, and the next one to be clean.
  const uint64_t last_offset =
      ToU64(current_->first) - ToU64(pages_->range_.first) + (current_->length - 1);
  current_ = pages_->NextFrom((last_offset >> pages_->shift_) + 1);
  return *this;
}

}  // namespace vfio_user
