#include "server/devices/edu_state.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/wire_reader.h"
#include "proto_defs/wire/wire_writer.h"

namespace vfio_user {
namespace {

constexpr uint32_t kVersion = 1;

}  // namespace

absl::StatusOr<EduState> EduState::Parse(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  EduState out;
  const auto version = in.Read<uint32_t>();
  EduRegisters::State& registers = out.registers;
  registers.liveness = in.Read<uint32_t>();
  registers.factorial = in.Read<uint32_t>();
  registers.status = in.Read<uint32_t>();
  registers.interrupts = in.Read<uint32_t>();
  registers.dma_source = in.Read<uint64_t>();
  registers.dma_destination = in.Read<uint64_t>();
  registers.dma_count = in.Read<uint64_t>();
  registers.dma_command = in.Read<uint64_t>();
  std::ranges::copy(std::as_bytes(in.Take(out.buffer.size())), out.buffer.begin());
  VFIO_USER_RETURN_IF_ERROR(in.Finish("state of edu"));
  if (version != kVersion) {
    return absl::InvalidArgumentError(
        fmt::format("state of edu: version is {}, want {}", version, kVersion));
  }
  if (!EduRegisters::IsValid(registers)) {
    return absl::InvalidArgumentError(
        fmt::format("state of edu: status is {:#x}, want bits of 0x81", registers.status));
  }
  return out;
}

std::vector<std::byte> EduState::Serialize() const {
  std::vector<uint8_t> bytes;
  WireWriter out(bytes);
  out.Write<uint32_t>(kVersion);
  out.Write<uint32_t>(registers.liveness);
  out.Write<uint32_t>(registers.factorial);
  out.Write<uint32_t>(registers.status);
  out.Write<uint32_t>(registers.interrupts);
  out.Write<uint64_t>(registers.dma_source);
  out.Write<uint64_t>(registers.dma_destination);
  out.Write<uint64_t>(registers.dma_count);
  out.Write<uint64_t>(registers.dma_command);
  const std::span<const std::byte> fixed = std::as_bytes(std::span(bytes));
  std::vector<std::byte> all(fixed.begin(), fixed.end());
  all.insert(all.end(), buffer.begin(), buffer.end());
  return all;
}

}  // namespace vfio_user
