#include "server/commands/command_table.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/status/status.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/wire/header.h"
#include "server/commands/device_commands.h"
#include "server/commands/dma_commands.h"
#include "server/commands/doorbell_commands.h"
#include "server/commands/feature_commands.h"
#include "server/commands/irq_commands.h"
#include "server/commands/migration_commands.h"
#include "server/commands/region_commands.h"
#include "server/events/work_queue.h"

namespace vfio_user {
namespace {

absl::Status HandleSecondVersion(ClientContext&, IncomingCommand&) {
  return absl::InvalidArgumentError("VERSION: the version was negotiated already");
}

// The ones that matter for latency come first. The lengths of bodies are the parsers' to check.
constexpr std::array kCommands = {
    CommandEntry{Command::kRegionRead, HandleRegionRead},
    CommandEntry{Command::kRegionWrite, HandleRegionWrite},
    CommandEntry{Command::kRegionWriteMulti, HandleRegionWriteMulti},
    CommandEntry{Command::kDmaMap, HandleDmaMap, FdRule::kTake},
    CommandEntry{Command::kDmaUnmap, HandleDmaUnmap, FdRule::kDiscard},  // SPDK sends one.
    CommandEntry{Command::kDeviceSetIrqs, HandleDeviceSetIrqs, FdRule::kTake, AfterRefusal::kGoOn,
                 AnsweredBy::kWorker},
    CommandEntry{Command::kDeviceGetInfo, HandleDeviceGetInfo},
    CommandEntry{Command::kDeviceGetRegionInfo, HandleDeviceGetRegionInfo},
    CommandEntry{Command::kDeviceGetRegionIoFds, HandleDeviceGetRegionIoFds},
    CommandEntry{Command::kDeviceGetIrqInfo, HandleDeviceGetIrqInfo},
    CommandEntry{Command::kDeviceFeature, HandleDeviceFeature},
    CommandEntry{Command::kMigDataRead, HandleMigDataRead},
    CommandEntry{Command::kMigDataWrite, HandleMigDataWrite},
    CommandEntry{Command::kDeviceReset, HandleDeviceReset, FdRule::kRefuse, AfterRefusal::kGoOn,
                 AnsweredBy::kWorker},
    CommandEntry{Command::kVersion, HandleSecondVersion, FdRule::kRefuse, AfterRefusal::kClose},
};

absl::Status Handle(ClientContext& client, const CommandEntry* entry, IncomingCommand& command) {
  if (entry == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("command {} is not known here", static_cast<uint32_t>(command.header.command)));
  }
  if (entry->fds == FdRule::kRefuse && !command.fds.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}: {} descriptors, want none",
                                                  CommandName(entry->command), command.fds.size()));
  }
  if (entry->answered_by == AnsweredBy::kWorker && client.slot.work().full()) {
    return ErrnoStatus(EBUSY, fmt::format("{}: {} commands wait for the device already",
                                          CommandName(entry->command), WorkQueue::kMostQueued));
  }
  if (entry->fds == FdRule::kDiscard) command.fds.clear();
  return entry->handler(client, command);
}

}  // namespace

std::span<const CommandEntry> CommandTable() { return kCommands; }

const CommandEntry* FindCommand(Command command) {
  const auto found = std::ranges::find(kCommands, command, &CommandEntry::command);
  return found == kCommands.end() ? nullptr : &*found;
}

absl::Status RunCommand(ClientContext& client, IncomingCommand& command) {
  const CommandEntry* const entry = FindCommand(command.header.command);
  const WorkQueue::Hold hold(client.slot.work());
  const absl::Status handled = Handle(client, entry, command);
  if (handled.ok()) return handled;
  // Before the client can know that they were refused.
  command.fds.clear();
  (void)client.channel->ReplyError(command.header, ToWireErrno(handled));
  if (entry != nullptr && entry->after_refusal == AfterRefusal::kClose) {
    client.channel->Close(handled);
  }
  return handled;
}

}  // namespace vfio_user
