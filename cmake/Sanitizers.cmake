# STARTTLS_SANITIZE: a list for -fsanitize=, e.g. "address,undefined" or "thread"; STARTTLS_FUZZ: build the fuzzers (clang).
# The build type "Sanitize": assertions on, lines in reports, and no more optimisation than it takes to
# be quick; half of RelWithDebInfo's compile time.
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1")  # not in the cache: there project() has left an empty one
set(STARTTLS_SANITIZE "" CACHE STRING "sanitizers, as for -fsanitize=")
option(STARTTLS_FUZZ "build the libFuzzer targets (needs clang)" OFF)
if(STARTTLS_SANITIZE)
  add_compile_options(-fsanitize=${STARTTLS_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${STARTTLS_SANITIZE})
endif()

# starttls_fuzzed(TARGET): adds the coverage counters that the fuzzers read. These are the options behind
# -fsanitize=fuzzer-no-link; with that option itself, the target could not share a precompiled header.
function(starttls_fuzzed target)
  if(STARTTLS_FUZZ)
    target_compile_options(${target} PRIVATE
      -fsanitize-coverage=inline-8bit-counters,indirect-calls,trace-cmp,pc-table,stack-depth)
  endif()
endfunction()
