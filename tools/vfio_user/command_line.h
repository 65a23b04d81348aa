// The command line from its words to the exit code.
#ifndef TOOLS_VFIO_USER_COMMAND_LINE_H_
#define TOOLS_VFIO_USER_COMMAND_LINE_H_

namespace vfio_user {

// Data goes to stdout, everything else to stderr. Returns the exit code: see exit_code.h.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace vfio_user

#endif  // TOOLS_VFIO_USER_COMMAND_LINE_H_
