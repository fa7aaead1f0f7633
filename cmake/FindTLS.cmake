# BoringSSL: Debian's android-libboringssl-dev, or an upstream install named by BORINGSSL_ROOT.
#
# The system's OpenSSL has the same file and symbol names; it must never be picked up by accident, so nothing is
# searched but the two places named here.
set(BORINGSSL_ROOT "" CACHE PATH "Folder of an upstream BoringSSL install (include/, lib/); empty = Debian's package")

if(BORINGSSL_ROOT)
  set(_boringssl_include ${BORINGSSL_ROOT}/include)
  set(_boringssl_lib ${BORINGSSL_ROOT}/lib ${BORINGSSL_ROOT}/lib64)
else()
  set(_boringssl_include /usr/include/android)
  set(_boringssl_lib /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/android)
endif()

find_path(BORINGSSL_INCLUDE_DIR openssl/is_boringssl.h PATHS ${_boringssl_include} NO_DEFAULT_PATH)
find_library(BORINGSSL_SSL_LIBRARY ssl PATHS ${_boringssl_lib} NO_DEFAULT_PATH)
find_library(BORINGSSL_CRYPTO_LIBRARY crypto PATHS ${_boringssl_lib} NO_DEFAULT_PATH)
mark_as_advanced(BORINGSSL_INCLUDE_DIR BORINGSSL_SSL_LIBRARY BORINGSSL_CRYPTO_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  BoringSSL REQUIRED_VARS BORINGSSL_SSL_LIBRARY BORINGSSL_CRYPTO_LIBRARY BORINGSSL_INCLUDE_DIR)

if(BoringSSL_FOUND AND NOT TARGET BoringSSL::SSL)
  # Debian keeps the libraries in a folder of their own, away from the loader's search path.
  cmake_path(GET BORINGSSL_SSL_LIBRARY PARENT_PATH _boringssl_lib_dir)
  list(APPEND CMAKE_BUILD_RPATH ${_boringssl_lib_dir})
  list(APPEND CMAKE_INSTALL_RPATH ${_boringssl_lib_dir})

  add_library(BoringSSL::Crypto UNKNOWN IMPORTED)
  set_target_properties(BoringSSL::Crypto PROPERTIES IMPORTED_LOCATION ${BORINGSSL_CRYPTO_LIBRARY})
  target_include_directories(BoringSSL::Crypto SYSTEM INTERFACE ${BORINGSSL_INCLUDE_DIR})
  target_link_libraries(BoringSSL::Crypto INTERFACE Threads::Threads)
  add_library(BoringSSL::SSL UNKNOWN IMPORTED)
  set_target_properties(BoringSSL::SSL PROPERTIES IMPORTED_LOCATION ${BORINGSSL_SSL_LIBRARY})
  target_link_libraries(BoringSSL::SSL INTERFACE BoringSSL::Crypto)
endif()
