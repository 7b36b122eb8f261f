"""What the Hub's client raises, in one line; and the patience that a network needs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from trainable.model.source import walk_causes
from trainable.trial import ConfigError

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

T = TypeVar("T")

TRANSIENT = (408, 429, 500, 502, 503, 504)
ATTEMPTS = 6
LONGEST_WAIT_S = 300.0


def check_repo_name(repo: str, flag: str) -> None:
    """Raises ConfigError where the name breaks the Hub's rules."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise ConfigError(f"{flag} must keep to the Hub's rules for names: {error}") from error
    if repo.count("/") != 1:
        raise ConfigError(f"{flag} must be of the form user/name, not {repo!r}")


def persist(call: Callable[[], T]) -> T:
    """The call's result; made again after a pause when the network or the Hub fails it for now.
    Anything else becomes a ConfigError of one line."""
    http_error = find_http_error()
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except (OSError, ValueError, RuntimeError, http_error) as error:
            found = next((c for c in walk_causes(error) if isinstance(c, http_error)), None)
            wait_s = None if found is None else find_wait(found, attempt)
            if wait_s is None or attempt == ATTEMPTS - 1:
                raise ConfigError(explain(found or error)) from error
            print(f"{explain(found or error)}; again in {wait_s:.0f} s", file=sys.stderr)
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def find_http_error() -> type[Exception]:
    """httpx's base class of errors, of whichever httpx the installed client is built on."""
    from huggingface_hub.errors import HfHubHTTPError

    kind: Any = HfHubHTTPError.__bases__[0]
    return kind


def find_wait(error: BaseException, attempt: int) -> float | None:
    """Seconds to wait before the next attempt; None where another would fail as well."""
    response = getattr(error, "response", None)
    if response is None:
        return pick_wait(None, "", attempt)
    return pick_wait(response.status_code, response.headers.get("Retry-After", ""), attempt)


def pick_wait(status: int | None, asked: str, attempt: int) -> float | None:
    """The same by an answer's status (None: the connection failed) and its Retry-After."""
    if status is not None and status not in TRANSIENT:
        return None
    return min(float(asked) if asked.isdecimal() else 2.0**attempt, LONGEST_WAIT_S)


def explain(error: BaseException) -> str:
    """One line: what went wrong and what to do about it. Never the request's headers."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    if isinstance(error, LocalTokenNotFoundError):
        return "the Hub needs a token: log in with `hf auth login`, or set HF_TOKEN"
    if isinstance(error, HfHubHTTPError):
        return explain_status(error)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if getattr(error, "response", None) is None and isinstance(error, find_http_error()):
        return f"the Hub cannot be reached ({lines[0][:150]})"
    return f"the Hub's client refused: {lines[0][:300]}"


def explain_status(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    said = (error.server_message or "").strip().splitlines()
    why = f" ({said[0][:200]})" if said else ""
    match status:
        case 401:
            return f"the Hub does not accept the token{why}: renew it with `hf auth login`"
        case 403:
            return f"the token has no right to do this{why}: use one that may write (--repo)"
        case 404:
            return f"the Hub knows no such repository or revision, or hides it{why}"
    return f"the Hub answered {status}{why}"
