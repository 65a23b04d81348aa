// Descriptors that clients sent, each open file once.
#ifndef SERVER_DMA_FILE_POOL_H_
#define SERVER_DMA_FILE_POOL_H_

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "proto_defs/transport/socket.h"
#include "proto_defs/transport/unique_fd.h"
#include "server/dma/process_memory.h"

namespace vfio_user {

// A client sends its /proc/self/mem with every mapping, and each time this process gets another
// descriptor for the same open file: kept as they come, 4,096 mappings would cost 4,096 of them.
// Thread-compatible; what it hands out may be used and released by any thread.
class FilePool {
 public:
  struct OpenFile {
    UniqueFd fd;
    // Where it is the memory of the client's process, and the kernel lets us near.
    std::optional<ProcessMemory> process;
  };
  // Closed with the last owner; the pool itself is none.
  using File = std::shared_ptr<const OpenFile>;

  // Whose files come from now on; none of another client's is in use. Nobody's at first, and then
  // no file is known for a process's memory.
  void set_client(const PeerCredentials& client) { client_ = client; }

  // The file in use that `fd` is a descriptor for, as below; nullptr where it is none of them.
  absl::StatusOr<File> Find(FdView fd);

  // Takes `fd`, and returns a descriptor for the same open file: `fd`, or an older one in use, and
  // then `fd` is closed. "Same" is the kernel's word (F_DUPFD_QUERY, else kcmp). Where it gives
  // none it is the same file opened with the same flags. ResourceExhausted (ENOSPC) when few
  // descriptors are left to this process: one client's files must not keep others from being
  // accepted.
  absl::StatusOr<File> Acquire(UniqueFd fd);

 private:
  using FileId = std::pair<dev_t, ino_t>;
  using OpenFiles = absl::InlinedVector<std::weak_ptr<const OpenFile>, 1>;

  // Whether two descriptors share an open file: its position, its flags, and for /proc/<pid>/mem
  // the memory. nullopt where the kernel does not say.
  std::optional<bool> IsSameOpenFile(FdView one, FdView other);
  // The same of two descriptors for one inode, as well as can be told.
  bool IsLikelySameOpenFile(FdView one, FdView other);
  void Forget();

  const pid_t self_ = ::getpid();  // To name this process to kcmp().
  bool has_query_ = true;          // Whether the kernel may know F_DUPFD_QUERY.
  PeerCredentials client_;
  // All files that were acquired and, until the next Forget, some that have been closed.
  absl::flat_hash_map<FileId, OpenFiles> files_;
  size_t forget_at_ = 16;
  std::weak_ptr<const OpenFile> last_;  // The one that was asked for last.
};

}  // namespace vfio_user

#endif  // SERVER_DMA_FILE_POOL_H_
