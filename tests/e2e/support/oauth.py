"""Access tokens that the tests sign themselves, and a Dovecot that checks them without asking anyone."""

import base64
import contextlib
import hashlib
import hmac
import json
import time

from . import canary, dovecot, peers
from .client import free_port

KEY = b"a key that only the tests and their server know"
AUDIENCE = "mail-client"
SCOPE = "mail"

# Dovecot finds the key of a token by these: its client ("azp"), the algorithm, the key's name.
_KEY_PATH = ("default", "HS256", "default")

_SETTINGS_2_3 = """\
auth_mechanisms = {mechanisms}
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {inside}/etc/oauth2.conf
}}
"""

_OAUTH2_CONF = """\
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={inside}/etc/keys/
client_id = {audience}
scope = {scope}
username_attribute = sub
username_format = %Ln
"""

_SETTINGS_2_4 = """\
auth_mechanisms = {mechanisms}
oauth2 {{
  introspection_mode = local
  audience = {audience}
  scope = {scope}
  username_attribute = sub
  username_validation_format = %{{user | username}}
  oauth2_local_validation {{
    dict fs {{
      fs posix {{
        prefix = {inside}/etc/keys/
      }}
    }}
  }}
}}
"""

MECHANISMS = "plain login xoauth2 oauthbearer"


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(user="box", *, audience=AUDIENCE, scope=SCOPE, seconds=3600, key=KEY, size=0):
    """Returns a token (RFC 7519) for the user, that is good for so many seconds. It has at least
    `size` bytes. The log of no daemon may have it from now on."""
    now = int(time.time())
    claims = {"sub": user, "aud": audience, "scope": scope, "iat": now - 10, "nbf": now - 10,
              "exp": now + seconds}
    if size:
        claims["pad"] = "x" * (size * 3 // 4)
    signed = ".".join(_base64url(json.dumps(part).encode())
                      for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    made = f"{signed}.{_base64url(hmac.digest(key, signed.encode(), hashlib.sha256))}"
    canary.add(made.rpartition(".")[2])
    return made


class Dovecot(dovecot.Dovecot):
    """A Dovecot that also takes tokens, by XOAUTH2 and OAUTHBEARER. It verifies them by KEY, and those of a
    `provider` (npm_peers.Provider) by its key."""

    def __init__(self, ssl="required", *, mechanisms=MECHANISMS, provider=None, **options):
        super().__init__(ssl, **options)
        self._mechanisms = mechanisms
        self._provider = provider

    def _configuration(self, inside):
        etc = self._outside / "etc"
        names = {"inside": inside, "audience": AUDIENCE, "scope": SCOPE, "mechanisms": self._mechanisms}
        settings = _SETTINGS_2_4
        if dovecot.version() < (2, 4):
            settings = _SETTINGS_2_3
            (etc / "oauth2.conf").write_text(_OAUTH2_CONF.format(**names))
        keys = {_KEY_PATH: base64.b64encode(KEY)}
        if self._provider:
            keys["default", "RS256", self._provider.kid] = self._provider.key.encode()
        for path, key in keys.items():
            file = etc.joinpath("keys", *path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(key)
        return super()._configuration(inside) + settings.format(**names)


@contextlib.contextmanager
def postfix_with_sasl():
    """Makes a Postfix that takes mail only after a login, which a Dovecot decides on: yields it."""
    port = free_port()
    address = "listen" if dovecot.version() >= (2, 4) else "address"
    listener = (f"service auth {{\n  inet_listener sasl {{\n    {address} = {dovecot.OWN}\n"
                f"    port = {port}\n  }}\n}}\n")
    with Dovecot(settings=listener):
        settings = (f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:{dovecot.OWN}:{port}\n"
                    "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\n"
                    "smtpd_recipient_restrictions = permit_sasl_authenticated, reject\n")
        with peers.Postfix(settings=settings) as postfix:
            yield postfix
