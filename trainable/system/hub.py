"""Whether Hugging Face's hub answers: asked once, so that no command waits through its client's
retries where there is no network."""

import sys
from functools import lru_cache
from typing import Any

ANSWER_S = 10.0


@lru_cache(maxsize=8)
def settle_network(endpoint: str | None = None) -> None:
    """To be called before the hub is used. Where it does not answer, one line says so, and from
    then on this process takes what is in the cache alone, as under HF_HUB_OFFLINE."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HfHubHTTPError

    if constants.HF_HUB_OFFLINE:
        return
    address = endpoint or constants.ENDPOINT
    http_error: Any = HfHubHTTPError.__bases__[0]  # of whichever httpx the client is built on
    try:
        get_session().head(address, timeout=ANSWER_S)
    except (http_error, OSError) as error:  # whatever status comes is an answer
        constants.HF_HUB_OFFLINE = True
        print(
            f"{address} cannot be reached ({error}): only what is in the cache is used",
            file=sys.stderr,
        )
