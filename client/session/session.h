// A negotiated connection: typed requests, and the server's own commands served meanwhile.
#ifndef CLIENT_SESSION_SESSION_H_
#define CLIENT_SESSION_SESSION_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client_options.h"
#include "client/dma/dma_responder.h"
#include "client/dma/dma_table.h"
#include "client/dma/write_record.h"
#include "client/region_access_list.h"
#include "client/session/negotiation.h"
#include "client/session/owner_process.h"
#include "client/session/request_turn.h"
#include "proto_defs/base/mutex.h"
#include "proto_defs/transport/channel.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/command.h"
#include "proto_defs/wire/device_info.h"
#include "proto_defs/wire/dma_map.h"
#include "proto_defs/wire/irq.h"
#include "proto_defs/wire/region_access.h"
#include "proto_defs/wire/region_info.h"
#include "proto_defs/wire/region_io_fds.h"
#include "proto_defs/wire/version.h"

namespace vfio_user {

// What the server says of a region, and the descriptor to map it; invalid when it sent none.
struct RegionWithFile {
  RegionInfo info;
  UniqueFd file;
};

// The places of a region that have descriptors; all that `reply` says there are. Where one is an
// ioeventfd, its fd_index is within `fds`.
struct RegionIoFds {
  RegionIoFdsReply reply;
  std::vector<UniqueFd> fds;
};

// A place for an eventfd at the server: a vector has one for each action.
struct IrqSlot {
  IrqAction action{};
  IrqIndex index{};
  uint32_t vector = 0;

  friend bool operator==(const IrqSlot&, const IrqSlot&) = default;
  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const IrqSlot& slot) {
    return Hash::combine(std::move(hash), slot.action, slot.index, slot.vector);
  }
};

struct SessionOptions {
  absl::Duration reply_timeout = absl::Seconds(5);  // For each request.
  DmaService dma_service = DmaService::kBackgroundThread;
  absl::Duration busy_poll = absl::ZeroDuration();  // As in ClientOptions.
};

// Nothing that the server said is passed on before it was checked: a reply that is not what was
// asked for is DataLoss, and ends the connection. The two sockets of a connection with a twin end
// together.
//
// Who reads the main socket: the thread that waits for a reply. When none does, with a twin, nobody
// needs to: the server's commands come on the twin, which the background thread reads, or else
// Poll() and whoever waits. Without one they come on the main socket, which the background thread,
// or Poll(), then reads.
//
// Without a twin, one request at a time is under way: libvfio-user, when it waits for the answer to
// a DMA message of its own, takes a request that comes first for that answer, and is lost.
//
// In a process that was forked from the one that made it, every call is FailedPrecondition.
//
// Thread-safe. No lock is held across a round trip.
class Session {
 public:
  static absl::StatusOr<std::shared_ptr<Session>> Start(Negotiated negotiated,
                                                        const SessionOptions& options);
  // No thread may be in a call.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // InvalidArgument, or other codes as the server refused; DataLoss for counts that no device has.
  absl::StatusOr<DeviceInfo> GetDeviceInfo();
  // The same, asked for once.
  absl::StatusOr<DeviceInfo> KnownDeviceInfo();
  // NotFound for an index that the device does not have. Descriptors that come along are closed.
  absl::StatusOr<RegionInfo> GetRegionInfo(RegionIndex index);
  // The same with the descriptor, if one comes; surplus ones are closed.
  absl::StatusOr<RegionWithFile> GetRegion(RegionIndex index);
  absl::StatusOr<RegionIoFds> GetRegionIoFds(RegionIndex index);
  absl::StatusOr<IrqInfo> GetIrqInfo(IrqIndex index);
  absl::Status SetIrqs(const SetIrqsRequest& request, std::span<const FdView> fds);
  absl::Status Reset();

  // The three below take turns, so that the server is told in the order in which it is noted.

  // Binds a run of vectors, each to its eventfd, which takes them from whoever bound them before.
  // The number of the first one's binding; those of the others follow.
  absl::StatusOr<uint64_t> BindIrqs(const SetIrqsRequest& run, std::span<const FdView> eventfds);
  // Unbinds what has that binding still, and nothing that was bound anew or disabled.
  void UnbindIrq(const IrqSlot& slot, uint64_t binding);
  // Afterwards no vector of the type is bound.
  absl::Status DisableIrqs(IrqIndex index);

  // One message each; at most max_read_bytes() and max_write_bytes(), above which they are
  // ResourceExhausted.
  absl::Status ReadRegion(RegionIndex index, uint64_t offset, std::span<std::byte> into);
  absl::Status WriteRegion(RegionIndex index, uint64_t offset, std::span<const std::byte> from);

  // A WriteRegion that is not waited for, and whose refusal nobody hears of. Without a twin it is
  // WriteRegion: libvfio-user would take the request after it for the answer to a DMA message.
  absl::Status PostRegionWrite(RegionIndex index, uint64_t offset, std::span<const std::byte> from);
  // Waits until the server has served every request that was sent before.
  absl::Status Fence();

  // Several ReadRegion or WriteRegion, in order, of which some are under way at a time where the
  // server can take that. On an error, which is the first, later ones may have been served.
  absl::Status ReadRegionMany(RegionIndex index, std::span<const RegionRead> reads);
  absl::Status WriteRegionMany(RegionIndex index, std::span<const RegionWrite> writes);

  // A missed deadline ends the connection: whether the memory is mapped would not be known.
  absl::Status MapDma(const DmaMapRequest& request, std::span<const FdView> fds);
  // Several MapDma, in order, of which some are under way at a time where the server can take that.
  // Ends with the first that is refused, and those that were under way with it. What became of each
  // that was sent; the others were not.
  struct DmaMapAsk {
    DmaMapRequest request;
    std::optional<FdView> fd = std::nullopt;
  };
  std::vector<absl::Status> MapDmaMany(std::span<const DmaMapAsk> asks);
  // OK too when the server has no such mapping. Any error means that the connection is gone.
  absl::Status UnmapDma(Iova address, uint64_t size);
  // The forms with flags, which a server may not know. Gives the bitmap, if one was asked for; an
  // empty one is that of a device without DMA. An error with the connection alive is the server's
  // refusal: it unmapped nothing.
  absl::StatusOr<std::vector<uint8_t>> UnmapDma(const DmaUnmapRequest& request);

  // What the server's DMA messages are served from, and where their writes are recorded.
  DmaTable& dma_table() { return dma_table_; }
  WriteRecord& write_record() { return write_record_; }

  // For requests that have a file of their own. Sends one and waits for its reply; the errno of a
  // refusal is kept.
  absl::Status Call(Command command, const MessageContent& content, PendingCall& call);
  // Ends the connection because of what the server said, and returns the DataLoss for it.
  absl::Status CloseBroken(const absl::Status& why);

  const VersionMessage& server_version() const { return server_; }
  uint32_t max_data_xfer_bytes() const { return max_data_xfer_bytes_; }
  uint32_t max_read_bytes() const;
  uint32_t max_write_bytes() const;
  // Descriptors that may go with one message to the server; at least 1.
  uint32_t max_message_fds() const;
  // Whether the server may be a libvfio-user, with its peculiarities. One that has taken the offer
  // of REGION_WRITE_MULTI is not: no libvfio-user does.
  bool may_be_libvfio_user() const { return !server_.capabilities.WriteMultiple(); }
  bool has_twin_socket() const { return twin_.has_value(); }
  const Socket& socket() const { return main_.socket(); }

  // -1 when a background thread serves.
  int poll_fd() const;
  // Serves what has arrived. Does nothing while another thread does so.
  absl::Status Poll();

  absl::Status CheckProcess() const { return owner_.Check(); }
  // OK, or why the connection is gone.
  absl::Status status() const;

 private:
  Session(Negotiated negotiated, const SessionOptions& options);

  absl::Status StartThread();
  void ServeInBackground();
  Channel& commands() { return twin_ ? *twin_ : main_; }

  absl::Status TakeBindingTurn(IrqIndex index);
  absl::Status CallInTurn(Command command, const MessageContent& content, PendingCall& call);
  // Ends the connection, unless it has ended, because the outcome of `command` is not known.
  absl::Status CloseUndecided(Command command, const absl::Status& why);
  void Close(const absl::Status& reason);
  // Ends the connection because where the server's commands come from has ended.
  void EndWithCommands(const absl::Status& why);

  absl::Status CheckEcho(const DmaUnmapRequest& got, const DmaUnmapRequest& want);
  absl::Status CheckRegionExists(RegionIndex index);
  absl::StatusOr<RegionWithFile> AskRegion(RegionIndex index, uint32_t argsz);
  absl::StatusOr<RegionIoFds> AskIoFds(RegionIndex index, uint32_t argsz);

  // One access of the many, and one that was sent.
  struct Access {
    Command command{};
    RegionAccess where;
    std::span<std::byte> into;        // Of a read.
    std::span<const std::byte> from;  // Of a write.
  };
  struct SentAccess {
    explicit SentAccess(const Access& sent)
        : access(sent), call(RegionAccess::kBytes, {&access.into, 1}) {}
    const Access access;
    PendingCall call;
  };
  absl::Status AccessMany(std::span<const Access> accesses);
  static bool IsFull(const std::deque<SentAccess>& sent, const Access& next);
  absl::Status Send(const Access& access, std::deque<SentAccess>& sent);
  // Waits for the oldest. `before` is the first error so far.
  absl::Status FinishOldest(std::deque<SentAccess>& sent, const absl::Status& before);
  absl::Status StartMapDma(const DmaMapAsk& ask, std::deque<PendingCall>& sent);
  absl::Status FinishMapDma(std::deque<PendingCall>& sent);
  // Writes of at most 8 bytes, by REGION_WRITE_MULTI. The second returns how many of them were
  // carried out, from the first.
  absl::Status WriteMulti(std::span<const Access> writes);
  absl::StatusOr<size_t> AskWriteMulti(std::span<const Access> writes);
  absl::Status CheckReadReply(const PendingCall& call, const RegionAccess& want);
  absl::Status CheckEcho(std::string_view reply, std::span<const uint8_t> body,
                         const RegionAccess& want);

  const OwnerProcess owner_;
  const SessionOptions options_;
  const VersionMessage server_;
  const uint32_t max_data_xfer_bytes_;

  DmaTable dma_table_;
  WriteRecord write_record_;
  DmaResponder main_responder_;
  DmaResponder twin_responder_;
  Channel main_;
  std::optional<Channel> twin_;
  RequestTurn turn_;           // Used without a twin.
  RequestTurn pipeline_turn_;  // Whose accesses may be under way several at a time.
  RequestTurn binding_turn_;   // Who tells the server what is bound, and notes it.
  std::atomic<uint32_t> posted_since_fence_ = 0;
  std::thread thread_;

  Mutex mu_;
  std::optional<DeviceInfo> device_info_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<IrqSlot, uint64_t> bindings_ ABSL_GUARDED_BY(mu_);
  uint64_t next_binding_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace vfio_user

#endif  // CLIENT_SESSION_SESSION_H_
