# What is installed, by `cmake --install` and by debian/rules, which adds changelog, copyright and maintainer scripts.

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # tests and benchmarks need not be built to install the program

set(STARTTLS_DOC_DIR ${CMAKE_INSTALL_DATADIR}/doc/starttls-proxy)
set(STARTTLS_CONF ${CMAKE_SOURCE_DIR}/conf)

install(TARGETS starttls-proxy RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS starttls-token RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${STARTTLS_CONF}/man/starttls-proxy.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES ${STARTTLS_CONF}/man/starttls-proxy.toml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES ${STARTTLS_CONF}/man/starttls-token.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${STARTTLS_CONF}/completion/starttls-proxy ${STARTTLS_CONF}/completion/starttls-token
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${STARTTLS_CONF}/systemd/starttls-proxy.service ${STARTTLS_CONF}/systemd/starttls-proxy.socket
        ${STARTTLS_CONF}/systemd/starttls-proxy-token.socket ${STARTTLS_CONF}/systemd/starttls-proxy-token@.service
        DESTINATION lib/systemd/system)
install(FILES ${STARTTLS_CONF}/systemd/starttls-proxy.sysusers
        DESTINATION lib/sysusers.d RENAME starttls-proxy.conf)
install(FILES ${STARTTLS_CONF}/systemd/starttls-proxy.tmpfiles
        DESTINATION lib/tmpfiles.d RENAME starttls-proxy.conf)
install(DIRECTORY ${STARTTLS_CONF}/examples DESTINATION ${STARTTLS_DOC_DIR})
install(FILES ${STARTTLS_CONF}/reference.toml DESTINATION ${STARTTLS_DOC_DIR}/examples)
# Files that the examples and the manual mention. An administrator copies a script and makes the copy executable.
foreach(folder nftables helm kubernetes prometheus grafana systemd/starttls-proxy.service.d)
  install(DIRECTORY ${STARTTLS_CONF}/${folder} DESTINATION ${STARTTLS_DOC_DIR})
endforeach()
# The pages link to each other from the same places as in the source. The one link into bench/ is a picture.
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_SOURCE_DIR}/SECURITY.md
        ${CMAKE_SOURCE_DIR}/CONTRIBUTING.md DESTINATION ${STARTTLS_DOC_DIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION ${STARTTLS_DOC_DIR})
install(FILES ${CMAKE_SOURCE_DIR}/bench/chart.svg DESTINATION ${STARTTLS_DOC_DIR}/bench)
