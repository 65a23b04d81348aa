// The state of a device as it travels: what MIG_DATA_READ gives and MIG_DATA_WRITE takes.
#ifndef SERVER_MIGRATION_SAVED_STATE_H_
#define SERVER_MIGRATION_SAVED_STATE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace vfio_user {

// To the client a stream of bytes; to the server:
//   magic u64 @0 | version u32 @8 | bytes of the name u32 @12 | of config u32 @16 |
//   of interrupts u32 @20 | of device u64 @24 | name @32 | config | interrupts | device |
//   CRC-32 u32 of all before it, as zlib computes it
// in host byte order, like the messages that carry it: another order is another magic.
//
// Not the eventfds and masks of SET_IRQS, nor what is mapped: these are of the client's connection
// and no part of the device. The client that loads a state sets its own.
struct SavedState {
  std::string name;  // Of the device: state is nothing to a device of another kind.
  std::vector<std::byte> config = {};      // See PciConfigSpace::Save.
  std::vector<std::byte> interrupts = {};  // What the server keeps of them for the device.
  std::vector<std::byte> device = {};      // See Migratable::Save.

  // InvalidArgument unless it is exactly one such stream, whole and as it was. Allocates no more
  // than there is.
  static absl::StatusOr<SavedState> Parse(std::span<const uint8_t> stream);
  std::vector<uint8_t> ToStream() const;

  friend bool operator==(const SavedState&, const SavedState&) = default;
};

}  // namespace vfio_user

#endif  // SERVER_MIGRATION_SAVED_STATE_H_
