"""The passwords and tokens of all tests. Every daemon's log is searched for them when the daemon has
stopped.

The log of a test is at the level debug. No line of it may have a secret that the daemon has seen.
This holds for the secret as it is and for its base64 forms, with any text before and after it.
"""

import base64

PASSWORD = "c4nary-w0rd"
TOKEN = "ya29.c4nary-t0ken_of-the.tests~+/"


def _base64_forms(word):
    """Yields the base64 characters that are the same with any text before and after the word."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + word + b"\0\0").decode()
        yield text[-(-shift * 8 // 6):(shift + len(word)) * 8 // 6]


def forms(word):
    """Returns all ways in which a secret may appear: as text, in hex, in base64."""
    return (word, word.encode().hex(), *_base64_forms(word.encode()))


FORMS = [*forms(PASSWORD), *forms(TOKEN)]


def add(word):
    """Makes a secret one that no log may have."""
    FORMS.extend(forms(word))


def plain(user):
    """Returns SASL PLAIN's only message (RFC 4616), as it goes over the wire."""
    return base64.b64encode(f"\0{user}\0{PASSWORD}".encode())


def found(text):
    """Returns the lines that have a secret."""
    return [line for line in text.splitlines() if any(form in line for form in FORMS)]


def check(text):
    """Raises AssertionError if a secret is in the text."""
    if lines := found(text):
        raise AssertionError(f"a secret is in the log: {lines[0]}")
