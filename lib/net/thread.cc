#include "lib/net/thread.h"

#include <system_error>
#include <utility>

#include <pthread.h>

#include "lib/net/signals.h"

namespace starttls::net {

Result<std::thread> start_thread(std::string name, std::function<void()> body) {
  try {
    return std::thread([name = std::move(name), body = std::move(body)] {
      leave_signals_to_others();
      static_cast<void>(::pthread_setname_np(::pthread_self(), name.c_str()));
      body();
    });
  } catch (const std::system_error& error) {
    return fail(Errc::system, "cannot start a thread: " + error.code().message());
  }
}

}  // namespace starttls::net
