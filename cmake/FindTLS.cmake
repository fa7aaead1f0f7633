# The TLS library: Debian's android-libboringssl-dev, or a BoringSSL or an AWS-LC that TLS_ROOT names.
#
# The system's OpenSSL has the same file and symbol names; it must never be picked up by accident. So nothing is
# searched but the two places named here, openssl/base.h exists in no OpenSSL, and the libraries found must have a
# function that OpenSSL lacks. Shared libraries come before static ones, as usual.
set(TLS_ROOT "" CACHE PATH "Folder of an installed BoringSSL or AWS-LC (include/, lib/); empty = Debian's package")

if(TLS_ROOT)
  # AWS-LC as a distribution's package has names of its own.
  set(_tls_include ${TLS_ROOT}/include ${TLS_ROOT}/include/aws-lc)
  set(_tls_lib ${TLS_ROOT}/lib ${TLS_ROOT}/lib64 ${TLS_ROOT}/lib/${CMAKE_LIBRARY_ARCHITECTURE})
else()
  set(_tls_include /usr/include/android)
  set(_tls_lib /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android)
endif()

# If TLS_ROOT has changed, nothing of the other library stays.
if(NOT "${TLS_ROOT}" STREQUAL "${_TLS_ROOT_SEARCHED}")
  foreach(_tls_found TLS_INCLUDE_DIR TLS_SSL_LIBRARY TLS_CRYPTO_LIBRARY TLS_LIBRARY_LINKS)
    unset(${_tls_found} CACHE)
  endforeach()
  set(_TLS_ROOT_SEARCHED "${TLS_ROOT}" CACHE INTERNAL "")
endif()

find_path(TLS_INCLUDE_DIR openssl/base.h PATHS ${_tls_include} NO_DEFAULT_PATH)
find_library(TLS_SSL_LIBRARY NAMES ssl-awslc ssl PATHS ${_tls_lib} NO_DEFAULT_PATH)
find_library(TLS_CRYPTO_LIBRARY NAMES crypto-awslc crypto PATHS ${_tls_lib} NO_DEFAULT_PATH)
mark_as_advanced(TLS_INCLUDE_DIR TLS_SSL_LIBRARY TLS_CRYPTO_LIBRARY)

if(TLS_INCLUDE_DIR AND TLS_SSL_LIBRARY AND TLS_CRYPTO_LIBRARY)
  include(CheckCXXSourceCompiles)
  set(CMAKE_REQUIRED_INCLUDES ${TLS_INCLUDE_DIR})
  set(CMAKE_REQUIRED_LIBRARIES ${TLS_SSL_LIBRARY} ${TLS_CRYPTO_LIBRARY} Threads::Threads)
  check_cxx_source_compiles("
    #include <openssl/pool.h>
    #include <openssl/ssl.h>
    int main() { SSL_CTX_set0_buffer_pool(nullptr, CRYPTO_BUFFER_POOL_new()); }
    " TLS_LIBRARY_LINKS)
  unset(CMAKE_REQUIRED_INCLUDES)
  unset(CMAKE_REQUIRED_LIBRARIES)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  TLS REQUIRED_VARS TLS_SSL_LIBRARY TLS_CRYPTO_LIBRARY TLS_INCLUDE_DIR TLS_LIBRARY_LINKS)

if(TLS_FOUND AND NOT TARGET TLS::SSL)
  # Debian keeps the libraries in a folder of their own, away from the loader's search path.
  if(NOT TLS_SSL_LIBRARY MATCHES "\\.a$")
    cmake_path(GET TLS_SSL_LIBRARY PARENT_PATH _tls_lib_dir)
    list(APPEND CMAKE_BUILD_RPATH ${_tls_lib_dir})
    list(APPEND CMAKE_INSTALL_RPATH ${_tls_lib_dir})
  endif()

  add_library(TLS::Crypto UNKNOWN IMPORTED)
  set_target_properties(TLS::Crypto PROPERTIES IMPORTED_LOCATION ${TLS_CRYPTO_LIBRARY})
  target_include_directories(TLS::Crypto SYSTEM INTERFACE ${TLS_INCLUDE_DIR})
  target_link_libraries(TLS::Crypto INTERFACE Threads::Threads)
  add_library(TLS::SSL UNKNOWN IMPORTED)
  set_target_properties(TLS::SSL PROPERTIES IMPORTED_LOCATION ${TLS_SSL_LIBRARY})
  target_link_libraries(TLS::SSL INTERFACE TLS::Crypto)
endif()
