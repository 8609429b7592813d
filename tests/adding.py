"""`mmesid add` as tests call it."""

from typer.testing import CliRunner

from mmesid.commands import cli


def run(*arguments: str) -> str:
    """What the command says, which must succeed."""
    result = CliRunner().invoke(cli.app, ["add", *arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())
