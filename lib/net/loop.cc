#include "lib/net/loop.h"

#include <array>
#include <cassert>
#include <cerrno>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <sys/eventfd.h>

#include "lib/net/address.h"
#include "lib/net/stream.h"

namespace starttls::net {
namespace {

/// Descriptors that the first loop of a process opens (epoll, eventfd, two pipes for signals,
/// /dev/null), and one for its owner. Later loops open two less.
constexpr std::size_t kDescriptors = 8;

/// Returns 0 if the process may open so many more descriptors, otherwise libuv's status. libuv
/// itself ends the process if there is none left for its pipes.
int look_for_descriptors() {
  std::array<Descriptor, kDescriptors> opened;
  for (auto& each : opened) {
    each = Descriptor{::eventfd(0, EFD_CLOEXEC)};
    if (each.get() < 0) return uv_translate_sys_error(errno);
  }
  return 0;
}

}  // namespace

Loop::Loop()
    : read_slab_(new std::byte[kReadSlab]),  // uninitialised: pages are touched when used
      plain_slab_(new std::byte[kPlainSlab]),
      wire_slab_(new std::byte[kWireSlab]) {}

Result<std::unique_ptr<Loop>> Loop::create() {
  int status = look_for_descriptors();
  std::unique_ptr<Loop> loop(new Loop);
  if (status == 0) status = loop->open();
  if (status != 0) return fail(Errc::system, "cannot create an event loop: " + error_text(status));
  return loop;
}

/// Initialises the loop and its own handles. Returns libuv's status.
int Loop::open() {
  if (const int status = uv_loop_init(&loop_); status != 0) return status;
  async_.data = this;
  idle_.data = this;
  check_.data = this;
  if (const int status = uv_async_init(
          &loop_, &async_,
          [](uv_async_t* handle) noexcept { static_cast<Loop*>(handle->data)->on_async(); });
      status != 0) {
    uv_loop_close(&loop_);
    return status;
  }
  expect_success(uv_idle_init(&loop_, &idle_));
  expect_success(uv_check_init(&loop_, &check_));
  is_open_ = true;
  expect_success(uv_check_start(
      &check_, [](uv_check_t* handle) noexcept { ++static_cast<Loop*>(handle->data)->turn_; }));
  uv_unref(reinterpret_cast<uv_handle_t*>(&check_));
  // libuv opens /dev/null with a loop's first stream, and keeps it as long as the loop lives. Have
  // it do so now, while the process may still open files.
  uv_tcp_t first{};
  expect_success(uv_tcp_init(&loop_, &first));
  uv_close(reinterpret_cast<uv_handle_t*>(&first), nullptr);
  uv_run(&loop_, UV_RUN_NOWAIT);
  return 0;
}

Loop::~Loop() {
  if (!is_open_) return;
  uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&idle_), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&check_), nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  [[maybe_unused]] const int closed = uv_loop_close(&loop_);
  assert(closed == 0);
}

void Loop::run() {
  uv_run(&loop_, UV_RUN_DEFAULT);
}

void Loop::stop() {
  post([this] { uv_stop(&loop_); });
}

void Loop::post(std::function<void()> task) {
  {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  uv_async_send(&async_);
}

std::chrono::milliseconds Loop::now() const noexcept {
  return std::chrono::milliseconds{uv_now(&loop_)};
}

std::chrono::nanoseconds Loop::precise_now() noexcept {
  return std::chrono::nanoseconds{uv_hrtime()};
}

bool Loop::keep_spare() noexcept {
  // Duplicate a descriptor of the loop's own, which is open anyway: a duplicate of a socket's would
  // keep that socket open.
  if (spare_.get() < 0) {
    spare_ = Descriptor{::fcntl(uv_backend_fd(&loop_), F_DUPFD_CLOEXEC, 0)};
  }
  return spare_.get() >= 0;
}

void Loop::report_next_turn(Stream& stream) {
  waiting_.push_back(&stream);
  wake_next_turn();
}

void Loop::defer(std::function<void()> task) {
  deferred_.push_back(std::move(task));
  wake_next_turn();
}

void Loop::wake_next_turn() {
  uv_idle_start(&idle_,
                [](uv_idle_t* handle) noexcept { static_cast<Loop*>(handle->data)->on_idle(); });
}

void Loop::forget(Stream& stream) noexcept {
  std::erase(waiting_, &stream);
}

void Loop::on_async() {
  std::vector<std::function<void()>> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
  }
  for (auto& task : tasks) task();
}

void Loop::on_idle() {
  uv_idle_stop(&idle_);
  // A callback may call `forget`, or ask for another turn. So handle the streams that wait now, one
  // after the other.
  for (std::size_t count = waiting_.size(); count > 0 && !waiting_.empty(); --count) {
    Stream* stream = waiting_.front();
    waiting_.erase(waiting_.begin());
    stream->on_next_turn();
  }
  std::vector<std::function<void()>> tasks;
  tasks.swap(deferred_);
  for (auto& task : tasks) task();
  turn_budget_.on_turn(turn_);
}

void expect_success(int status) {
  if (status != 0) throw std::runtime_error("libuv: " + error_text(status));
}

std::string library_version() {
  return std::string{"libuv "} + uv_version_string();
}

}  // namespace starttls::net
