# Warnings are errors, and release binaries are hardened the way Debian hardens its own.
add_library(starttls_flags INTERFACE)
target_compile_options(starttls_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Werror -Werror=switch
  # g++ 12 at -O3 sees overlaps in std::string's operator+ that are not there (GCC PR 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  -fstack-protector-strong -fno-omit-frame-pointer)
target_compile_definitions(starttls_flags INTERFACE STARTTLS_VERSION="${PROJECT_VERSION}")
if(NOT STARTTLS_SANITIZE)  # the sanitizers' own checks of the same calls are better
  target_compile_definitions(starttls_flags INTERFACE $<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
endif()
target_include_directories(starttls_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_link_options(starttls_flags INTERFACE -Wl,-z,relro,-z,now)
if(NOT STARTTLS_SANITIZE)  # libraries and programs share precompiled headers there, so their flags are alike
  set(CMAKE_POSITION_INDEPENDENT_CODE ON)
  include(CheckPIESupported)
  check_pie_supported()
endif()
