#include "lib/net/exhaustion.h"

#include <cstddef>
#include <cstdlib>

#include <uv.h>

namespace starttls::net {
namespace {

void (*exhaustion_handler)() noexcept = nullptr;

void* not_null(void* memory) noexcept {
  if (memory == nullptr) exhaustion_handler();
  return memory;
}

}  // namespace

void on_memory_exhausted(void (*handler)() noexcept) noexcept {
  exhaustion_handler = handler;
  // A size of 0 may give null. libuv also reallocates to 0 to free memory.
  static_cast<void>(uv_replace_allocator(
      [](std::size_t size) { return size == 0 ? nullptr : not_null(std::malloc(size)); },
      [](void* old, std::size_t size) {
        auto* const memory = std::realloc(old, size);
        return size == 0 ? memory : not_null(memory);
      },
      [](std::size_t count, std::size_t size) {
        return count == 0 || size == 0 ? nullptr : not_null(std::calloc(count, size));
      },
      &std::free));
}

}  // namespace starttls::net
