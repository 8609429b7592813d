"""The pages of Prefect and MLflow that people look at: opened, waited for, and kept as pictures.

`MMESID_SCREENSHOTS=FOLDER python -m tests.e2e.pages PREFECT MLFLOW DATASET` takes those of a running `mmesid up`.
"""

import io
import json
import sys
from collections.abc import Sequence

import httpx
from PIL import Image
from playwright.sync_api import Page, Response, expect
from playwright.sync_api import TimeoutError as NoAnswer

from tests.e2e.browser import opened, picture

GREEN = (36, 157, 80)  # of a completed task in a run's graph


def run(page: Page, prefect: str, flow_run: str) -> list[str]:
    """A flow run's page with its graph. Returns the names of the tasks that the page was told to draw."""
    with page.expect_response(lambda answer: answer.url.endswith(f"{flow_run}/graph-v2") and answer.ok) as graph:
        page.goto(f"{prefect}/runs/flow-run/{flow_run}")
    expect(page.locator("canvas").first).to_be_visible()
    page.wait_for_timeout(4000)  # until the graph has moved into its place
    picture(page, "run")
    return [str(node["label"]) for _, node in graph.value.json()["nodes"]]


def drawn(page: Page) -> int:
    """How many points of the graph have the color of a completed task."""
    image = Image.open(io.BytesIO(page.locator("canvas").first.screenshot())).convert("RGB")
    colors = image.getcolors(image.width * image.height) or []
    return sum(count for count, point in colors if all(abs(a - b) < 25 for a, b in zip(point, GREEN, strict=True)))


def tab(page: Page, name: str, shows: str) -> str:
    """One of the lists below a flow run's graph, once it shows something. Returns the page's text."""
    page.get_by_text(name, exact=True).first.click()
    expect(page.get_by_text(shows).first).to_be_visible()
    return page.inner_text("body")


def artifact(page: Page, prefect: str, identity: str, shows: str, name: str) -> str:
    """An artifact in full, once it shows something. Returns the page's text."""
    page.goto(f"{prefect}/artifacts/artifact/{identity}")
    expect(page.get_by_text(shows).first).to_be_visible()
    picture(page, name)
    return page.inner_text("body")


def form(page: Page, prefect: str, deployment: str) -> tuple[str, list[str]]:
    """The form that starts a run of a deployment. Returns the page's text and what its fields hold."""
    page.goto(f"{prefect}/deployments/deployment/{deployment}/run")
    expect(page.get_by_text("overrides").first).to_be_visible()
    told = settled(page)
    picture(page, "form")
    return told, page.locator("input, textarea").evaluate_all("fields => fields.map(f => f.value)")


def settled(page: Page) -> str:
    """A page's text, once a second has not changed it: descriptions come after what they describe."""
    before, told = "", page.inner_text("body")
    while told != before:
        page.wait_for_timeout(1000)
        before, told = told, page.inner_text("body")
    return told


def submit(page: Page, prefect: str, deployment: str) -> str:
    """Send that form as it is. Returns the id of the flow run.

    A click on a form that still takes in its schema is lost, so that one without an answer is tried anew.
    """
    for last, milliseconds in ((False, 20_000), (True, 60_000)):
        form(page, prefect, deployment)
        try:
            with page.expect_response(_created, timeout=milliseconds) as created:
                page.get_by_role("button", name="Submit").click()
            break
        except NoAnswer:
            if last:
                raise
    return str(created.value.json()["id"])


def _created(answer: Response) -> bool:
    """Whether it is the answer to a new flow run."""
    return answer.url.endswith("create_flow_run") and answer.ok


def registry(page: Page, mlflow: str, model: str) -> dict[str, str]:
    """A registered model's page. Returns the text of each version's row: `Version 1` -> tags, aliases, description."""
    page.goto(f"{mlflow}/#/models/{model}")
    expect(page.get_by_text("@ challenger").first).to_be_visible()
    picture(page, "registry")
    rows = page.locator("tr, [role=row]").filter(has_text="Version ").all_inner_texts()
    names = [text.split("\n")[0].strip() for text in rows]
    return {name: " ".join(text.split()) for name, text in zip(names, rows, strict=True) if name != "Version"}


def compare(page: Page, mlflow: str, experiment: str, runs: Sequence[str]) -> str:
    """Runs beside each other. Returns the page's text, and the names of the metrics, of which it draws only those that
    its list has been scrolled to.
    """
    page.goto(f"{mlflow}/#/compare-runs?runs={json.dumps(list(runs))}&experiments={json.dumps([experiment])}")
    expect(page.get_by_text("finetune.epochs").first).to_be_visible()
    picture(page, "compare")
    told = [page.inner_text("body")]
    names, values = page.get_by_role("grid").first, page.get_by_role("grid").last
    for top in range(0, values.evaluate("grid => grid.scrollHeight"), values.evaluate("grid => grid.clientHeight")):
        values.evaluate("(grid, top) => { grid.scrollTop = top }", top)
        page.wait_for_timeout(200)
        told.append(names.inner_text())
    return "\n".join(told)


def main(prefect: str, mlflow: str, dataset: str) -> None:
    """Pictures of the last retrain that was not idle, and of the model."""
    deployment = httpx.get(f"{prefect}/api/deployments/name/retrain/{dataset}").json()["id"]
    query = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_DESC"}
    runs = httpx.post(f"{prefect}/api/flow_runs/filter", json=query).json()
    longest = max(runs, key=lambda found: float(found["total_run_time"]))["id"]
    query = {"artifacts": {"flow_run_id": {"any_": [longest]}, "key": {"any_": ["retrain"]}}}
    (summary,) = httpx.post(f"{prefect}/api/artifacts/filter", json=query).json()
    with opened() as (page, _):
        run(page, prefect, longest)
        artifact(page, prefect, summary["id"], "Decisions", "artifacts")
        form(page, prefect, deployment)
        registry(page, mlflow, f"mme-sid-{dataset}")


if __name__ == "__main__":
    main(*sys.argv[1:])
