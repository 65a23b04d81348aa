#include "tests/conformance/server/dma_engine.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fmt/format.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/dma_access.h"
#include "proto_defs/wire/format.h"
#include "proto_defs/wire/header.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/wire_writer.h"
#include "tests/conformance/server/config_space.h"
#include "tests/conformance/server/dma_requests.h"
#include "tests/conformance/server/outcome.h"

namespace vfio_user {
namespace {

// dma-copy: server/devices/dma_copy.h describes its registers and descriptors.
constexpr uint64_t kRing = 0x8000;
constexpr uint32_t kRingEntries = 4;
constexpr uint64_t kDescriptorBytes = 64;
constexpr uint64_t kCopyStatus = 0x08;
constexpr uint64_t kCopyRingIova = 0x10;
constexpr uint64_t kCopyRingEntries = 0x18;
constexpr uint64_t kCopyDoorbell = 0x1c;
constexpr uint32_t kOpcodeCopy = 1;

// edu: QEMU's docs/specs/edu.rst does.
constexpr uint64_t kEduBuffer = 0x40000;
constexpr uint64_t kEduSource = 0x80;
constexpr uint64_t kEduDestination = 0x88;
constexpr uint64_t kEduCount = 0x90;
constexpr uint64_t kEduCommand = 0x98;
constexpr uint64_t kEduStart = 1;
constexpr uint64_t kEduToMemory = 2;

}  // namespace

void MessageMemory::Add(uint64_t address, size_t bytes) {
  ranges_[address] = std::vector<uint8_t>(bytes);
}

absl::Status MessageMemory::Fill(uint64_t address, std::span<const uint8_t> bytes) {
  const std::span<uint8_t> found = Find(address, bytes.size());
  if (found.empty()) return absl::InternalError("the check has no such memory");
  std::ranges::copy(bytes, found.begin());
  return absl::OkStatus();
}

std::vector<uint8_t> MessageMemory::Content(uint64_t address, size_t bytes) {
  const std::span<uint8_t> found = Find(address, bytes);
  return {found.begin(), found.end()};
}

std::span<uint8_t> MessageMemory::Find(uint64_t address, uint64_t count) {
  auto next = ranges_.upper_bound(address);
  if (next == ranges_.begin()) return {};
  auto& [start, bytes] = *std::prev(next);
  const uint64_t offset = address - start;
  if (offset > bytes.size() || count > bytes.size() - offset) return {};
  return std::span(bytes).subspan(offset, count);
}

absl::Status MessageMemory::Serve(WireClient& client, const WireClient::Message& command) {
  const std::string_view name = CommandName(command.header.command);
  if (!command.header.is_command()) return Misbehaved(fmt::format("\"{}\" came", command.header));
  const bool reads = command.header.command == Command::kDmaRead;
  if (!reads && command.header.command != Command::kDmaWrite) {
    return Misbehaved(fmt::format("the server sent the command {}", name));
  }
  VFIO_USER_ASSIGN_OR_RETURN(const DmaAccess access, DmaAccess::ParsePrefix(command.body, name));
  addresses_.push_back(ToU64(access.address));
  most_bytes_ = std::max(most_bytes_, access.count);
  const std::span<uint8_t> found = Find(ToU64(access.address), access.count);
  MessageHeader reply = command.header.Reply(found.empty() ? EFAULT : 0);
  if (found.empty()) return client.SendMessage(reply);
  if (reads) return client.SendMessage(reply, Serialize(DmaAccessWithData{access, found}));
  VFIO_USER_ASSIGN_OR_RETURN(const DmaAccessWithData write,
                             DmaAccessWithData::Parse(command.body, name));
  std::ranges::copy(write.data, found.begin());
  return client.SendMessage(reply, Serialize(access));
}

int MessageMemory::MessagesAbout(uint64_t first, uint64_t bytes) const {
  return static_cast<int>(
      std::ranges::count_if(addresses_, [&](uint64_t address) { return address - first < bytes; }));
}

absl::StatusOr<WireClient::Message> DoServing(WireClient& client, MessageMemory& memory,
                                              const WireRequest& request) {
  VFIO_USER_ASSIGN_OR_RETURN(const MessageHeader sent, client.Send(request));
  while (true) {
    VFIO_USER_ASSIGN_OR_RETURN(WireClient::Message message, client.Receive());
    if (message.header.is_command()) {
      VFIO_USER_RETURN_IF_ERROR(memory.Serve(client, message));
      continue;
    }
    if (message.header.msg_id != sent.msg_id || message.header.error_flag) {
      return Misbehaved(fmt::format("\"{}\" came, want success for \"{}\"", message.header, sent));
    }
    return message;
  }
}

absl::StatusOr<DmaEngine> DmaEngine::Start(ServerUnderTest& server, WireClient& client,
                                           MessageMemory& memory) {
  const DmaEngineKind kind = server.traits().engine;
  if (kind == DmaEngineKind::kNone) {
    return Skip("no device by which DMA can be done (PCI 1234:dc01 or 1234:11e8)");
  }
  DmaEngine engine(kind, client, memory);
  VFIO_USER_RETURN_IF_ERROR(client.DoPlain({.command = Command::kDeviceReset}));
  const std::vector<uint8_t> enabled = {kMemoryEnable | kBusMaster, 0};
  VFIO_USER_RETURN_IF_ERROR(WriteConfig(client, kCommandRegister, enabled));
  if (kind == DmaEngineKind::kEdu) return engine;
  memory.Add(kRing, kRingEntries * kDescriptorBytes);
  VFIO_USER_RETURN_IF_ERROR(
      client.DoPlain(MapRequest({.address = kRing, .size = kRingEntries * kDescriptorBytes})));
  VFIO_USER_RETURN_IF_ERROR(engine.Write(kCopyRingIova, kRing, 8));
  VFIO_USER_RETURN_IF_ERROR(engine.Write(kCopyRingEntries, kRingEntries, 4));
  return engine;
}

WireRequest DmaEngine::RegisterWrite(uint64_t offset, uint64_t value, size_t bytes) const {
  std::vector<uint8_t> data(sizeof(value));
  std::memcpy(data.data(), &value, sizeof(value));
  return WriteRequest(RegionIndex::kBar0, offset, std::span(data).first(bytes));
}

absl::Status DmaEngine::Write(uint64_t offset, uint64_t value, size_t bytes) {
  return client_.Do(RegisterWrite(offset, value, bytes)).status();
}

absl::Status DmaEngine::WaitForZero(uint64_t offset, uint32_t bit) {
  uint32_t value = 0;
  do {
    VFIO_USER_ASSIGN_OR_RETURN(
        const WireClient::Message reply,
        DoServing(client_, memory_, ReadRequest(RegionIndex::kBar0, offset, 4)));
    VFIO_USER_ASSIGN_OR_RETURN(const RegionAccessWithData got,
                               RegionAccessWithData::Parse(reply.body, "REGION_READ reply"));
    if (got.data.size() != sizeof(value)) return Misbehaved("a register of another length");
    std::memcpy(&value, got.data.data(), sizeof(value));
    if (client_.terms().deadline.passed()) return Misbehaved("the device does not end its DMA");
  } while ((value & bit) != 0);
  return absl::OkStatus();
}

absl::StatusOr<WireRequest> DmaEngine::PrepareEdu(uint64_t source, uint64_t destination,
                                                  const EngineCopy& copy) {
  VFIO_USER_RETURN_IF_ERROR(Write(kEduSource, source, 8));
  VFIO_USER_RETURN_IF_ERROR(Write(kEduDestination, destination, 8));
  VFIO_USER_RETURN_IF_ERROR(Write(kEduCount, copy.bytes, 8));
  const uint64_t direction = source == kEduBuffer ? kEduToMemory : 0;
  return RegisterWrite(kEduCommand, kEduStart | direction, 8);
}

absl::StatusOr<WireRequest> DmaEngine::Prepare(const EngineCopy& copy) {
  if (kind_ == DmaEngineKind::kEdu) return PrepareEdu(copy.source, kEduBuffer, copy);
  std::vector<uint8_t> descriptor;
  WireWriter out(descriptor);
  out.Write<uint32_t>(kOpcodeCopy);
  out.Write<uint32_t>(0);
  out.Write<uint64_t>(copy.source);
  out.Write<uint64_t>(copy.destination);
  out.Write<uint64_t>(copy.bytes);
  out.WriteZeros(kDescriptorBytes - descriptor.size());
  VFIO_USER_RETURN_IF_ERROR(
      memory_.Fill(kRing + doorbell_ % kRingEntries * kDescriptorBytes, descriptor));
  return RegisterWrite(kCopyDoorbell, ++doorbell_, 4);
}

absl::Status DmaEngine::Finish(const EngineCopy& copy) {
  if (kind_ == DmaEngineKind::kDmaCopy) return WaitForZero(kCopyStatus, 1);
  VFIO_USER_RETURN_IF_ERROR(WaitForZero(kEduCommand, kEduStart));
  VFIO_USER_ASSIGN_OR_RETURN(const WireRequest back,
                             PrepareEdu(kEduBuffer, copy.destination, copy));
  VFIO_USER_RETURN_IF_ERROR(DoServing(client_, memory_, back).status());
  return WaitForZero(kEduCommand, kEduStart);
}

absl::Status DmaEngine::Run(const EngineCopy& copy) {
  VFIO_USER_ASSIGN_OR_RETURN(const WireRequest start, Prepare(copy));
  VFIO_USER_RETURN_IF_ERROR(DoServing(client_, memory_, start).status());
  return Finish(copy);
}

}  // namespace vfio_user
