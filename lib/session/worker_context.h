#pragma once

#include "lib/metrics/metrics.h"
#include "lib/net/loop.h"
#include "lib/net/resolver.h"
#include "lib/net/work_pool.h"

namespace starttls::session {

class SecretStore;

/// The parts of a worker that serve one service. `metrics` counts for both.
struct WorkerContext {
  net::Loop& loop;
  net::Resolver& resolver;
  net::WorkPool& work;
  SecretStore& secrets;
  metrics::Tally& metrics;
};

}  // namespace starttls::session
