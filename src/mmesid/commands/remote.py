"""`mmesid remote`: DVC's default remote, tried before it is written down.

Where results go is a fact about the project, so it stands in `.dvc/config`, which is in git, and every clone knows
it. Credentials are not: keys stay in the environment or in ~/.aws, and an address that holds one is refused.
"""

import importlib.util
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mmesid import host
from mmesid.errors import ConfigError, RemoteError, first_line
from mmesid.servers import buckets

NAME = "results"  # of a remote that this command makes
SECONDS = 4  # that a store has for an answer, which it is asked for once
INSTALL = "uv pip install 'dvc-s3>=3' (or pip install 'mme-sid[s3]')"


class Remote(NamedTuple):
    """What `mmesid remote` did."""

    name: str
    url: str
    changed: bool  # False where it was the default remote already
    created: bool  # whether a folder was made
    before: str  # url of the default remote that it replaces, empty if none


def use(place: str, root: Path = Path(), endpoint_url: str | None = None) -> Remote:
    """Make a folder or an S3 prefix DVC's default remote. Doing it twice changes nothing.

    Args:
        place: a folder outside the project, made if missing, or `s3://bucket/prefix`.
        root: the project's folder.
        endpoint_url: of an S3 service other than Amazon's.

    Raises:
        ConfigError: the place is not one, or holds a secret, or `.dvc/config.local` overrules `.dvc/config`.
        RemoteError: it cannot be reached or written.
    """
    settings = _settings(place, root, endpoint_url)
    url = settings["url"]
    created = False
    if not url.startswith("s3://"):
        created = _prepare_folder(Path(url))
    from dvc.config import ConfigError as DvcConfigError
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            before = _default(repo.config)
            name, known = _name(repo.config, url)
            if url.startswith("s3://"):
                _try_store(root, name, settings)
            changed = before[0] != name or known != settings
            if changed:
                _write(repo, name, settings)
    except DvcConfigError as error:
        raise ConfigError(f".dvc/config: {error}; correct it, or `git checkout .dvc/config`") from error
    return Remote(name, url, changed, created, before[1] if before[1] != url else "")


def describe(remote: Remote) -> str:
    """What was done, and what to do next."""
    lines = [f"made the folder {remote.url}"] if remote.created else []
    if remote.changed:
        instead = f", instead of {remote.before}" if remote.before else ""
        lines.append(f"{remote.url} is DVC's default remote now ({remote.name} in .dvc/config{instead})")
        lines.append("commit .dvc/config and dvc.lock, so that other clones know both")
    else:
        lines.append(f"{remote.url} is DVC's default remote already, and can be written")
    lines.append("dvc push  # takes the results there")
    lines.append("dvc pull  # fetches them, in any clone with this dvc.lock; `mmesid plan` then has nothing to run")
    return "\n".join(lines)


def fault(section: Mapping[str, str], root: Path) -> str | None:
    """What keeps results from a remote, tried within seconds and without DVC; nothing is changed.

    Args:
        section: of the remote in `.dvc/config`.
        root: the project's folder.

    Returns:
        Empty if nothing does; None where DVC alone can try: any service but S3.
    """
    url = section["url"]
    if "://" not in url:
        place = (root / ".dvc" / url).resolve()  # DVC takes a relative one from its own folder
        if not place.is_dir():
            return "does not exist"
        return "cannot be written" if host.unwritable(place / NAME) else ""
    if not url.startswith("s3://"):
        return None
    if importlib.util.find_spec("dvc_s3") is None:
        return f"needs the package dvc-s3, which is not installed: {INSTALL}"
    return buckets.unreadable(section)


def _settings(place: str, root: Path, endpoint_url: str | None) -> dict[str, str]:
    """The remote's section of `.dvc/config`."""
    for address in filter(None, (place, endpoint_url)):
        if "://" in address and urlsplit(address).username:
            raise ConfigError(
                "an address with a user or key would be written to .dvc/config, which is in git: leave it out and set "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or use ~/.aws/credentials"
            )
    if place.startswith("s3://"):
        return _s3(place, endpoint_url)
    if "://" in place:
        raise ConfigError(f"{place}: expected a folder or s3://bucket/prefix; `dvc remote add` knows other services")
    if endpoint_url:
        raise ConfigError(f"--endpoint-url belongs to s3://bucket/prefix; {place} is a folder")
    folder = Path(place).expanduser().absolute().resolve()
    if not place.strip() or folder.is_relative_to(root.absolute().resolve()):
        raise ConfigError(f"'{place}' must be outside the project, so that it outlives the checkout")
    if "#" in str(folder):
        raise ConfigError(f"'{folder}' has a # in its name, and DVC would read its name only up to there: name another")
    return {"url": str(folder)}


def _s3(place: str, endpoint_url: str | None) -> dict[str, str]:
    parts = urlsplit(place)
    if not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"{place}: expected s3://bucket/prefix")
    if endpoint_url and not endpoint_url.startswith(("http://", "https://")):
        raise ConfigError(f"--endpoint-url {endpoint_url}: expected http://host:port or https://host")
    if importlib.util.find_spec("dvc_s3") is None:
        raise RemoteError(f"S3 needs the package dvc-s3, which is not installed: {INSTALL}, then run this again")
    url = place.rstrip("/")
    return {"url": url, **({"endpointurl": endpoint_url.rstrip("/")} if endpoint_url else {})}


def _prepare_folder(folder: Path) -> bool:
    """Make the folder if it is missing, and write a file into it. Returns whether it was made."""
    missing = not folder.exists()
    try:
        if not missing and not folder.is_dir():
            raise ConfigError(f"{folder} is a file: name a folder, it is made if missing")
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".mmesid-{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RemoteError(
            f"{folder} cannot be written ({error.strerror}): give yourself write access to it, or name another folder"
        ) from error
    return missing


def _try_store(root: Path, name: str, settings: dict[str, str]) -> None:
    """Write and delete one small object, with DVC's own client and whatever credentials it finds."""
    from dvc.repo import Repo

    tried = {**settings, "connect_timeout": SECONDS, "read_timeout": SECONDS}
    with Repo(str(root), config={"core": {"remote": name}, "remote": {name: tried}}) as repo:
        try:
            remote = repo.cloud.get_remote(name)
            remote.fs.fs_args["config_kwargs"]["retries"] = {"total_max_attempts": 1}  # of botocore
            remote.fs.fs.retries = 1  # of s3fs, around them
            probe = remote.fs.join(remote.path, f".mmesid-{uuid.uuid4().hex}")
            # Neither limit above ends the wait for `100 Continue`.
            remote.fs.fs.pipe_file(probe, b"", timeout=SECONDS + 1)
            remote.fs.fs.rm_file(probe, timeout=SECONDS + 1)
        except Exception as error:  # of botocore, aiohttp, s3fs or DVC: no common base
            at = f" at {settings['endpointurl']}" if "endpointurl" in settings else ""
            raise RemoteError(
                f"{settings['url']}{at} cannot be written ({type(error).__name__}: {first_line(error)}); check bucket, "
                "--endpoint-url and credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE)"
            ) from error


def _default(config: Any) -> tuple[str, str]:
    """Name and url of the default remote, empty where there is none."""
    name = config["core"].get("remote") or ""
    return name, config["remote"].get(name, {}).get("url", "")


def _name(config: Any, url: str) -> tuple[str, dict[str, str]]:
    """The remote that has this url already, else ours; with what is known about it."""
    for name, section in config["remote"].items():
        if section.get("url") == url:
            return name, {key: str(section[key]) for key in ("url", "endpointurl") if key in section}
    return NAME, {}


def _write(repo: Any, name: str, settings: dict[str, str]) -> None:
    """Into `.dvc/config`; what else stands there, and in `.dvc/config.local`, is left as it is."""
    with repo.config.edit("repo") as shared:
        shared.setdefault("core", {})["remote"] = name
        old = shared.setdefault("remote", {}).get(name, {})
        kept = {} if name == NAME else {key: value for key, value in old.items() if key != "endpointurl"}
        shared["remote"][name] = {**kept, **settings}
    default = _default(repo.config)
    if default != (name, settings["url"]):
        raise ConfigError(
            f".dvc/config.local makes {default[0]} ({default[1]}) the default on this machine and overrules "
            f".dvc/config, where {name} stands now; `dvc remote default --local --unset` or delete that file"
        )
