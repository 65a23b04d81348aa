// Every command that the server knows, and what it does with it.
#ifndef SERVER_COMMANDS_COMMAND_TABLE_H_
#define SERVER_COMMANDS_COMMAND_TABLE_H_

#include <cstddef>
#include <span>

#include "proto_defs/wire/command.h"
#include "server/commands/client_context.h"

namespace vfio_user {

// What becomes of descriptors that come with a command.
enum class FdRule {
  kRefuse,   // EINVAL: it takes none.
  kDiscard,  // Closed: it takes none, but there are clients that send some.
  kTake,     // The handler's, however many they are.
};

// What becomes of the connection when the command is refused.
enum class AfterRefusal { kGoOn, kClose };

// Whose work the answer waits for. The worker's queue is bounded: a client that sends more commands
// for it than any that waits for replies is refused with EBUSY.
enum class AnsweredBy { kProtocolThread, kWorker };

struct CommandEntry {
  Command command{};
  CommandHandler handler = nullptr;
  FdRule fds = FdRule::kRefuse;
  AfterRefusal after_refusal = AfterRefusal::kGoOn;
  AnsweredBy answered_by = AnsweredBy::kProtocolThread;
};

std::span<const CommandEntry> CommandTable();

// nullptr for a command that the server does not know. It is answered with EINVAL, as libvfio-user
// does; its clients may look for that.
const CommandEntry* FindCommand(Command command);

// Handles a command, and answers one that is refused. Work that is posted meanwhile begins after
// it was answered (see DeviceHost::Post). Returns what the handler said, for the log; `channel` of
// the client may be broken afterwards.
absl::Status RunCommand(ClientContext& client, IncomingCommand& command);

}  // namespace vfio_user

#endif  // SERVER_COMMANDS_COMMAND_TABLE_H_
