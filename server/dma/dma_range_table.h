// Ranges of bus addresses that do not overlap, each with a value.
#ifndef SERVER_DMA_DMA_RANGE_TABLE_H_
#define SERVER_DMA_DMA_RANGE_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "proto_defs/wire/iova.h"

namespace vfio_user {

// Finds the range of an address in logarithmic time, and of one near those that were looked up
// lately at once. Thread-compatible.
template <typename Value>
class DmaRangeTable {
 public:
  struct Entry {
    Iova first{};
    Iova last{};  // Inclusive.
    Value value;
  };

  // What somebody looked up lately, for nobody else to use at the same time. Of one table.
  class Recent {
   private:
    friend class DmaRangeTable;
    uint64_t version_ = 0;
    std::array<const Entry*, 16> places_ = {};
  };

  // Adds `entry`, whose `last` is not below its `first`. False, and no change, where it shares a
  // byte with another.
  bool Insert(Entry entry) {
    // The only range that can overlap: the others end before the new one, or begin after this.
    const auto next = by_last_.lower_bound(entry.first);
    if (next != by_last_.end() && next->second.first <= entry.last) return false;
    ++version_;
    by_last_.emplace_hint(next, entry.last, std::move(entry));
    return true;
  }

  // The range that has `address` in it, or nullptr. Valid until the table changes.
  const Entry* Find(Iova address) const {
    const auto found = by_last_.lower_bound(address);
    return found == by_last_.end() || found->second.first > address ? nullptr : &found->second;
  }
  // The same, sooner where `recent` knows it.
  const Entry* Find(Iova address, Recent& recent) const {
    if (recent.version_ != version_) {
      recent.places_.fill(nullptr);
      recent.version_ = version_;
    }
    // A device goes back and forth between a few places: a ring, and the buffers it names.
    const Entry*& place = recent.places_[(ToU64(address) >> kPlaceBits) % recent.places_.size()];
    if (place != nullptr && place->first <= address && address <= place->last) return place;
    const Entry* const found = Find(address);
    if (found != nullptr) place = found;
    return found;
  }

  // Takes out the range from `first` to `last`; nullopt, and no change, where there is none with
  // exactly these ends.
  std::optional<Value> Remove(Iova first, Iova last) {
    const auto found = by_last_.find(last);
    if (found == by_last_.end() || found->second.first != first) return std::nullopt;
    ++version_;
    std::optional<Value> value(std::move(found->second.value));
    by_last_.erase(found);
    return value;
  }

  // Takes out everything, in ascending order.
  std::vector<Value> RemoveAll() {
    ++version_;
    std::vector<Value> values;
    values.reserve(by_last_.size());
    for (auto& [last, entry] : by_last_) values.push_back(std::move(entry.value));
    by_last_.clear();
    return values;
  }

  size_t size() const { return by_last_.size(); }

 private:
  static constexpr int kPlaceBits = 12;  // A place is a page.

  // By the last byte, so that one lower_bound() finds the range of an address.
  absl::btree_map<Iova, Entry> by_last_;
  uint64_t version_ = 1;  // Another after each change.
};

}  // namespace vfio_user

#endif  // SERVER_DMA_DMA_RANGE_TABLE_H_
