// A set of the flags of one enumeration, whose values are single bits.
#ifndef PROTO_DEFS_WIRE_FLAG_SET_H_
#define PROTO_DEFS_WIRE_FLAG_SET_H_

#include <optional>
#include <type_traits>

namespace vfio_user {

template <typename Flag>
class FlagSet {
 public:
  using Bits = std::underlying_type_t<Flag>;

  constexpr FlagSet() = default;
  constexpr FlagSet(Flag flag) : bits_(static_cast<Bits>(flag)) {}  // NOLINT: a flag is a set.

  // nullopt when `bits` has a bit outside `known`: an unknown bit may change what a message means.
  static constexpr std::optional<FlagSet> FromWire(Bits bits, FlagSet known) {
    if ((bits & ~known.bits_) != 0) return std::nullopt;
    return FlagSet(bits);
  }
  // Drops bits outside `known`. Only for what a peer tells about itself, where a newer one may say
  // more than we understand and nothing is asked of us; never for what it asks us to do.
  static constexpr FlagSet KnownOf(Bits bits, FlagSet known) {
    return FlagSet(static_cast<Bits>(bits & known.bits_));
  }
  constexpr Bits ToWire() const { return bits_; }

  constexpr bool Has(Flag flag) const { return (bits_ & static_cast<Bits>(flag)) != 0; }
  constexpr bool HasAll(FlagSet flags) const { return (bits_ & flags.bits_) == flags.bits_; }
  constexpr bool empty() const { return bits_ == 0; }

  friend constexpr FlagSet operator|(FlagSet a, FlagSet b) {
    return FlagSet(static_cast<Bits>(a.bits_ | b.bits_));
  }
  friend constexpr FlagSet operator&(FlagSet a, FlagSet b) {
    return FlagSet(static_cast<Bits>(a.bits_ & b.bits_));
  }
  constexpr FlagSet& operator|=(FlagSet other) { return *this = *this | other; }
  friend constexpr bool operator==(FlagSet a, FlagSet b) = default;

 private:
  explicit constexpr FlagSet(Bits bits) : bits_(bits) {}

  Bits bits_ = 0;
};

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_FLAG_SET_H_
