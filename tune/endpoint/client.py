"""A server that speaks OpenAI's API: asked again after a fault, and never followed elsewhere.

The key comes from the environment and goes nowhere but into the request's header.
"""

import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from trainable.trial import ConfigError, nearest
from tune.export.hub import ATTEMPTS, pick_wait

KEY = "OPENAI_API_KEY"
TIMEOUT_S = 120.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """The key must not reach another host than the one that was named."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Raises ConfigError where the address is none."""

    url: str  # up to and with /v1
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise ConfigError(
                f"--endpoint must be an address such as http://localhost:8000/v1, not {self.url!r}"
            )

    def list_models(self) -> list[str]:
        """The names it serves under. Raises ConfigError where it does not answer."""
        answer = self._persist("/models", None, attempts=1)
        return [str(model["id"]) for model in answer.get("data") or ()]

    def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's JSON. Raises ConfigError after the last attempt, or at once where another
        would fail as well."""
        return self._persist(path, json.dumps(body).encode(), ATTEMPTS)

    def _persist(self, path: str, body: bytes | None, attempts: int) -> dict[str, Any]:
        for attempt in range(attempts):
            try:
                return self._send(path, body)
            except urllib.error.HTTPError as error:
                told = f"the endpoint answered {error.code} ({read_reason(error)})"
                wait_s = pick_wait(error.code, error.headers.get("Retry-After", ""), attempt)
            except (OSError, http.client.HTTPException, ValueError) as error:
                told = f"the endpoint {self.url} gives no answer ({error or type(error).__name__})"
                wait_s = pick_wait(None, "", attempt)
            if wait_s is None or attempt == attempts - 1:
                raise ConfigError(f"{told}: {advise(told)}")
            print(f"{told}; again in {wait_s:.0f} s", file=sys.stderr)
            time.sleep(wait_s)
        raise AssertionError("unreachable")

    def _send(self, path: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {self.key}"} if self.key else {}
        request = urllib.request.Request(self.url.rstrip("/") + path, data=body, headers=headers)
        is_near = urlsplit(self.url).hostname in LOOPBACK
        proxies = (urllib.request.ProxyHandler({}),) if is_near else ()
        opener = urllib.request.build_opener(NoRedirect, *proxies)
        with opener.open(request, timeout=TIMEOUT_S) as response:
            answer = json.load(response)
        if not isinstance(answer, dict):
            raise ValueError(f"JSON that is no object: {str(answer)[:60]}")
        return answer


def open_endpoint(url: str, wanted: str | None) -> tuple[Endpoint, str]:
    """The endpoint, and the name of the model to ask: the only one, unless one is wanted. Raises
    ConfigError."""
    endpoint = Endpoint(url=url, key=os.environ.get(KEY) or None)
    names = endpoint.list_models()
    if wanted is None and len(names) == 1:
        return endpoint, names[0]
    if wanted is None or (names and wanted not in names):
        raise ConfigError(
            f"--served-model must name a model of the endpoint, and {wanted!r} is none"
            f"{nearest(wanted or '', names)}: take one of {', '.join(names[:10]) or '(none)'}"
        )
    return endpoint, wanted


def read_reason(error: urllib.error.HTTPError) -> str:
    """The first line of what the server says, or its reason phrase, for a terminal."""
    said = error.read(2000).decode("utf-8", "replace")
    try:
        told = json.loads(said)
        inner = told.get("error", told.get("message"))
        said = str(inner.get("message") if isinstance(inner, dict) else inner)
    except (ValueError, AttributeError):
        pass
    first = (said.strip().splitlines() or [str(error.reason)])[0][:200]
    return "".join(c for c in first if c.isprintable())


def advise(told: str) -> str:
    if "answered 401" in told or "answered 403" in told:
        return f"set {KEY} in the environment to a key that it takes"
    if "answered 404" in told:
        return "give its address up to /v1 with --endpoint"
    return "start it, or give its address with --endpoint"
