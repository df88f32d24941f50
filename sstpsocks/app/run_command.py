"""``sstpsocks run -- COMMAND``: a tunnel for as long as one command runs.

The local port takes a free number on loopback, and a user name with a password that is made for this run and handed to
the command in its environment: other users of the machine find the port but cannot use it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from ..errors import ConfigError
from .config import Configuration
from .engine import Engine, Running
from .job import EXIT_CANNOT_RUN, EXIT_NOT_FOUND, EXIT_SIGNALLED, CannotRunError, run_job
from .messages import UNIX, Display, State
from .readyfile import Ready
from .run import run_connect
from .values import split_host_port

USER = "sstpsocks"
_PASSWORD_BYTES = 24
_INTERRUPTED = EXIT_SIGNALLED + 2
"""The exit code when the end was asked for before the command began, as after Ctrl-C."""
_PAST_THE_TUNNEL = "localhost,127.0.0.0/8,127.0.0.1,::1"
"""What the command serves to itself on this machine; nothing else leaves by another way than the tunnel."""
_OUR_VARIABLES = "SSTPSOCKS_"
_PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def command_environment(
    environ: Mapping[str, str], ready: Ready, credentials: tuple[str, str], ready_file: str | None
) -> dict[str, str]:
    """Return the command's environment: ours without our own variables (a password may be among them), and the proxy's.

    ``ready``: where the local port is, and what the first tunnel's network told. Raises ConfigError.
    """
    environment = without_our_variables(environ)
    where = _tcp_port(ready)
    host, port = split_host_port(where)
    user, password = (quote(text, safe="") for text in credentials)
    address = f"{user}:{password}@{where}"
    proxies = {
        "ALL_PROXY": f"socks5h://{address}",
        "HTTP_PROXY": f"http://{address}",
        "HTTPS_PROXY": f"http://{address}",
        "NO_PROXY": _PAST_THE_TUNNEL,
    }
    for name, value in proxies.items():
        environment[name] = environment[name.lower()] = value
    environment |= {
        "SSTPSOCKS_RUN_PROXY": proxies["ALL_PROXY"],
        "SSTPSOCKS_RUN_HOST": host.strip("[]"),
        "SSTPSOCKS_RUN_PORT": str(port),
    }
    return environment | network_variables(ready, ready_file)


def without_our_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without our own variables: a password may be among them."""
    return {name: value for name, value in environ.items() if not name.upper().startswith(_OUR_VARIABLES)}


def network_variables(ready: Ready, ready_file: str | None) -> dict[str, str]:
    """Return the variables that tell a command about the network behind the tunnel."""
    variables = {
        "SSTPSOCKS_RUN_ADDRESS": ",".join(ready.addresses),
        "SSTPSOCKS_RUN_DNS": ",".join(ready.dns),
        "SSTPSOCKS_RUN_SERVER": ready.server,
    }
    if ready_file is not None:
        variables["SSTPSOCKS_RUN_READY"] = ready_file
    return variables


def namespace_environment(environ: Mapping[str, str], ready: Ready, ready_file: str | None) -> dict[str, str]:
    """Return the environment of a command in a namespace: no proxy leads out of there, and none is needed."""
    environment = without_our_variables(environ)
    for name in _PROXY_VARIABLES:
        environment.pop(name, None)
        environment.pop(name.lower(), None)
    return environment | network_variables(ready, ready_file)


class CommandDisplay:
    """Says what a connect says, without advice about a port that only the command uses."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self.step = display.step
        self.warning = display.warning
        self.note = display.note
        self.interrupt = display.interrupt
        self.ending = display.ending
        self.failed = display.failed

    def ready(self, ready: Ready, socks_user: str | None) -> None:
        """Finish the line at hand: the terminal is the command's from now on."""
        self._display.interrupt()

    def state(self, state: State) -> None:
        """Say that the tunnel was lost or is back."""
        self._display.state(state)


async def run_command(
    configuration: Configuration,
    command: Sequence[str],
    display: Display,
    engine: Engine | None = None,
    *,
    netns: bool = False,
) -> int:
    """Bring the tunnels up, run the command with them, end the tunnels; return the command's exit code.

    ``netns``: in a network namespace whose only way out they are, in place of proxy variables; the port is opened only
    where the configuration says so, for others.

    126 and 127 are a shell's codes for a command that cannot be run. Raises SstpsocksError (possibly inside an
    exception group) when no tunnel can be set up, or the last is lost for good: the command is ended then.
    """
    if (found := _not_runnable(command[0])) is not None:
        display.failed(str(found))
        return found.exit_code
    listen = configuration.listen
    credentials = listen.credentials or (USER, secrets.token_urlsafe(_PASSWORD_BYTES))
    if not netns:
        listen = replace(listen, credentials=credentials)
    configuration = replace(configuration.without_own_ports(), listen=listen)
    ready_file = configuration.output.ready_file
    ready_path = str(Path.cwd() / ready_file) if ready_file is not None else None
    exit_code = _INTERRUPTED

    async def run(running: Running) -> None:
        nonlocal exit_code
        try:
            if netns:
                from .netns import run_in_namespace  # for those only who ask

                environment = namespace_environment(os.environ, running.ready, ready_path)
                exit_code = await run_in_namespace(command, environment, running, listen.max_connections)
            else:
                environment = command_environment(os.environ, running.ready, credentials, ready_path)
                exit_code = await run_job(command, environment)
        except CannotRunError as error:
            display.failed(str(error))
            exit_code = error.exit_code

    await run_connect(configuration, CommandDisplay(display), engine, run)
    return exit_code


def _tcp_port(ready: Ready) -> str:
    """Return where the command finds the port. Raises ConfigError."""
    for place in ready.listen:
        if not place.startswith(UNIX):
            return place
    raise ConfigError("run: the command needs a TCP port", hint="Leave --listen out, or add --listen 127.0.0.1:0")


def _not_runnable(program: str) -> CannotRunError | None:
    """Return why a program cannot be run, before a server is dialled for it."""
    if shutil.which(program) is not None:
        return None
    if os.path.dirname(program) and os.path.exists(program):
        return CannotRunError(f"{program}: it cannot be run", EXIT_CANNOT_RUN)
    return CannotRunError(f"{program}: command not found", EXIT_NOT_FOUND)
