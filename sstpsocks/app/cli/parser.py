"""The command line's grammar, made from the table of options.

Loads argparse and nothing heavier: ``sstpsocks --help`` answers at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from ..._version import __version__
from ...base.build import COMPILED
from ...base.suggestion import did_you_mean
from ...errors import ConfigError
from ..options import OPTIONS, Kind, Option, Place

CONNECT = "connect"
DEMO = "demo"
BROWSER = "browser"
CHECK = "check"
IMPORT = "import"
RUN = "run"
CONFIG = "config"
COMPLETION = "completion"
PING = "ping"
RESOLVE = "resolve"
PAC = "pac"
STATUS = "status"
TOP = "top"
COMMANDS = (CONNECT, RUN, CHECK, BROWSER, PING, RESOLVE, STATUS, TOP, PAC, CONFIG, COMPLETION, IMPORT, DEMO)

REFUSAL = (
    "a password on the command line is refused, because every user of the machine can read it in the list of "
    "processes, and the shell's history keeps it"
)
REFUSAL_HINT = "Use --password-file FILE, --password-command CMD, SSTPSOCKS_PASSWORD, or wait to be asked"

# What people try, besides what other programs call it.
_PASSWORD_FLAGS = ("--password", "--passwd", "--pass", "--pwd", "--socks-password", "--proxy-password")

_EPILOG = """\
commands:
  connect               the usual one, may be left out
  run                   run one command in the tunnel: sstpsocks run SERVER -- COMMAND; see sstpsocks run --help
  check                 look at a server step by step and say what is found; see sstpsocks check --help
  browser               start a browser whose only way out is the tunnel; see sstpsocks browser --help
  ping, resolve         send echo requests to a host behind the server, look a name up there
  status, top           ask a running sstpsocks what it does; watch it in the terminal
  pac                   print the PAC file for browsers, made of the rules, without connecting
  config check, show    list every mistake of the configuration file; show what holds and where it comes from
  completion            print the completion for bash, zsh or fish
  import                make a profile out of another program's: Windows, Azure, NetworkManager, MikroTik, sstp:// link
  demo                  start a small SSTP server on this machine and use it; see sstpsocks demo --help

Every option is also an environment variable (--ca-file is SSTPSOCKS_CA_FILE) and a key of the configuration file
(ca_file). Flags beat the environment, which beats the file. The password can be in SSTPSOCKS_PASSWORD.

exit codes: 0 ended on request, 2 usage or configuration, 3 server not reached, 4 certificate refused,
  5 authentication refused, 6 protocol error or refusal by the server, 7 tunnel lost
"""


_UNRECOGNIZED = "unrecognized arguments: "
"""How argparse begins to say so; another beginning is handed on as it is."""


class Parser(argparse.ArgumentParser):
    """Reports errors as ConfigError instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError; what was given to an unknown option is not repeated: it may be a password."""
        see = f"See: {self.prog} --help"
        before, unknown, rest = message.partition(_UNRECOGNIZED)
        flag = next((word for word in rest.split() if word.startswith("-")), "")
        if unknown and not before and flag:
            flag = flag.partition("=")[0]
            # Without the dashes, which all have in common.
            known = [name.removeprefix("--") for name in self._option_string_actions if name.startswith("--")]
            meant = did_you_mean(flag.lstrip("-"), known).replace(' "', ' "--')
            raise ConfigError(f"there is no option {flag}", hint=f"{meant} {see}".strip())
        raise ConfigError(message, hint=see)


class _RefusePassword(argparse.Action):
    """Answers --password with the reason why there is no such option; what follows it is never repeated."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        raise ConfigError(REFUSAL, hint=REFUSAL_HINT)


class _OneLineHelp(argparse.RawDescriptionHelpFormatter):
    """Flags in a wider column, so that most options take one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=118)


def connect_parser() -> Parser:
    """Return the parser of ``sstpsocks [connect] [SERVER] [options]``."""
    parser = Parser(
        prog="sstpsocks",
        usage="sstpsocks [connect] [SERVER] [--listen [HOST:]PORT] [--user NAME] [options]\n"
        "       sstpsocks run [SERVER] [options] -- COMMAND [ARGUMENT ...]\n"
        "       sstpsocks check [SERVER] [--json] [options]\n"
        "       sstpsocks import FILE|LINK [--output FILE] [--with-secrets]\n"
        "       sstpsocks demo [--listen PORT] [--once]",
        description="Connect to an SSTP VPN server without root rights and offer the network behind it as a local "
        "SOCKS and HTTP proxy.",
        epilog=_EPILOG,
        formatter_class=_OneLineHelp,
        allow_abbrev=False,
        add_help=False,
    )
    add_options(parser)
    return parser


def check_parser() -> Parser:
    """Return the parser of ``sstpsocks check [SERVER] [options]``, which takes the options of connect and its own."""
    parser = Parser(
        prog="sstpsocks check",
        usage="sstpsocks check [SERVER] [--json] [--user NAME] [options of connect]",
        description="Look at an SSTP server step by step and say what is found. Without a user name it stops at the "
        "log-in, and sends nothing that could lock an account. The report holds no password and no user name, and may "
        "be pasted into a bug report.",
        formatter_class=_OneLineHelp,
        allow_abbrev=False,
        add_help=False,
    )
    group = parser.add_argument_group("check")
    group.add_argument("--json", action="store_true", help="print the report as JSON")
    group.add_argument("--no-login", action="store_true", help="stop at the log-in even if a user is configured")
    group.add_argument("--show-user", action="store_true", help="print the user name in the report")
    group.add_argument(
        "--probe", metavar="HOST", help="who answers echo requests, for the MTU that passes (default: name server)"
    )
    group.add_argument(
        "--throughput",
        metavar="URL",
        nargs="?",
        const="",
        help="download this for 10 s at most and say how fast it came",
    )
    group.add_argument(
        "--upload", metavar="URL", nargs="?", const="", help="the same with a PUT of zeros, which is then broken off"
    )
    add_options(parser)
    return parser


def add_options(parser: Parser) -> None:
    """Add the table of options, and what every command has."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in OPTIONS:
        if Place.FLAG in option.places:
            if option.group not in groups:
                groups[option.group] = parser.add_argument_group(option.group)
            _add(groups[option.group], option)
    general = parser.add_argument_group("other")
    general.add_argument("-h", "--help", action="help", help="show this help and exit")
    build = "compiled" if COMPILED else "interpreted"
    version = f"sstpsocks {__version__} ({build})"
    general.add_argument("--version", action="version", version=version, help="show the version and the build")
    parser.add_argument(
        *_PASSWORD_FLAGS, nargs="?", action=_RefusePassword, default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    text = option.help + (f" (default {option.default})" if option.default else "")
    text = text.replace("%", "%%")
    names = [name for name in (option.short, option.flag) if name]
    metavar = "|".join(option.choices) if option.choices else option.metavar
    if option.positional:
        group.add_argument(option.key, nargs="*", metavar=option.metavar, help=text)
    elif option.kind is Kind.COUNT:
        group.add_argument(*names, dest=option.key, action="count", help=text)
    elif option.kind is Kind.SWITCH and option.short:
        group.add_argument(*names, dest=option.key, action="store_const", const=True, help=text)
    elif option.kind is Kind.SWITCH:
        group.add_argument(*names, dest=option.key, action=argparse.BooleanOptionalAction, help=text)
    elif option.kind is Kind.LIST:
        group.add_argument(*names, dest=option.key, action="append", metavar=metavar, help=text)
    else:
        group.add_argument(*names, dest=option.key, metavar=metavar, help=text)


def import_parser() -> Parser:
    """Return the parser of ``sstpsocks import``."""
    parser = Parser(
        prog="sstpsocks import",
        description="Print a profile for the configuration file, made out of another program's: rasphone.pbk and "
        "ProfileXML of Windows, Azure's archive or VpnSettings.xml, a keyfile of NetworkManager, lines of RouterOS, an "
        "sstp:// link. What cannot be carried over is listed on standard error with the reason.",
        formatter_class=_OneLineHelp,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="FILE|LINK", help="the file, the link, or - for standard input")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a new file; one that is there stays as it is")
    parser.add_argument("--with-secrets", action="store_true", help="take passwords along, too")
    return parser


def demo_parser() -> Parser:
    """Return the parser of ``sstpsocks demo``."""
    parser = Parser(
        prog="sstpsocks demo",
        description="Start an SSTP server with a small intranet on this machine, connect to it, fetch a page and a "
        "checked download through the SOCKS port, and stay up to be tried until Ctrl-C. Nothing leaves the machine.",
        formatter_class=_OneLineHelp,
        allow_abbrev=False,
    )
    parser.add_argument("--listen", metavar="PORT", default="0", help="the SOCKS port (default: a free one)")
    parser.add_argument("--once", action="store_true", help="exit after the report")
    return parser


def split_command(argv: Sequence[str]) -> tuple[str, list[str], bool]:
    """Return the command, its arguments, and whether the command was written out."""
    if argv and argv[0] in COMMANDS:
        return argv[0], list(argv[1:]), True
    return CONNECT, list(argv), False


def parse_connect(arguments: Sequence[str], *, explicit: bool) -> dict[str, object]:
    """Return the attributes that the flags gave, None for those not given. Raises ConfigError."""
    given = vars(connect_parser().parse_args(arguments))
    given["server"] = given["server"] or None  # argparse makes an empty list of none
    for server in given["server"] or ():
        if not explicit and server in COMMANDS:
            raise ConfigError(
                f'the command "{server}" must be the first argument',
                hint=f"For a server of that name: sstpsocks connect {server}",
            )
    return given
