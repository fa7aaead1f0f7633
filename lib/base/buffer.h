#pragma once

// Memory for payload. Reading and TLS work in slabs that belong to the loop. Bytes that cannot be
// sent at once wait in blocks of the worker's pool. An idle session holds neither.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/counter.h"

namespace starttls {

/// A free list of equal blocks. Each worker has one. Not thread-safe, except `used_bytes`. Must
/// outlive its blocks.
class BufferPool {
 public:
  static constexpr std::size_t kBlockSize = 32UL * 1024;
  /// Blocks kept for the next user; more go back to the allocator.
  static constexpr std::size_t kMaxFree = 128;

  struct Return {
    BufferPool* pool = nullptr;
    void operator()(std::byte* block) const noexcept { pool->give_back(block); }
  };
  using Block = std::unique_ptr<std::byte[], Return>;

  BufferPool() { free_.reserve(kMaxFree); }
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  [[nodiscard]] Block take();
  /// Counts memory that was allocated elsewhere (negative: freed).
  void charge(std::ptrdiff_t bytes) noexcept { charged_.add(bytes); }
  /// Returns the bytes in use, without free blocks. Any thread may call it.
  [[nodiscard]] std::size_t used_bytes() const noexcept {
    return static_cast<std::size_t>(used_.value()) * kBlockSize +
           static_cast<std::size_t>(charged_.value());
  }

 private:
  void give_back(std::byte* block) noexcept;

  std::vector<std::byte*> free_;
  Gauge used_;     // blocks
  Gauge charged_;  // bytes
};

/// Bytes of a peer that wait to be parsed. They are in one piece, unlike blocks. Their memory
/// counts as the pool's, and is given back when nothing waits. Passwords are among these bytes, so
/// each copy is wiped when it is freed.
class PooledText {
 public:
  explicit PooledText(BufferPool& pool) noexcept : pool_(pool) {}
  PooledText(const PooledText&) = delete;
  PooledText& operator=(const PooledText&) = delete;
  ~PooledText() { clear(); }

  [[nodiscard]] std::string_view view() const noexcept { return text_; }
  [[nodiscard]] std::size_t size() const noexcept { return text_.size(); }
  [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
  void append(std::string_view bytes);
  /// Drops the first `count` bytes (at most `size()`).
  void consume(std::size_t count);
  void clear() noexcept;
  /// Hands over all bytes. Nothing waits afterwards.
  [[nodiscard]] std::string take() noexcept;

 private:
  BufferPool& pool_;
  std::string text_;
};

/// Bytes that wait in pooled blocks, first in, first out.
class ByteQueue {
 public:
  explicit ByteQueue(BufferPool& pool) noexcept : pool_(&pool) {}

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Appends a copy of `bytes`. In this call an unsent tail leaves the slab.
  void append(std::span<const std::byte> bytes);
  /// Fills `out` with the first waiting bytes in order and returns the number of pieces. The bytes
  /// do not move until they are consumed, even if more are appended.
  std::size_t pieces(std::span<std::span<const std::byte>> out) const noexcept;
  /// Drops the first `count` bytes (at most `size()`).
  void consume(std::size_t count) noexcept;
  void clear() noexcept;

 private:
  BufferPool* pool_;
  std::vector<BufferPool::Block> blocks_;  // a handful: back-pressure bounds them
  std::size_t head_ = 0;                   // bytes of the first block already consumed
  std::size_t size_ = 0;
};

}  // namespace starttls
