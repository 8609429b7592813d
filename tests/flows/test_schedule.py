"""A schedule plans runs: Prefect's own scheduler, on the versions that the lock names."""

import asyncio
from uuid import UUID

import pytest


@pytest.mark.pipeline
def test_a_deployment_with_a_cron_gets_runs(server: None) -> None:
    from prefect import flow
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule

    @flow
    def idle() -> None:
        """Nothing."""

    nightly = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *"))
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(idle), "nightly", schedules=[nightly])
    assert asyncio.run(plan(deployment))


async def plan(deployment: UUID) -> list[UUID]:
    """What Prefect's scheduler does every minute."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.deployments import schedule_runs

    async with provide_database_interface().session_context(begin_transaction=True) as session:
        return list(await schedule_runs(session, deployment))
