// What the sources of :format share.
#ifndef PROTO_DEFS_WIRE_FORMAT_INTERNAL_H_
#define PROTO_DEFS_WIRE_FORMAT_INTERNAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fmt/format.h"
#include "proto_defs/wire/format.h"

namespace vfio_user {

// What is shown of data and of lists: enough to recognise them, on one line.
inline constexpr size_t kShownDataBytes = 16;
inline constexpr size_t kShownListItems = 8;

// "data 44435059", "data 00010203... (4096 bytes)", "data none".
std::string DataText(std::span<const uint8_t> data);

// "[a, b, ... 40 in all]".
template <HasText T>
std::string ListText(std::span<const T> items) {
  std::string out = "[";
  for (const T& item : items.first(std::min(items.size(), kShownListItems))) {
    out += fmt::format("{}{}", out.size() == 1 ? "" : ", ", item);
  }
  if (items.size() > kShownListItems) out += fmt::format(", ... {} in all", items.size());
  return out + "]";
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_FORMAT_INTERNAL_H_
