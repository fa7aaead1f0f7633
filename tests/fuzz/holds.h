#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the fuzzer if `condition` is false. Works in builds with NDEBUG too.
#define HOLDS(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
