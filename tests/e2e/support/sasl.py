"""The messages of clients and servers in a login, before and after base64."""

import base64
import json

PROMPTS = (b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6")  # "Username:", "Password:"

# The answers to a server's error in JSON (RFC 7628 §3.2.3, and Google's for XOAUTH2).
END = {"XOAUTH2": b"", "OAUTHBEARER": b"AQ=="}


def encoded(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode())


def plain(user, password, identity=b""):
    """RFC 4616."""
    return b"\0".join((_bytes(identity), _bytes(user), _bytes(password)))


def xoauth2(user, token):
    return b"user=%s\1auth=Bearer %s\1\1" % (_bytes(user), _bytes(token))


def oauthbearer(user, token, host, port):
    """RFC 7628 §3.1, with the name as in RFC 5801 §4."""
    name = _bytes(user).replace(b"=", b"=3D").replace(b",", b"=2C")
    return b"n,a=%s,\1host=%s\1port=%d\1auth=Bearer %s\1\1" % (name, _bytes(host), port,
                                                            _bytes(token))


def answers(mechanism, user, secret, host="mail.test", port=0):
    """Returns all messages of a client, without base64."""
    return {
        "PLAIN": lambda: [plain(user, secret)],
        "LOGIN": lambda: [_bytes(user), _bytes(secret)],
        "XOAUTH2": lambda: [xoauth2(user, secret)],
        "OAUTHBEARER": lambda: [oauthbearer(user, secret, host, port)],
    }[mechanism]()


def parsed(attempt):
    """Returns the name and the secret of a login as a server heard it."""
    messages = attempt.messages
    if attempt.mechanism == "PLAIN":
        identity, user, secret = messages[0].split(b"\0")
        if identity:
            raise AssertionError(f"an authorization identity: {identity!r}")
        return user, secret
    if attempt.mechanism == "XOAUTH2":
        user, token, *rest = messages[0].split(b"\1")
        if rest != [b"", b""] or not user.startswith(b"user=") or not token.startswith(b"auth=Bearer "):
            raise AssertionError(f"not XOAUTH2: {messages[0]!r}")
        return user[5:], token[12:]
    if attempt.mechanism == "OAUTHBEARER":
        header, host, port, token, *rest = messages[0].split(b"\1")
        if (rest != [b"", b""] or not header.startswith(b"n,a=") or not header.endswith(b",")
                or not host.startswith(b"host=") or not port.startswith(b"port=")
                or not token.startswith(b"auth=Bearer ")):
            raise AssertionError(f"not OAUTHBEARER: {messages[0]!r}")
        return header[4:-1].replace(b"=2C", b",").replace(b"=3D", b"="), token[12:]
    user, secret = messages
    return user, secret


def error(status="401", **more):
    """Returns the server's error before it refuses, in base64."""
    return encoded(json.dumps({"status": status, "schemes": "bearer", "scope": "mail", **more}))


def _bytes(text):
    return text if isinstance(text, bytes) else text.encode()
