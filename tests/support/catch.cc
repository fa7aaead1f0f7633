// Its target has the precompiled headers of all tests (tests/CMakeLists.txt).
#include "tests/support/catch.h"
