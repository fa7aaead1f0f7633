#include "lib/net/descriptor_limit.h"

#include <sys/resource.h>

namespace starttls::net {

std::size_t raise_descriptor_limit() noexcept {
  constexpr std::size_t kUsual = 1024;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kUsual;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  return static_cast<std::size_t>(::setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur
                                                                          : before);
}

}  // namespace starttls::net
