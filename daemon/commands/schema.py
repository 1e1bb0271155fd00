"""schema: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, so that an editor completes and checks it while you write.

    With the YAML language server (VS Code, Neovim, ...) save it beside the configuration and name it in the first line:

    \b
      # yaml-language-server: $schema=dropdock.schema.json

    \b
    Example:
      dropdock schema > ~/.config/dropdock/dropdock.schema.json
    """
    from ..schema import schema as whole

    click.echo(json.dumps(whole(), indent=1))
