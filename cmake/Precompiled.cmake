# Headers that most files read are parsed once, where clang builds with sanitizers: that halves the time to compile
# there. Not so in the other builds, where an include that is missing must not go unseen, and where clang-tidy
# reads the compile commands.
if(STARTTLS_SANITIZE AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  set(STARTTLS_PRECOMPILED ON)
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
