#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends a fuzzer where something does not hold that should, whatever the build's NDEBUG says.
#define HOLDS(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
