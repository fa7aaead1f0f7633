#pragma once

// libuv aborts in some places if it gets no memory, and returns an error in others. A program that
// ends in its own way has to be asked first.

namespace starttls::net {

/// Has libuv call `handler` when it gets no memory. The handler must not return. Not thread-safe:
/// call it before libuv is used.
void on_memory_exhausted(void (*handler)() noexcept) noexcept;

}  // namespace starttls::net
