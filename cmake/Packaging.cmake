# What is installed, and the Debian package that `cpack` in the build folder makes of it. For the package configure
# with -DCMAKE_INSTALL_PREFIX=/usr, or leave it to cpack, which installs below /usr anyway.

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
# What the examples and the manual speak of. A script is to be copied, and made a program there.
foreach(folder nftables helm kubernetes prometheus grafana systemd/starttls-proxy.service.d)
  install(DIRECTORY ${STARTTLS_CONF}/${folder} DESTINATION ${STARTTLS_DOC_DIR})
endforeach()
# The pages link to each other from the same places as in the source. The one link into bench/ is a picture.
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${CMAKE_SOURCE_DIR}/SECURITY.md
        ${CMAKE_SOURCE_DIR}/CONTRIBUTING.md DESTINATION ${STARTTLS_DOC_DIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION ${STARTTLS_DOC_DIR})
install(FILES ${CMAKE_SOURCE_DIR}/bench/chart.svg DESTINATION ${STARTTLS_DOC_DIR}/bench)
install(FILES ${STARTTLS_CONF}/debian/copyright DESTINATION ${STARTTLS_DOC_DIR})
install(FILES ${STARTTLS_CONF}/debian/changelog DESTINATION ${STARTTLS_DOC_DIR})
install(FILES ${STARTTLS_CONF}/debian/lintian-overrides
        DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME starttls-proxy)

# As Debian's policy wants it: at the highest level, and without a time, so that two builds are alike.
find_program(STARTTLS_GZIP gzip REQUIRED)
foreach(file ${CMAKE_INSTALL_MANDIR}/man8/starttls-proxy.8 ${CMAKE_INSTALL_MANDIR}/man5/starttls-proxy.toml.5
        ${CMAKE_INSTALL_MANDIR}/man1/starttls-token.1
        ${STARTTLS_DOC_DIR}/changelog)
  install(CODE "execute_process(COMMAND ${STARTTLS_GZIP} -9nf \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${file}\"
                                COMMAND_ERROR_IS_FATAL ANY)")
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME starttls-proxy)
set(CPACK_PACKAGE_VENDOR "starttls-proxy")
set(CPACK_PACKAGE_CONTACT "The starttls-proxy developers <maintainers@example.org>")
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION mail)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "transparent STARTTLS proxy for mail")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Programs that speak only plaintext SMTP, LMTP, IMAP, POP3, ManageSieve or NNTP
connect to it, and it relays to the real server over verified TLS. The other
way round it offers STARTTLS or implicit TLS in front of a server that has
none.
.
By default no password and no mail leaves it in the clear. If TLS is not
possible, the client gets the reason in its own protocol.")
# Linked libraries of both programs, that for TLS too, though it has a folder of its own.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# The trust store, and what makes the user.
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "ca-certificates, systemd | systemd-standalone-sysusers | systemd-sysusers")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${STARTTLS_CONF}/debian/postinst ${STARTTLS_CONF}/debian/prerm ${STARTTLS_CONF}/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
include(CPack)
