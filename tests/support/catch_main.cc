// Compiled only if Catch2 is installed without the library that has its main
// (tests/CMakeLists.txt).
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
