// Numbers of bytes as people read them.
#ifndef TOOLS_VFIO_USER_BYTE_TEXT_H_
#define TOOLS_VFIO_USER_BYTE_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace vfio_user {

// "512 B", "4.0 KiB", "1.5 GiB": whole bytes below 1 KiB, else one decimal.
std::string ByteText(uint64_t bytes);

// 0 where `elapsed` is too short to tell.
double BytesPerSecond(uint64_t bytes, absl::Duration elapsed);

// "1.5 GiB/s"; "-" where `elapsed` is too short to tell.
std::string RateText(uint64_t bytes, absl::Duration elapsed);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_BYTE_TEXT_H_
