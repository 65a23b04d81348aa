#include "tests/conformance/client/library_client.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/client.h"
#include "client/client_options.h"
#include "client/device_features.h"
#include "client/device_migration.h"
#include "client/dirty_pages.h"
#include "client/dma_log.h"
#include "client/dma_mapping.h"
#include "client/doorbell.h"
#include "client/interrupt.h"
#include "client/region.h"
#include "client/region_access_list.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/base/status_macros.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/device_feature.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/iova.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_info.h"
#include "tests/conformance/client/lent_memory.h"
#include "tests/testing/fd_count.h"

namespace vfio_user {
namespace {

// Polls a client until it ends, or this does.
class PollLoop {
 public:
  explicit PollLoop(const Client& client)
      : client_(client), stop_(::eventfd(0, EFD_CLOEXEC)), thread_([this] { Run(); }) {}
  ~PollLoop() {
    (void)::eventfd_write(stop_.get(), 1);
    thread_.join();
  }
  PollLoop(const PollLoop&) = delete;
  PollLoop& operator=(const PollLoop&) = delete;

 private:
  void Run() {
    std::array<pollfd, 2> entries = {
        pollfd{.fd = client_.poll_fd(), .events = POLLIN, .revents = 0},
        pollfd{.fd = stop_.get(), .events = POLLIN, .revents = 0}};
    while (client_.status().ok()) {
      const int ready = ::poll(entries.data(), entries.size(), -1);
      if (ready < 0 && errno != EINTR) return;
      if (ready <= 0) continue;
      if (entries[1].revents != 0) return;
      (void)client_.Poll();
    }
  }

  const Client& client_;
  const UniqueFd stop_;
  std::thread thread_;
};

class LibraryClient : public ClientUnderTest {
 public:
  explicit LibraryClient(Client client) : client_(std::move(client)) {
    if (client_.poll_fd() >= 0) loop_.emplace(client_);
  }

  absl::StatusOr<DeviceInfo> GetDeviceInfo() override { return client_.GetDeviceInfo(); }
  absl::StatusOr<RegionInfo> GetRegionInfo(RegionIndex index) override {
    return client_.GetRegionInfo(index);
  }
  absl::StatusOr<IrqInfo> GetIrqInfo(IrqIndex index) override { return client_.GetIrqInfo(index); }
  absl::Status Reset() override { return client_.Reset(); }

  absl::StatusOr<uint32_t> ReadRegister(uint64_t offset) override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    return region.Read<uint32_t>(offset);
  }
  absl::Status WriteRegister(uint64_t offset, uint32_t value) override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    return region.Write<uint32_t>(offset, value);
  }

  absl::StatusOr<uint32_t> ReadMappable(uint64_t offset) override {
    if (!bar2_) {
      VFIO_USER_ASSIGN_OR_RETURN(bar2_, client_.OpenRegion(RegionIndex::kBar2));
    }
    return bar2_->Read<uint32_t>(offset);
  }

  absl::Status PostRegister(uint64_t offset, uint32_t value) override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    return region.Post<uint32_t>(offset, value);
  }
  absl::Status Fence() override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    return region.Fence();
  }

  absl::Status WriteRegisters(std::span<const uint32_t> values) override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    std::vector<RegionWrite> writes;
    for (size_t i = 0; i < values.size(); ++i) {
      writes.push_back({.offset = 4 * i, .from = std::as_bytes(values.subspan(i, 1))});
    }
    return region.WriteMany(writes);
  }

  absl::StatusOr<size_t> OpenDoorbells() override {
    VFIO_USER_ASSIGN_OR_RETURN(const Region region, Bar0());
    VFIO_USER_ASSIGN_OR_RETURN(doorbells_, region.OpenDoorbells());
    return doorbells_.size();
  }
  absl::Status RingDoorbell(size_t number) override { return doorbells_.at(number).Ring(); }

  absl::Status Map(const LentMemory& memory, Iova iova) override {
    const MapOptions options = {.path = DmaPath::kMessage, .iova = iova};
    absl::StatusOr<DmaMapping> mapping =
        memory.access() == LentAccess::kReadOnly
            ? client_.Map(std::span<const std::byte>(memory.bytes()), options)
            : client_.Map(memory.bytes(), options);
    if (!mapping.ok()) return mapping.status();
    mappings_.emplace(iova, *std::move(mapping));
    return absl::OkStatus();
  }
  absl::Status Unmap(Iova iova) override {
    const auto found = mappings_.find(iova);
    if (found == mappings_.end()) return absl::NotFoundError("not mapped");
    const absl::Status unmapped = found->second.Unmap();
    mappings_.erase(found);
    return unmapped;
  }

  absl::StatusOr<std::vector<uint8_t>> GetFeature(uint16_t feature, uint32_t max_bytes) override {
    return client_.features().Get(Feature{feature}, {}, max_bytes);
  }

  absl::Status StartDirtyLog() override {
    VFIO_USER_ASSIGN_OR_RETURN(DmaLog log, client_.StartDmaLogging());
    log_ = std::move(log);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> CountDirtyPages(Iova first, uint64_t length) override {
    if (!log_) return absl::FailedPreconditionError("no log");
    VFIO_USER_ASSIGN_OR_RETURN(const DirtyPages pages, log_->Report({first, length}, 4096));
    return pages.dirty_count();
  }

  absl::Status MapByDescriptor(const LentMemory& memory, Iova iova) override {
    FileMemory file;
    file.memory = memory.bytes();
    file.fd = memory.fd().get();
    file.offset = memory.file_offset();
    VFIO_USER_ASSIGN_OR_RETURN(DmaMapping mapping,
                               client_.MapFile(file, {.path = DmaPath::kFileIo, .iova = iova}));
    mappings_.emplace(iova, std::move(mapping));
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> UnmapAndCountDirtyPages(Iova iova) override {
    const auto found = mappings_.find(iova);
    if (found == mappings_.end()) return absl::NotFoundError("not mapped");
    const absl::StatusOr<DirtyPages> pages = found->second.UnmapAndReport(4096);
    mappings_.erase(found);
    if (!pages.ok()) return pages.status();
    return pages->dirty_count();
  }

  absl::StatusOr<std::vector<uint8_t>> SaveState() override {
    VFIO_USER_ASSIGN_OR_RETURN(const DeviceMigration migration, client_.OpenMigration());
    std::vector<uint8_t> state;
    VFIO_USER_RETURN_IF_ERROR(migration
                                  .Save([&state](std::span<const std::byte> piece) {
                                    const auto* const data =
                                        reinterpret_cast<const uint8_t*>(piece.data());
                                    state.insert(state.end(), data, data + piece.size());
                                    return absl::OkStatus();
                                  })
                                  .status());
    return state;
  }
  absl::Status LoadState(std::span<const uint8_t> state) override {
    VFIO_USER_ASSIGN_OR_RETURN(const DeviceMigration migration, client_.OpenMigration());
    const auto source = [left = std::as_bytes(state)](std::span<std::byte> into) mutable {
      const size_t bytes = std::min(into.size(), left.size());
      std::ranges::copy(left.first(bytes), into.begin());
      left = left.subspan(bytes);
      return absl::StatusOr<size_t>(bytes);
    };
    return migration.Load(source).status();
  }

  absl::Status BindInterrupt(IrqIndex index, uint32_t vector) override {
    VFIO_USER_ASSIGN_OR_RETURN(Interrupt bound, client_.BindInterrupt(index, vector));
    interrupt_ = std::move(bound);
    return absl::OkStatus();
  }
  absl::StatusOr<uint64_t> WaitForInterrupt(absl::Duration timeout) override {
    if (!interrupt_) return absl::FailedPreconditionError("not bound");
    return interrupt_->Wait(timeout);
  }
  void UnbindInterrupt() override { interrupt_.reset(); }

  absl::Status connection() override { return client_.status(); }

 private:
  // Opened when it is first wanted: checks have scripts for what comes after connecting.
  absl::StatusOr<Region> Bar0() ABSL_LOCKS_EXCLUDED(mu_) {
    {
      MutexLock lock(mu_);
      if (bar0_) return *bar0_;
    }
    VFIO_USER_ASSIGN_OR_RETURN(Region opened, client_.OpenRegion(RegionIndex::kBar0));
    MutexLock lock(mu_);
    bar0_ = opened;
    return opened;
  }

  Client client_;
  std::map<Iova, DmaMapping> mappings_;
  std::optional<Interrupt> interrupt_;
  std::optional<DmaLog> log_;
  std::optional<Region> bar2_;
  std::vector<Doorbell> doorbells_;
  Mutex mu_;
  std::optional<Region> bar0_ ABSL_GUARDED_BY(mu_);
  // The last, so that it ends before what it polls.
  std::optional<PollLoop> loop_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ClientUnderTest>> LibraryAdapter::Connect(
    const std::string& path, const ClientPatience& patience) const {
  ClientOptions options = options_;
  options.connect_timeout = patience.connect;
  options.reply_timeout = patience.reply;
  VFIO_USER_ASSIGN_OR_RETURN(Client client, Client::Connect(path, options));
  return std::make_unique<LibraryClient>(std::move(client));
}

bool LibraryAdapter::Can(ClientAbility) const { return true; }

int LibraryAdapter::OpenDescriptors() const { return OpenFdCount(); }

}  // namespace vfio_user
