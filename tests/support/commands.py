"""Every command there is, asked of the verbs themselves: a verb, or the commands of one that is a group."""

from importlib import import_module

from typer.main import get_command

from attestlog._internal.cli.verbs import VERBS, module_of


def commands() -> dict[str, list[str]]:
    """Verb → the commands below it; none for a verb that is a command itself."""
    found = {}
    for verb in VERBS:
        module = import_module(module_of(verb))
        below = getattr(get_command(module.app), "commands", {})
        found[verb] = [f"{verb} {name}" for name in below]
    return found


RUNNABLE = [name for verb, below in commands().items() for name in below or [verb]]
"""What can be run with arguments of its own."""
