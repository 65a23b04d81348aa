#include "client/dma_mapping.h"

#include <utility>

#include "client/dma_mapper.h"

namespace vfio_user {

DmaMapping::DmaMapping(std::shared_ptr<DmaMapper> mapper, Iova iova, uint64_t size, DmaPath path)
    : mapper_(std::move(mapper)), iova_(iova), size_(size), path_(path) {}

DmaMapping::DmaMapping(DmaMapping&& other) noexcept = default;

DmaMapping& DmaMapping::operator=(DmaMapping&& other) noexcept {
  if (this == &other) return *this;
  (void)Unmap();
  mapper_ = std::move(other.mapper_);
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
  return std::exchange(mapper_, nullptr)->Unmap(iova_, size_);
}

}  // namespace vfio_user
