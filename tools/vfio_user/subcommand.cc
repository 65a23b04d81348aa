#include "tools/vfio_user/subcommand.h"

#include <span>

namespace vfio_user {
namespace {

constexpr Subcommand kSubcommands[] = {
    {"demo", "show a device that works on this process's memory", AddDemo},
    {"serve", "serve a device at a socket, until a signal", AddServe},
    {"info", "print identity, regions, interrupts and limits", AddInfo},
    {"read", "print registers, a line each", AddRead},
    {"write", "write one register", AddWrite},
    {"copy", "copy a file through a dma-copy device", AddCopy},
    {"reset", "reset a device", AddReset},
    {"irq", "list interrupts, wait for, trigger or mask one", AddIrq},
    {"save", "save a device's state to a file", AddSave},
    {"load", "load a device's state from a file", AddLoad},
    {"bench", "measure register reads, or DMA by every path", AddBench},
    {"conformance", "check a server against the protocol", AddConformance},
};

}  // namespace

std::span<const Subcommand> Subcommands() { return kSubcommands; }

}  // namespace vfio_user
