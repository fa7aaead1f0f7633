#include "lib/base/buffer.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/support/catch.h"

using namespace starttls;

namespace {

std::string text_of(const ByteQueue& queue) {
  std::vector<std::span<const std::byte>> pieces(100);
  pieces.resize(queue.pieces(pieces));
  std::string out;
  for (const auto piece : pieces) {
    out.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  }
  return out;
}

std::string pattern(std::size_t size) {
  std::string out(size, '\0');
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + i % 23);
  return out;
}

}  // namespace

TEST_CASE("byte queue: bytes come out in the order they went in, for all sizes", "[base]") {
  BufferPool pool;
  const std::string all = pattern(5 * BufferPool::kBlockSize + 777);
  for (const std::size_t in : {std::size_t{1000}, BufferPool::kBlockSize, std::size_t{70001}}) {
    for (const std::size_t out : {std::size_t{999}, BufferPool::kBlockSize, std::size_t{65537}}) {
      ByteQueue queue{pool};
      std::string got;
      std::size_t at = 0;
      while (got.size() < all.size()) {
        const std::size_t count = std::min(in, all.size() - at);
        queue.append(std::as_bytes(std::span{all}.subspan(at, count)));
        at += count;
        const std::size_t taken = std::min(out, queue.size());
        got += text_of(queue).substr(0, taken);
        queue.consume(taken);
      }
      CHECK(got == all);
      CHECK(queue.empty());
    }
  }
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("byte queue: an empty queue holds no block", "[base]") {
  BufferPool pool;
  ByteQueue queue{pool};
  queue.append(std::as_bytes(std::span{"abc", 3}));
  CHECK(pool.used_bytes() == BufferPool::kBlockSize);
  queue.clear();
  CHECK(pool.used_bytes() == 0);
  queue.append(std::as_bytes(std::span{"xyz", 3}));
  CHECK(text_of(queue) == "xyz");
}
