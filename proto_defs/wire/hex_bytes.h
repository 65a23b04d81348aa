// Bytes as a specification shows them, for tests.
#ifndef PROTO_DEFS_WIRE_HEX_BYTES_H_
#define PROTO_DEFS_WIRE_HEX_BYTES_H_

#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace vfio_user {

// Hex("20 00 0b") is {0x20, 0x00, 0x0b}. Blanks may stand anywhere, so that each field of a message
// has its string and its comment. Aborts on anything else: the test is wrong.
inline std::vector<uint8_t> Hex(std::string_view text) {
  std::vector<uint8_t> bytes;
  int digits = 0;
  for (const char c : text) {
    if (c == ' ') continue;
    if (std::isxdigit(static_cast<unsigned char>(c)) == 0) std::abort();
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    if (digits++ % 2 == 0) bytes.push_back(0);
    bytes.back() = static_cast<uint8_t>(bytes.back() << 4 | digit);
  }
  if (digits % 2 != 0) std::abort();
  return bytes;
}

}  // namespace vfio_user

#endif  // PROTO_DEFS_WIRE_HEX_BYTES_H_
