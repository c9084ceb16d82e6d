"""Addresses without their passwords, for names, lines, metrics and messages."""

from __future__ import annotations

import re

_WORDS = re.compile(r"""(?:\\.|"[^"]*"|'[^']*'|[^\s"'])+""")
"""The words of a pipeline; blanks within quotes are part of one."""
_SECRET = (
    r"pw|pwd|psw|psk|pas|pass|passwd|password|passwort|passphrase|passcode|loginpass?|token|key|secret|auth|"
    r"authorization|credentials?|signature|sig|session|sessionid"
)
"""What names of such parameters end with: ``access_token``, ``userpwd``, ``user-pw``."""
_PARAMETER = re.compile(rf"(?:{_SECRET})\d*=", re.IGNORECASE)
_NEXT = re.compile(r"&|;(?=[\w.-]+=)")
"""End of a parameter's value."""
_NEXT_IN_A_PATH = re.compile(r"&|;(?=[\w.-]+=)|_(?=[A-Za-z]+=)")
"""The same of cameras that have parameters in the path: ``/user=admin_password=1234_channel=1_stream=0.sdp``."""
_PORT = re.compile(r"\d{1,5}(?=[/?#]|$)")


def without_passwords(text: str, *, pipeline: bool = False) -> str:
    """Put ``***`` in place of passwords, keys and tokens; more than those where it is unclear where they end.

    >>> without_passwords("http://me:p@ss@10.0.0.7/x?token=abc&channel=3")
    'http://me:***@10.0.0.7/x?token=***&channel=3'
    """
    if not pipeline:
        return _without_user_info(_without_parameters(text))
    # GStreamer takes blanks around the equals sign, too.
    joined = re.sub(r"(?<=[\w-])\s*=\s*", "=", text)
    return _WORDS.sub(lambda word: _without_user_info(_without_parameters(word[0])), joined)


def _without_parameters(text: str) -> str:
    """Without the values of parameters that are called like a secret."""
    done = ""
    while (found := _PARAMETER.search(text)) is not None:
        done += text[: found.end()] + "***"
        text = text[found.end() :]
        # A property of a pipeline's element has the whole word.
        end = (_NEXT if "?" in done else _NEXT_IN_A_PATH).search(text) if "://" in done else None
        text = text[end.start() :] if end is not None else ""
    return done + text


def _without_user_info(text: str) -> str:
    return re.sub(r"(?s)://(?!\[)(?P<user>[^/:]*):(?P<rest>.*)", _masked, text)


def _masked(found: re.Match[str]) -> str:
    """``user``: what is before the first colon, ``rest`` what follows it: a port, or a password to the last ``@``,
    since people put passwords with ``@`` and ``/`` into addresses as they are."""
    user, rest = found["user"], found["rest"]
    port = _PORT.match(rest) is not None
    # Behind a port, a question mark begins parameters, and those may have an @.
    _, at, host = (rest.partition("?")[0] if port else rest).rpartition("@")
    if at:
        query = rest[len(rest.partition("?")[0]) :] if port else ""
        return f"://{user}:***@{host}{query}"
    return found[0] if port or not rest else f"://{user}:***"
