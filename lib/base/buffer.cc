#include "lib/base/buffer.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "lib/base/secret.h"

namespace starttls {

BufferPool::~BufferPool() {
  assert(used_.value() == 0);
  for (std::byte* block : free_) delete[] block;
}

BufferPool::Block BufferPool::take() {
  std::byte* block = nullptr;
  if (free_.empty()) {
    block = new std::byte[kBlockSize];
  } else {
    block = free_.back();
    free_.pop_back();
  }
  used_.add(1);
  return Block{block, Return{this}};
}

void BufferPool::give_back(std::byte* block) noexcept {
  used_.add(-1);
  if (free_.size() < kMaxFree) {
    free_.push_back(block);  // capacity was reserved: cannot throw
  } else {
    delete[] block;
  }
}

void PooledText::append(std::string_view bytes) {
  const auto before = static_cast<std::ptrdiff_t>(text_.capacity());
  const std::size_t size = text_.size() + bytes.size();
  if (size > text_.capacity()) make_room(text_, std::max(size, 2 * text_.capacity()));
  text_ += bytes;
  pool_.charge(static_cast<std::ptrdiff_t>(text_.capacity()) - before);
}

void PooledText::consume(std::size_t count) {
  assert(count <= text_.size());
  if (count == text_.size()) {
    clear();
    return;
  }
  const std::size_t left = text_.size() - count;
  std::memmove(text_.data(), text_.data() + count, left);
  wipe(std::span{text_}.subspan(left));
  text_.resize(left);
}

void PooledText::clear() noexcept {
  wipe(text_);  // in place: a short text would leave a copy where it was
  static_cast<void>(take());
}

std::string PooledText::take() noexcept {
  const auto before = static_cast<std::ptrdiff_t>(text_.capacity());
  std::string out = std::exchange(text_, {});
  pool_.charge(static_cast<std::ptrdiff_t>(text_.capacity()) - before);
  return out;
}

void ByteQueue::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const std::size_t used = (head_ + size_) % BufferPool::kBlockSize;
    const bool last_is_full = head_ + size_ == blocks_.size() * BufferPool::kBlockSize;
    if (last_is_full) blocks_.push_back(pool_->take());
    const std::size_t offset = last_is_full ? 0 : used;
    const std::size_t count = std::min(bytes.size(), BufferPool::kBlockSize - offset);
    std::memcpy(blocks_.back().get() + offset, bytes.data(), count);
    size_ += count;
    bytes = bytes.subspan(count);
  }
}

std::size_t ByteQueue::pieces(std::span<std::span<const std::byte>> out) const noexcept {
  std::size_t count = 0;
  std::size_t offset = head_;
  std::size_t left = size_;
  for (const auto& block : blocks_) {
    if (left == 0 || count == out.size()) break;
    const std::size_t size = std::min(left, BufferPool::kBlockSize - offset);
    out[count++] = {block.get() + offset, size};
    left -= size;
    offset = 0;
  }
  return count;
}

void ByteQueue::consume(std::size_t count) noexcept {
  assert(count <= size_);
  size_ -= count;
  head_ += count;
  const std::size_t done = size_ == 0 ? blocks_.size() : head_ / BufferPool::kBlockSize;
  blocks_.erase(blocks_.begin(), blocks_.begin() + static_cast<std::ptrdiff_t>(done));
  head_ = size_ == 0 ? 0 : head_ - done * BufferPool::kBlockSize;
  if (size_ == 0) blocks_.shrink_to_fit();
}

void ByteQueue::clear() noexcept {
  consume(size_);
}

}  // namespace starttls
