"""Why a model could not be had from the hub, told to the person who asked for it."""

import difflib
import errno
import re
from collections.abc import Iterator
from pathlib import Path

from minibert.weights.known_models import BUNDLED_FOLDER, BUNDLED_NAME, SUGGESTIONS


class HubError(OSError):
    """A repository of the hub could not be had; the text says why, and what to do next."""

    def __init__(self, text: str):
        super().__init__(without_password(text))


class HubUnreachable(HubError):
    """The hub gave no answer, or downloads are switched off, and the cache lacks the model."""


def without_password(text: object) -> str:
    """A text without the user and the password of the addresses in it.

    >>> without_password("at https://me:secret@mirror.org/models")
    'at https://mirror.org/models'
    """
    return re.sub(r"(?<=://)[^/\s]*@", "", str(text))


def unreachable(error: Exception) -> bool:
    """True if the hub gave no answer, or only that it is out of order or busy."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500 or error.response.status_code == 429
    return isinstance(error, (HTTPError, OSError))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def explained(error: Exception, repo: str, revision: str) -> HubError:
    """What the hub's client raised, told to the person who asked for the model."""
    from huggingface_hub import constants, errors

    causes = list(_causes(error))
    responses = [e.response for e in causes if isinstance(e, errors.HfHubHTTPError)]
    answers = [response.status_code for response in responses if response is not None]
    numbers = {getattr(e, "errno", None) for e in causes}
    cache = constants.HF_HUB_CACHE
    log_in = "Log in (`hf auth login`, or set HF_TOKEN)"
    if any(isinstance(e, errors.GatedRepoError) for e in causes):
        text = (
            f"{repo} is gated: the hub gives it only to accounts that accepted its terms. Accept "
            f"them at {constants.ENDPOINT}/{repo}. {log_in}, and run again"
        )
    # The hub answers 401, not 404, to a stranger who asks for what is not there or private.
    elif any(isinstance(e, errors.RepositoryNotFoundError) for e in causes) or 401 in answers:
        text = (
            f"the hub has no repository {repo} that you may read, and there is no folder of that "
            f"name in {Path.cwd()}.{_similar(repo)} If the repository is private: {log_in}"
        )
    elif any(isinstance(e, errors.RevisionNotFoundError) for e in causes):
        text = (
            f"{repo} has no revision {revision!r}: expected a branch, a tag or a full commit of "
            f'40 digits. See {constants.ENDPOINT}/{repo}/commits/main, or use revision="main"'
        )
    elif 403 in answers:
        text = f"the hub refused {repo} to this account or token (403). {log_in}"
    elif numbers & {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        text = (
            f"no space left while downloading {repo} (default cache: {cache}). Files that "
            "arrived whole are kept. Free some space, or give another cache_dir or HF_HOME"
        )
    elif numbers & {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
        text = f"the cache cannot be written: {error}. Give another cache_dir or HF_HOME"
    else:
        text = (
            f"{repo} could not be fetched from {constants.ENDPOINT}: {type(error).__name__}: "
            f"{error}. Files that arrived whole are kept; run again to go on. Without a network: "
            f"{ways_on(repo)}"
        )
        return HubUnreachable(text) if unreachable(error) else HubError(text)
    return HubError(text)


def _similar(repo: str) -> str:
    """Well-known repositories with nearly the same name, whatever stands before the slash."""
    by_name = {full.split("/")[1].lower(): full for full in SUGGESTIONS}
    close = difflib.get_close_matches(repo.split("/")[-1].lower(), by_name, n=2, cutoff=0.8)
    return f" Did you mean {' or '.join(by_name[name] for name in close)}?" if close else ""


def ways_on(repo: str) -> str:
    ways = [
        f"fetch it on another machine (`hf download {repo}`) and give the folder",
        "copy a hub cache that holds it here (HF_HOME or cache_dir) and set HF_HUB_OFFLINE=1",
    ]
    if BUNDLED_FOLDER.is_dir():
        ways.append(f'use the model in the box, "{BUNDLED_NAME}"')
    return "Ways on: " + "; ".join(f"({i}) {way}" for i, way in enumerate(ways, 1))
