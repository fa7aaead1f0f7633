# Where clang builds with sanitizers, headers that most files read are parsed once, and files of one target are
# compiled as one, up to eight: together that takes a third of the time. Names without linkage must so be the only
# ones of their kind in a target. Not so in the other builds, where an include that is missing must not go unseen,
# and where clang-tidy and the mutants read the compile commands.
if(STARTTLS_SANITIZE AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  set(STARTTLS_PRECOMPILED ON)
  set(CMAKE_UNITY_BUILD ON)
  # What the manual of ccache asks for.
  add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  if(STARTTLS_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_SLOPPINESS=pch_defines,time_macros ${STARTTLS_CCACHE})
  endif()
endif()

# starttls_precompile(OWNER HEADER...): these, with the flags of this target.
function(starttls_precompile owner)
  if(STARTTLS_PRECOMPILED)
    target_precompile_headers(${owner} PRIVATE ${ARGN})
  endif()
endfunction()

# starttls_precompiled(TARGET OWNER): the headers of OWNER, which has the same flags as TARGET.
function(starttls_precompiled target owner)
  if(STARTTLS_PRECOMPILED)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  endif()
endfunction()
