"""Options of `mmesid up`; each default is defined here alone."""

from typing import NamedTuple


class Options(NamedTuple):
    """Where the servers listen and keep their data."""

    host: str = "127.0.0.1"
    prefect_port: int = 4200
    mlflow_port: int = 5000
    postgres: str | None = None  # postgresql://user:password@host:port; sqlite files without it
    artifacts: str | None = None  # s3://bucket/prefix; MLflow's artifacts lie in mlruns/ without it

    @property
    def prefect(self) -> str:
        """Address of Prefect's pages."""
        return f"http://{bracketed(self.host)}:{self.prefect_port}"

    @property
    def prefect_api(self) -> str:
        """Address of Prefect's API."""
        return f"{self.prefect}/api"

    @property
    def mlflow(self) -> str:
        """Address of MLflow's pages, and its tracking URI."""
        return f"http://{bracketed(self.host)}:{self.mlflow_port}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
