"""A folder onto the Hub: one commit, made again after a fault, and never twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.model.fingerprint import hash_file
from trainable.system.hub import settle_network
from trainable.trial import ConfigError
from tune.export.hub import check_repo_name, persist
from tune.export.origin import ADAPTER_CONFIG, MERGED, RECORD

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi

LEADERBOARD = "leaderboard.parquet"  # what tells a sweep's dataset repository from another
# files that an export owns: what is stale of them goes
OURS = (f"{MERGED}/*", ".eval_results/*", "model*.safetensors*", "model-*.gguf", "Modelfile")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where an export goes. Raises ConfigError where that breaks a rule."""

    repo: str  # user/name
    is_public: bool = False
    revision: str | None = None  # a branch, made where it is not there
    opens_pr: bool = False  # a pull request in the place of a commit
    kind: str = "model"  # or dataset

    def __post_init__(self) -> None:
        check_repo_name(self.repo, self.flag)
        if self.revision and self.opens_pr:
            raise ConfigError(
                "--pr opens a pull request against the main branch: leave out --revision"
            )

    @property
    def flag(self) -> str:
        """That names it."""
        return "--repo" if self.kind == "model" else "--dataset-repo"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    url: str
    is_new: bool  # False: everything was there already


def push_folder(api: HfApi, folder: Path, target: Target, title: str) -> Pushed:
    """Creates the repository where it is not there, and commits the folder to it. Raises
    ConfigError; nothing is committed then."""
    settle_network(api.endpoint)
    check_rights(persist(api.whoami), target)
    repo, kind = target.repo, target.kind
    if not persist(lambda: api.repo_exists(repo, repo_type=kind)):
        is_private = not target.is_public
        persist(lambda: api.create_repo(repo, private=is_private, exist_ok=True, repo_type=kind))
    elif kind == "model":
        check_base(api, folder, repo)
    else:
        check_leaderboard(api, repo)
    if target.revision:
        branch = target.revision
        persist(lambda: api.create_branch(repo, branch=branch, exist_ok=True, repo_type=kind))
    title = f"{title} ({fingerprint(folder)[:12]})"
    if target.opens_pr and (url := find_pull_request(api, target, title)):
        return Pushed(url=url, is_new=False)
    before = persist(lambda: api.repo_info(repo, revision=target.revision, repo_type=kind)).sha
    done = persist(lambda: commit(api, folder, target, title))
    return Pushed(url=done.pr_url or done.commit_url, is_new=done.oid != before)


def check_rights(user: dict[str, Any], target: Target) -> None:
    """Refuses what the token cannot do before anything is sent."""
    namespace = target.repo.partition("/")[0]
    places = [user["name"], *(org["name"] for org in user.get("orgs", ()))]
    if namespace not in places:
        raise ConfigError(
            f"{target.flag} must be in a namespace of the token's user ({', '.join(places)}), and "
            f"{target.repo} is in {namespace}"
        )
    role = user.get("auth", {}).get("accessToken", {}).get("role")
    if role == "read":
        raise ConfigError(
            "the token may only read: use one with the role write (https://huggingface.co/settings/tokens)"
        )


def check_leaderboard(api: HfApi, repo: str) -> None:
    """Raises ConfigError where the repository holds somebody's data, whose card would be lost."""
    there = persist(lambda: api.list_repo_files(repo, repo_type="dataset"))
    if {*there} - {".gitattributes"} and LEADERBOARD not in there:
        raise ConfigError(
            f"{repo} holds a dataset that is no sweep's leaderboard: choose another --dataset-repo"
        )


def check_base(api: HfApi, folder: Path, repo: str) -> None:
    """Raises ConfigError where the repository holds an adapter of another base model, or an adapter
    where a merged model is to go, or the other way round."""
    check_kind(api, folder, repo)
    ours = json.loads((folder / RECORD).read_text(encoding="utf-8"))["config"]["base_model"]
    for name, key in ((RECORD, "config"), (ADAPTER_CONFIG, None)):
        theirs = read_remote(api, repo, name)
        if theirs is None:
            continue
        base = (theirs.get(key) or {}).get("base_model") if key else None
        base = base or theirs.get("base_model_name_or_path")
        if base != ours:
            raise ConfigError(
                f"{repo} holds an adapter of {base}, and this one is of {ours}: choose another "
                "--repo"
            )
        return


def check_kind(api: HfApi, folder: Path, repo: str) -> None:
    kinds = {True: "an adapter", False: "a merged model"}
    has_adapter = persist(lambda: api.file_exists(repo, ADAPTER_CONFIG))
    is_export = has_adapter or persist(lambda: api.file_exists(repo, RECORD))
    is_adapter = (folder / ADAPTER_CONFIG).is_file()
    if is_export and has_adapter != is_adapter:
        raise ConfigError(
            f"{repo} holds {kinds[has_adapter]}, and this is {kinds[is_adapter]}: choose another "
            "--repo"
        )


def read_remote(api: HfApi, repo: str, name: str) -> dict[str, Any] | None:
    """A JSON file of the repository; None where it is not there."""
    if not persist(lambda: api.file_exists(repo, name)):
        return None
    path = persist(lambda: api.hf_hub_download(repo, name))
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def find_pull_request(api: HfApi, target: Target, title: str) -> str | None:
    """The address of an open pull request of that title: the same export, made before."""
    found = persist(
        lambda: list(
            api.get_repo_discussions(
                target.repo,
                repo_type=target.kind,
                discussion_type="pull_request",
                discussion_status="open",
            )
        )
    )
    return next((str(pr.url) for pr in found if pr.title == title), None)


def commit(api: HfApi, folder: Path, target: Target, title: str) -> CommitInfo:
    """One commit of all files, whatever their sizes: `upload_folder` would make several of a
    large folder. Files that are there already are left out, so that a second try after a lost
    answer, or a second export, commits nothing."""
    operations: list[CommitOperationAdd | CommitOperationDelete] = []
    operations += list_additions(folder)
    operations += list_deletions(api, folder, target)
    return api.create_commit(
        target.repo,
        operations,
        repo_type=target.kind,
        commit_message=title,
        revision=target.revision,
        create_pr=target.opens_pr,
    )


def list_additions(folder: Path) -> list[CommitOperationAdd]:
    from huggingface_hub import CommitOperationAdd

    return [
        CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
        for name in list_files(folder)
    ]


def list_deletions(api: HfApi, folder: Path, target: Target) -> list[CommitOperationDelete]:
    """Files of an earlier export that this one has not."""
    from huggingface_hub import CommitOperationDelete

    here = set(list_files(folder))
    there = api.list_repo_files(target.repo, revision=target.revision, repo_type=target.kind)
    stale = [name for name in there if name not in here and any(fnmatch(name, o) for o in OURS)]
    return [CommitOperationDelete(path_in_repo=name) for name in stale]


def list_files(folder: Path) -> list[str]:
    """Paths in the folder, sorted, as the Hub spells them."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def fingerprint(folder: Path) -> str:
    """The SHA-256 of all files' names and contents."""
    lines = "".join(f"{hash_file(folder / name)} {name}\n" for name in list_files(folder))
    return hashlib.sha256(lines.encode()).hexdigest()
