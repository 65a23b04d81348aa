#include "tools/vfio_user/command_line.h"

int main(int argc, char** argv) { return vfio_user::RunCommandLine(argc, argv); }
