// A DmaSpace whose client lends memory in each of the direct ways, for benchmarks.
#ifndef TESTS_BENCH_LENT_SPACE_H_
#define TESTS_BENCH_LENT_SPACE_H_

#include <cstddef>
#include <span>

#include "proto_defs/transport/unique_fd.h"
#include "proto_defs/wire/iova.h"
#include "server/dma/client_dma_space.h"
#include "tests/testing/memory_lender.h"

namespace vfio_user {

inline constexpr size_t kLentBytes = 4 << 20;

// In both processes at the same place.
std::span<std::byte> LentMemory();

// A process that lends its LentMemory(), all of which is its own.
class BenchLender : public MemoryLender {
 public:
  BenchLender();
};

// A file in memory that is sealed against shrinking, kLentBytes long.
UniqueFd SealedMemfd();

// One among many mappings, as a device's would be: LentMemory() of `lender` at its own address, and
// `file` after it.
class LentSpace {
 public:
  LentSpace(const MemoryLender& lender, FdView file, const ClientDmaSpace::Options& options = {});

  ClientDmaSpace& operator*() { return space_; }
  ClientDmaSpace* operator->() { return &space_; }

  static Iova memory();
  static Iova file();

 private:
  ClientDmaSpace space_;
};

}  // namespace vfio_user

#endif  // TESTS_BENCH_LENT_SPACE_H_
