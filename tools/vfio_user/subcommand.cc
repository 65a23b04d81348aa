#include "tools/vfio_user/subcommand.h"

#include <span>

namespace vfio_user {
namespace {

constexpr Subcommand kSubcommands[] = {
    {"demo", "show a device working on this process's own memory, by every path", AddDemo},
    {"serve", "serve a device at a socket, until SIGTERM or SIGINT", AddServe},
    {"info", "print what a device is: identity, regions, interrupts, limits", AddInfo},
    {"read", "print registers, a line each", AddRead},
    {"write", "write one register", AddWrite},
    {"copy", "copy a file through a dma-copy device", AddCopy},
    {"reset", "reset a device", AddReset},
    {"irq", "list a device's interrupts, wait for one, trigger or mask it", AddIrq},
    {"save", "save a device's state to a file", AddSave},
    {"load", "load a device's state from a file", AddLoad},
    {"conformance", "check a server against the protocol, a line for each behaviour",
     AddConformance},
};

}  // namespace

std::span<const Subcommand> Subcommands() { return kSubcommands; }

}  // namespace vfio_user
