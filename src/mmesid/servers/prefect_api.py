"""What `mmesid up` asks Prefect's server over HTTP, without importing Prefect, which takes seconds."""

from pathlib import Path
from typing import TYPE_CHECKING

from mmesid.servers import deployments
from mmesid.servers.access import prefect_headers

if TYPE_CHECKING:
    import httpx

POOL = "mmesid"  # the work pool of every deployment
BUSY = 503  # what a server answers whose database is busy
ATTEMPTS, FIRST_PAUSE = 6, 0.5  # pauses double: 0.5, 1, 2, 4 and 8 s


def answers(url: str) -> bool:
    """Whether a GET is answered with success."""
    return _try("GET", url) is not None


def is_online(api: str, worker: str) -> bool:
    """Whether the server has heard from a worker of this name."""
    answer = _try("POST", f"{api}/work_pools/{POOL}/workers/filter", {"limit": 200})
    try:
        workers = [] if answer is None else answer.json()
    except ValueError:
        return False
    return any(each["name"] == worker and each["status"] == "ONLINE" for each in workers)


def runs_one_at_a_time(api: str) -> bool:
    """Let retrains of all datasets queue, since they share the checkout. Returns whether the server has accepted it."""
    return _try("PATCH", f"{api}/work_pools/{POOL}", {"concurrency_limit": 1}, seconds=30) is not None


def _try(method: str, url: str, body: object = None, seconds: float = 5) -> "httpx.Response | None":
    """An answer with success, None without one."""
    import httpx

    try:
        answer = httpx.request(method, url, json=body, headers=prefect_headers(), timeout=seconds, trust_env=False)
    except httpx.HTTPError:
        return None
    return answer if answer.is_success else None


def take_down_outlived(api: str, root: Path) -> list[str]:
    """Delete the deployments, and what is scheduled of them, of datasets that `params.yaml` no longer lists.

    Returns:
        Their names.
    """
    import httpx

    query = {"deployments": {"tags": {"all_": [deployments.tag(root)]}}, "limit": 200}
    with httpx.Client(base_url=api, headers=prefect_headers(), timeout=30, trust_env=False) as client:
        listed = _ask(client, "POST", "/deployments/filter", query).json()
        outlived = deployments.outlived(listed, root)
        for deployment in outlived.values():
            _ask(client, "DELETE", f"/deployments/{deployment}")
    return sorted(outlived)


def _ask(client: "httpx.Client", method: str, path: str, body: object = None) -> "httpx.Response":
    """An answer with success; a busy server is asked again."""
    from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_attempt, wait_exponential

    def last_answer(state: RetryCallState) -> "httpx.Response":
        assert state.outcome is not None
        answer: httpx.Response = state.outcome.result()
        return answer

    patiently = Retrying(
        retry=retry_if_result(lambda answer: answer.status_code == BUSY),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential(FIRST_PAUSE),
        retry_error_callback=last_answer,
    )
    return patiently(client.request, method, path, json=body).raise_for_status()
