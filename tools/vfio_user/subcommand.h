// The verbs of the command line.
#ifndef TOOLS_VFIO_USER_SUBCOMMAND_H_
#define TOOLS_VFIO_USER_SUBCOMMAND_H_

#include <functional>
#include <span>

#include "absl/status/status.h"

namespace CLI {
class App;
}  // namespace CLI

namespace vfio_user {

// What a subcommand does once its command line was understood. It owns what its options were read
// into. Its status becomes the exit code: see exit_code.h.
using Action = std::function<absl::Status()>;

struct Subcommand {
  const char* name;
  const char* help;  // One line.
  // Declares its options on `app`, with examples in the footer.
  Action (*add)(CLI::App& app);
};

// One table: dispatch, --help and the test that walks every subcommand read it.
std::span<const Subcommand> Subcommands();

// One file each: NAME_command.cc.
Action AddBench(CLI::App& app);
Action AddConformance(CLI::App& app);
Action AddCopy(CLI::App& app);
Action AddDemo(CLI::App& app);
Action AddInfo(CLI::App& app);
Action AddIrq(CLI::App& app);
Action AddLoad(CLI::App& app);
Action AddRead(CLI::App& app);
Action AddReset(CLI::App& app);
Action AddSave(CLI::App& app);
Action AddServe(CLI::App& app);
Action AddWrite(CLI::App& app);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_SUBCOMMAND_H_
