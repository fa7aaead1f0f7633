"""The one group that a TLS context of Python offers or takes."""

import _ssl
import ctypes
import ssl

_SET_GROUPS_LIST = 92  # SSL_CTRL_SET_GROUPS_LIST of OpenSSL
_library = ctypes.CDLL(_ssl.__file__)


def set_group(context, group):
    """Sets the group, such as "X25519"."""
    try:
        context.set_ecdh_curve(group)
    except ssl.SSLError:
        # Python 3.11.2, that of Debian 12, knows only groups that are curves of OpenSSL. So OpenSSL is called
        # itself. Its context comes after the head of Python's object.
        native = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
        if _library.SSL_CTX_ctrl(native, _SET_GROUPS_LIST, ctypes.c_long(0), group.encode()) != 1:
            raise
