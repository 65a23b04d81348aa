#include "client/dma_mapper.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <bit>
#include <cerrno>
#include <utility>
#include <variant>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/session/owner_process.h"
#include "fmt/format.h"
#include "proto_defs/base/errno_status.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {
namespace {

constexpr DmaMapFlags kReadWrite = DmaMapFlags(DmaMapFlag::kRead) | DmaMapFlag::kWrite;

uint64_t AddressOf(const DmaMemory& memory) { return std::bit_cast<uint64_t>(memory.data); }

// Whether the server may have meant the way in which a mapping was asked for, rather than the
// mapping. EIO stands for an error without a number, which is what rust-vmm's server sends.
bool MayMeanThePath(const absl::Status& refusal) {
  const int error = ErrnoOf(refusal);
  return error == EINVAL || error == ENODEV || error == EOPNOTSUPP || error == EIO;
}

// The same refusal for a caller who insisted on a path.
absl::Status PathRefused(const absl::Status& refusal) {
  return Annotate(WithCode(refusal, absl::StatusCode::kUnimplemented),
                  "the server does not know this path, not for this memory, or takes no more "
                  "mappings: ask for another path, or for DmaPath::kAuto");
}

absl::Status CheckFile(const FileMemory& memory) {
  const int flags = ::fcntl(memory.fd, F_GETFL);
  if (flags < 0) {
    return absl::InvalidArgumentError(fmt::format("descriptor {} is not open", memory.fd));
  }
  // Servers find out only when the device writes.
  if ((flags & O_ACCMODE) != O_RDWR) {
    return absl::InvalidArgumentError(
        fmt::format("descriptor {} is not open for reading and writing", memory.fd));
  }
  struct stat file = {};
  if (::fstat(memory.fd, &file) != 0) return ErrnoStatus(errno, "fstat");
  const auto file_bytes = static_cast<uint64_t>(file.st_size);
  if (S_ISREG(file.st_mode) &&
      (memory.offset > file_bytes || memory.memory.size() > file_bytes - memory.offset)) {
    return absl::InvalidArgumentError(
        fmt::format("memory at [{:#x}, +{:#x}) of a file of {:#x} bytes, want it inside",
                    memory.offset, memory.memory.size(), file_bytes));
  }
  return absl::OkStatus();
}

}  // namespace

std::shared_ptr<DmaMapper> DmaMapper::Create(std::shared_ptr<Session> session,
                                             absl::Status may_lend_memory) {
  return ShareInThisProcess(
      std::unique_ptr<DmaMapper>(new DmaMapper(std::move(session), std::move(may_lend_memory))));
}

absl::StatusOr<DmaMapping> DmaMapper::Map(std::span<std::byte> memory, const MapOptions& options) {
  return MapLent({.memory = {memory.data(), memory.size(), kReadWrite}}, options);
}

absl::StatusOr<DmaMapping> DmaMapper::Map(std::span<const std::byte> memory,
                                          const MapOptions& options) {
  // Not written: the table holds the device to the access, and the kernel whoever has the
  // descriptor, which is O_RDONLY.
  auto* const data = const_cast<std::byte*>(memory.data());
  return MapLent({.memory = {data, memory.size(), DmaMapFlag::kRead}}, options);
}

absl::StatusOr<DmaMapping> DmaMapper::MapFile(const FileMemory& memory, const MapOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(CheckFile(memory));
  return MapLent(
      {.memory = {memory.memory.data(), memory.memory.size(), kReadWrite}, .file = &memory},
      options);
}

absl::StatusOr<DmaMapping> DmaMapper::MapAddresses(const IovaRange& range, DmaMapFlags access) {
  auto* const data = std::bit_cast<std::byte*>(uintptr_t{ToU64(range.first)});
  return MapLent({.memory = {data, range.length, access}}, {.path = DmaPath::kFileIo});
}

absl::StatusOr<DmaMapping> DmaMapper::MapLent(const Lent& lent, const MapOptions& options) {
  VFIO_USER_RETURN_IF_ERROR(session_->status());
  VFIO_USER_RETURN_IF_ERROR(CheckRoom(1));
  live_.BeginMap();
  const absl::Cleanup end_map = [this] { live_.EndMap(); };
  VFIO_USER_ASSIGN_OR_RETURN(const Ladder ladder, LadderFor(lent, options.path));
  VFIO_USER_ASSIGN_OR_RETURN(const Iova iova, Insert(lent.memory, options.iova));
  absl::Cleanup erase = [this, iova] { session_->dma_table().Erase(iova); };
  VFIO_USER_ASSIGN_OR_RETURN(const DmaPath path, Climb(ladder, iova, lent.memory));
  std::move(erase).Cancel();
  const LiveMapping mapping = {.range = {iova, lent.memory.size}, .path = path};
  return DmaMapping(shared_from_this(), live_.Add(mapping), mapping);
}

absl::Status DmaMapper::CheckRoom(size_t count) const {
  // Only where the server named a limit: those that do not take more than the default.
  const auto limit = session_->server_version().capabilities.max_dma_maps;
  if (!limit) return absl::OkStatus();
  const size_t live = session_->dma_table().size();
  if (live <= *limit && count <= *limit - live) return absl::OkStatus();
  return absl::ResourceExhaustedError(fmt::format(
      "the server takes {} mappings and has {}: no room for {} more", *limit, live, count));
}

absl::StatusOr<Iova> DmaMapper::Insert(const DmaMemory& memory, const IovaChoice& choice) {
  DmaTable& table = session_->dma_table();
  if (const auto* const window = std::get_if<IovaWindow>(&choice)) {
    return table.InsertIn(*window, memory);
  }
  const auto* const named = std::get_if<Iova>(&choice);
  const Iova iova = named != nullptr ? *named : Iova{AddressOf(memory)};
  VFIO_USER_RETURN_IF_ERROR(table.Insert(iova, memory));
  return iova;
}

absl::StatusOr<DmaMapper::Ladder> DmaMapper::LadderFor(const Lent& lent, DmaPath path) {
  Ladder ladder;
  switch (path) {
    case DmaPath::kMmap: {
      VFIO_USER_ASSIGN_OR_RETURN(const Rung rung, MmapRung(lent));
      ladder.push_back(rung);
      return ladder;
    }
    case DmaPath::kFileIo: {
      VFIO_USER_ASSIGN_OR_RETURN(const Rung rung, FileIoRung(lent));
      ladder.push_back(rung);
      return ladder;
    }
    case DmaPath::kMessage:
      ladder.push_back({});
      return ladder;
    case DmaPath::kAuto:
      break;
  }
  const absl::StatusOr<Rung> mmap = MmapRung(lent);
  if (mmap.ok()) ladder.push_back(*mmap);
  if (!file_io_unknown_) {
    const absl::StatusOr<Rung> file_io = FileIoRung(lent);
    if (file_io.ok()) ladder.push_back(*file_io);
  }
  ladder.push_back({});
  return ladder;
}

absl::StatusOr<DmaMapper::Rung> DmaMapper::MmapRung(const Lent& lent) const {
  if (lent.file == nullptr) {
    return absl::InvalidArgumentError(
        "DmaPath::kMmap is for memory that has a file: use MapFile, or another path");
  }
  return Rung{.path = DmaPath::kMmap,
              .mode = {},
              .fd = FdView(lent.file->fd),
              .file_offset = lent.file->offset};
}

absl::StatusOr<DmaMapper::Rung> DmaMapper::FileIoRung(const Lent& lent) {
  Rung rung = {.path = DmaPath::kFileIo, .mode = DmaMapFlag::kFileIo};
  if (lent.file != nullptr) {
    if ((::fcntl(lent.file->fd, F_GETFL) & O_APPEND) != 0) {
      return absl::InvalidArgumentError(
          fmt::format("descriptor {} appends (O_APPEND), and does not write where it is told; open "
                      "the file without it, or use another path",
                      lent.file->fd));
    }
    // The file and no more of this process: no question of trust.
    rung.fd = FdView(lent.file->fd);
    rung.file_offset = lent.file->offset;
    return rung;
  }
  VFIO_USER_RETURN_IF_ERROR(may_lend_memory_);
  VFIO_USER_ASSIGN_OR_RETURN(rung.fd, self_memory_.Open(lent.memory.access));
  rung.file_offset = AddressOf(lent.memory);
  return rung;
}

absl::StatusOr<DmaPath> DmaMapper::Climb(const Ladder& ladder, Iova iova, const DmaMemory& memory) {
  absl::Status refusal;
  bool file_io_refused = false;
  for (const Rung& rung : ladder) {
    refusal = Ask(rung, iova, memory);
    if (refusal.ok()) {
      if (rung.path == DmaPath::kFileIo) file_io_known_ = true;
      if (file_io_refused && !file_io_known_) file_io_unknown_ = true;
      return rung.path;
    }
    VFIO_USER_RETURN_IF_ERROR(session_->status());
    // A server may be out of what a path needs, and have room for messages.
    if (ErrnoOf(refusal) == ENOSPC) continue;
    if (!MayMeanThePath(refusal)) return refusal;
    if (rung.path == DmaPath::kFileIo) file_io_refused = true;
  }
  // Without a descriptor there is nothing about the path that could be unknown.
  const bool insisted = ladder.size() == 1 && ladder.front().path != DmaPath::kMessage;
  return insisted && MayMeanThePath(refusal) ? PathRefused(refusal) : refusal;
}

DmaMapRequest DmaMapper::RequestFor(const Rung& rung, Iova iova, const DmaMemory& memory) {
  return {.flags = memory.access | rung.mode,
          .file_offset = rung.file_offset,
          .address = iova,
          .size = memory.size};
}

absl::Status DmaMapper::Ask(const Rung& rung, Iova iova, const DmaMemory& memory) {
  const DmaMapRequest request = RequestFor(rung, iova, memory);
  const bool has_fd = rung.path != DmaPath::kMessage;
  return Annotate(session_->MapDma(request, {&rung.fd, has_fd ? size_t{1} : size_t{0}}),
                  fmt::format("mapping [{:#x}, +{:#x})", ToU64(iova), memory.size));
}

}  // namespace vfio_user
