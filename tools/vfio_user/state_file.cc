#include "tools/vfio_user/state_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/pci_function.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "tools/vfio_user/exit_code.h"

namespace vfio_user {
namespace {

constexpr std::string_view kMagic = "vfio-user state\n";
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 32;
constexpr size_t kTrailerBytes = 16;
constexpr size_t kPieceBytes = 64 << 10;

constexpr std::array<uint32_t, 256> MakeCrcTable() {
  constexpr uint32_t kReversedPolynomial = 0xedb88320;
  std::array<uint32_t, 256> table = {};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? kReversedPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<uint32_t, 256> kCrcTable = MakeCrcTable();

template <typename T>
void Put(std::span<std::byte> bytes, size_t at, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) bytes[at + i] = static_cast<std::byte>(value >> (8 * i));
}

template <typename T>
T Take(std::span<const std::byte> bytes, size_t at) {
  T value = 0;
  for (size_t i = sizeof(T); i > 0; --i) {
    value = static_cast<T>(uint64_t{value} << 8 | std::to_integer<uint64_t>(bytes[at + i - 1]));
  }
  return value;
}

absl::Status NotWhole(const std::string& path) {
  return UsageError(fmt::format(
      "{} is cut short or damaged; save the state again, or take another copy of the file", path));
}

absl::StatusOr<StateOwner> ReadHeader(InputFile& file) {
  std::array<std::byte, kHeaderBytes> header = {};
  VFIO_USER_ASSIGN_OR_RETURN(const size_t count, file.Read(header));
  if (count < kMagic.size() || std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return UsageError(
        fmt::format("{} is not the state of a device; name a file that vfio-user "
                    "save wrote",
                    file.path()));
  }
  if (count < kHeaderBytes) return NotWhole(file.path());
  const auto version = Take<uint32_t>(header, 16);
  if (version != kVersion) {
    return UsageError(
        fmt::format("{} is a state file of version {}, and this program reads {}; "
                    "save the state with this version",
                    file.path(), version, kVersion));
  }
  return StateOwner{Take<uint16_t>(header, 20), Take<uint16_t>(header, 22)};
}

// The checksum of what is behind the header: `bytes` of the device, and the trailer that belongs to
// them.
absl::StatusOr<StateChecksum> CheckRest(InputFile& file, uint64_t bytes) {
  StateChecksum checksum;
  std::vector<std::byte> piece(kPieceBytes);
  for (uint64_t left = bytes; left > 0;) {
    const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left, piece.size()));
    VFIO_USER_ASSIGN_OR_RETURN(const size_t count, file.Read(std::span(piece).first(wanted)));
    if (count < wanted) return NotWhole(file.path());
    checksum.Add(std::span(piece).first(count));
    left -= count;
  }
  std::array<std::byte, kTrailerBytes> trailer = {};
  VFIO_USER_ASSIGN_OR_RETURN(const size_t count, file.Read(trailer));
  const bool whole = count == kTrailerBytes && Take<uint64_t>(trailer, 0) == bytes &&
                     Take<uint32_t>(trailer, 8) == checksum.value();
  if (!whole) return NotWhole(file.path());
  return checksum;
}

}  // namespace

absl::StatusOr<StateOwner> StateOwner::Of(const Client& client) {
  const absl::StatusOr<PciFunction> pci = client.OpenPci();
  if (absl::IsUnimplemented(pci.status())) return StateOwner();
  VFIO_USER_RETURN_IF_ERROR(pci.status());
  VFIO_USER_ASSIGN_OR_RETURN(const PciDeviceIdentity identity, pci->ReadIdentity());
  return StateOwner{identity.vendor_id, identity.device_id};
}

std::string ToText(const StateOwner& owner) {
  return fmt::format("{:04x}:{:04x}", owner.vendor_id, owner.device_id);
}

void StateChecksum::Add(std::span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    state_ = state_ >> 8 ^ kCrcTable[(state_ ^ std::to_integer<uint32_t>(byte)) & 0xff];
  }
}

absl::StatusOr<StateFileWriter> StateFileWriter::Begin(OutputFile file, const StateOwner& owner) {
  std::array<std::byte, kHeaderBytes> header = {};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  Put(header, 16, kVersion);
  Put(header, 20, owner.vendor_id);
  Put(header, 22, owner.device_id);
  VFIO_USER_RETURN_IF_ERROR(file.Write(header));
  return StateFileWriter(std::move(file));
}

absl::Status StateFileWriter::Write(std::span<const std::byte> piece) {
  checksum_.Add(piece);
  bytes_ += piece.size();
  return file_.Write(piece);
}

absl::Status StateFileWriter::Commit() {
  std::array<std::byte, kTrailerBytes> trailer = {};
  Put(trailer, 0, bytes_);
  Put(trailer, 8, checksum_.value());
  VFIO_USER_RETURN_IF_ERROR(file_.Write(trailer));
  return file_.Commit();
}

absl::StatusOr<StateFileReader> StateFileReader::Open(const std::string& path,
                                                      const StopSignals& stop) {
  VFIO_USER_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
  const std::optional<uint64_t> size = file.size_hint();
  if (!size) {
    return UsageError(
        fmt::format("{} is no regular file, and is to be read twice; name a file", path));
  }
  file.StopAt(stop);
  VFIO_USER_ASSIGN_OR_RETURN(const StateOwner owner, ReadHeader(file));
  if (*size < kHeaderBytes + kTrailerBytes) return NotWhole(path);
  const uint64_t bytes = *size - kHeaderBytes - kTrailerBytes;
  VFIO_USER_ASSIGN_OR_RETURN(const StateChecksum checksum, CheckRest(file, bytes));
  // The same descriptor: another file may have got the name meanwhile.
  VFIO_USER_RETURN_IF_ERROR(file.Seek(kHeaderBytes));
  return StateFileReader(std::move(file), {owner, bytes, checksum});
}

absl::StatusOr<size_t> StateFileReader::Read(std::span<std::byte> into) {
  const size_t wanted = static_cast<size_t>(std::min<uint64_t>(left_, into.size()));
  VFIO_USER_ASSIGN_OR_RETURN(const size_t count, file_.Read(into.first(wanted)));
  read_.Add(into.first(count));
  left_ -= count;
  // The last piece is what a device would run with.
  const bool changed = left_ == 0 && read_.value() != content_.checksum.value();
  if (count == wanted && !changed) return count;
  return absl::DataLossError(fmt::format(
      "{} changed while it was loaded; load it again when nobody writes to it", file_.path()));
}

}  // namespace vfio_user
