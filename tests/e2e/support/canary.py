"""The password of all tests. Every daemon's log is searched for it when the daemon has stopped.

The log of a test is at the level debug. No line of it may have a password that the daemon has seen.
This holds for the password as it is and for its base64 forms, with any text before and after it.
"""

import base64

PASSWORD = "c4nary-w0rd"


def _base64_forms(word):
    """Yields the base64 characters that are the same with any text before and after the word."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + word + b"\0\0").decode()
        yield text[-(-shift * 8 // 6):(shift + len(word)) * 8 // 6]


FORMS = (PASSWORD, PASSWORD.encode().hex(), *_base64_forms(PASSWORD.encode()))


def plain(user):
    """Returns SASL PLAIN's only message (RFC 4616), as it goes over the wire."""
    return base64.b64encode(f"\0{user}\0{PASSWORD}".encode())


def check(text):
    """Raises AssertionError if the password is in the text."""
    for line in text.splitlines():
        if any(form in line for form in FORMS):
            raise AssertionError(f"a password is in the log: {line}")
