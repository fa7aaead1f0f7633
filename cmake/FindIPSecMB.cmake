# Intel's IPsec multi-buffer library (libipsec-mb-dev), for its AES-GCM. It is optional: without it, or on a CPU
# without vector AES, the TLS library's cipher serves.
find_path(IPSECMB_INCLUDE_DIR intel-ipsec-mb.h)
find_library(IPSECMB_LIBRARY IPSec_MB)
mark_as_advanced(IPSECMB_INCLUDE_DIR IPSECMB_LIBRARY)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(IPSecMB REQUIRED_VARS IPSECMB_LIBRARY IPSECMB_INCLUDE_DIR)

if(IPSecMB_FOUND AND NOT TARGET IPSecMB::IPSecMB)
  add_library(IPSecMB::IPSecMB UNKNOWN IMPORTED)
  set_target_properties(IPSecMB::IPSecMB PROPERTIES IMPORTED_LOCATION ${IPSECMB_LIBRARY})
  target_include_directories(IPSecMB::IPSecMB SYSTEM INTERFACE ${IPSECMB_INCLUDE_DIR})
endif()
