// Preloaded into the daemon: hides the vector AES of this CPU from libipsec-mb's users, as on a CPU
// that does not have it.

#include <cstdint>

#include <dlfcn.h>
#define NO_COMPAT_IMB_API_053
#include <intel-ipsec-mb.h>

extern "C" void init_mb_mgr_auto(IMB_MGR* manager, IMB_ARCH* architecture) {
  using Init = void (*)(IMB_MGR*, IMB_ARCH*);
  static const auto real = reinterpret_cast<Init>(::dlsym(RTLD_NEXT, "init_mb_mgr_auto"));
  real(manager, architecture);
  constexpr std::uint64_t kHidden = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;
  manager->features &= ~kHidden;
}
