"""The entry point `memplan`: finds the subcommand, and turns every error into one line."""

import os
import sys
from importlib import import_module

import click

from memplan.errors import MemplanError

_COMMANDS = {
    "recommend": "Say which MAX_CONN, MAX_FD and buffers to set, and the memory they take.",
    "explain": "Say what a change of configuration does to each region, before any run.",
}
_INTERRUPTED = 130
_INTERNAL = 70


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is run, so that each one starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which a newcomer meets them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the subcommand of that name, imported now."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module = import_module(f"memplan.commands.{cmd_name}")
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - kept by the table above
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing any of them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def _print_version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"memplan {version('memplan')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="memplan COMMAND --help tells more, with examples.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and leave.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Tell what memory a many-connection server will take, before it runs.

    \b
    Exit codes: 0 the plan holds, 2 wrong input, 3 the plan cannot be met,
    4 a measurement failed, 130 interrupted.
    """  # noqa: D301 - click takes a backspace for "do not wrap", not a backslash and a b
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _fail(message: str, code: int) -> int:
    # One line, whatever the library's text holds, so that a log or a script can rely on it.
    click.echo(f"memplan: {' '.join(message.split())}", err=True)
    return code


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code; no traceback leaves it.

    Set MEMPLAN_DEBUG=1 to see the traceback of an internal error.
    """
    try:
        result = cli.main(args=args, prog_name="memplan", standalone_mode=False)
        sys.stdout.flush()
    except MemplanError as error:
        return _fail(str(error), error.exit_code)
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see {error.ctx.command_path} --help)"
        return _fail(f"{error.format_message().rstrip('.')}{hint}", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", _INTERRUPTED)
    except (BrokenPipeError, SystemExit) as error:
        # click may meet the broken pipe before we do. It then leaves with 1, and never else: other
        # errors it hands to us.
        if isinstance(error, SystemExit) and error.code != 1:
            raise
        # The reader, such as head, has what it wanted. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("MEMPLAN_DEBUG"):
            raise
        return _fail(
            f"internal error, please report it with the command: {type(error).__name__}: {error}",
            _INTERNAL,
        )
    return result if isinstance(result, int) else 0


def main() -> None:
    """Run `memplan` as a program."""
    # The products of matrices here are small: waking threads for them costs more than they bring
    # (a third of the command's CPU time). numpy reads this once, when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(run())
