"""`otel-agent completion SHELL`: what a shell needs to complete commands, options and scenarios."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@add_completion_class
class _Bash(BashComplete):
    """Completes words with colons, such as `support:v13`, which bash takes apart, behind their last colon."""

    _before = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Puts together again what bash took apart."""
        args, incomplete = super().get_completion_args()
        words: list[str] = []
        for word in (*args, incomplete):
            if words and (word == ":" or words[-1].endswith(":")):
                words[-1] += word
            else:
                words.append(word)
        self._before = words[-1][: words[-1].rfind(":") + 1]
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Leaves out what bash keeps."""
        return super().format_completion(CompletionItem(item.value.removeprefix(self._before), item.type))


@click.command(epilog='For this session of bash: eval "$(otel-agent completion bash)"')
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell: bash, zsh or fish."""
    root = context.find_root()
    name = str(root.info_name)
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"click has no completion for {shell}")
    click.echo(kind(root.command, {}, name, variable).source())
