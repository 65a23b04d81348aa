#include "client/dma_mapping.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/dma/live_mappings.h"
#include "client/dma_mapper.h"
#include "proto_defs/base/status_macros.h"

namespace vfio_user {

DmaMapping::DmaMapping(std::shared_ptr<DmaMapper> mapper, uint64_t id, const LiveMapping& mapping)
    : mapper_(std::move(mapper)),
      id_(id),
      iova_(mapping.range.first),
      size_(mapping.range.length),
      path_(mapping.path) {}

DmaMapping::DmaMapping(DmaMapping&& other) noexcept = default;

DmaMapping& DmaMapping::operator=(DmaMapping&& other) noexcept {
  if (this == &other) return *this;
  (void)Unmap();
  mapper_ = std::move(other.mapper_);
  id_ = other.id_;
  iova_ = other.iova_;
  size_ = other.size_;
  path_ = other.path_;
  return *this;
}

// Nobody is left to be told of an error, which is that of the whole connection: every other call
// returns it.
DmaMapping::~DmaMapping() { (void)Unmap(); }

absl::Status DmaMapping::Unmap() {
  if (mapper_ == nullptr) return absl::OkStatus();
  return std::exchange(mapper_, nullptr)->Unmap(id_);
}

absl::StatusOr<DirtyPages> DmaMapping::UnmapAndReport(uint64_t page_size) {
  if (mapper_ == nullptr) return absl::FailedPreconditionError("this mapping is unmapped already");
  VFIO_USER_ASSIGN_OR_RETURN(DirtyPages pages, DirtyPages::Create({iova_, size_}, page_size));
  VFIO_USER_ASSIGN_OR_RETURN(const uint64_t log_page_size, mapper_->CheckLogging());
  VFIO_USER_RETURN_IF_ERROR(
      std::exchange(mapper_, nullptr)->UnmapAndReport(id_, log_page_size, pages));
  return pages;
}

}  // namespace vfio_user
