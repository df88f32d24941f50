"""The grammar of the commands beside connect: config, completion, pac, ping, resolve."""

from __future__ import annotations

from .parser import Parser, add_options

SHELLS = ("bash", "zsh", "fish")
RECORD_TYPES = ("A", "AAAA", "CAA", "CNAME", "HTTPS", "MX", "NAPTR", "NS", "PTR", "SOA", "SRV", "SVCB", "TLSA", "TXT")
"""What resolve knows; a server of that name must be written sstp://NAME."""


def config_check_parser() -> Parser:
    """Return the parser of ``sstpsocks config check``."""
    parser = Parser(
        prog="sstpsocks config check",
        description="List every mistake of a configuration file with its line and key; exit code 2 when there is one. "
        "Nothing is connected to.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", nargs="?", help="the file (default: the one that connect would use)")
    parser.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser


def config_show_parser() -> Parser:
    """Return the parser of ``sstpsocks config show``."""
    parser = Parser(
        prog="sstpsocks config show",
        usage="sstpsocks config show [--json] [options of connect]",
        description="Show what a connect with the same options would use, and where each value came from, as TOML that "
        "can be pasted. Secrets are hidden.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    add_options(parser)
    return parser


def completion_parser() -> Parser:
    """Return the parser of ``sstpsocks completion``."""
    parser = Parser(
        prog="sstpsocks completion",
        description="Print the shell's completion of our commands and options. "
        "bash: source <(sstpsocks completion bash); zsh: put it into _sstpsocks in a folder of $fpath; "
        "fish: sstpsocks completion fish | source",
        allow_abbrev=False,
    )
    parser.add_argument("shell", metavar="SHELL", choices=(*SHELLS, "profiles"), help="|".join(SHELLS))
    parser.add_argument("--config", "-c", metavar="FILE", help="whose profiles to print (SHELL is profiles)")
    return parser


def pac_parser() -> Parser:
    """Return the parser of ``sstpsocks pac``."""
    parser = Parser(
        prog="sstpsocks pac",
        usage="sstpsocks pac [options of connect] [SERVER]",
        description="Print the PAC file that the local port of a connect with the same options would give to browsers "
        "as /proxy.pac. Nothing is connected to.",
        allow_abbrev=False,
        add_help=False,
    )
    add_options(parser)
    return parser


def ping_parser() -> Parser:
    """Return the parser of ``sstpsocks ping``."""
    parser = Parser(
        prog="sstpsocks ping",
        usage="sstpsocks ping HOST [-c N] [--interval S] [--wait S] [--json] [options of connect] [SERVER]",
        description="Bring a tunnel up and send echo requests to HOST through it. Exit code 1 when none is answered.",
        allow_abbrev=False,
        add_help=False,
        conflict_handler="resolve",  # -c is what every ping calls its count; --config has only its long name here
    )
    parser.add_argument("host", metavar="HOST", help="a name, looked up inside the tunnel, or an address")
    add_options(parser)
    group = parser.add_argument_group("ping")
    group.add_argument("-c", "--count", metavar="N", type=int, default=4, help="how many (default 4)")
    group.add_argument("--interval", metavar="S", type=float, default=1.0, help="seconds between two (default 1)")
    group.add_argument("--wait", metavar="S", type=float, default=5.0, help="seconds to wait for a reply (default 5)")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def resolve_parser() -> Parser:
    """Return the parser of ``sstpsocks resolve``."""
    parser = Parser(
        prog="sstpsocks resolve",
        usage="sstpsocks resolve NAME|ADDRESS [TYPE] [--json] [options of connect] [SERVER]",
        description="Bring a tunnel up and look NAME up by its name servers: its addresses, or the records of a TYPE "
        f"({', '.join(RECORD_TYPES)}); for an ADDRESS its name. Exit code 1 when there is none.",
        allow_abbrev=False,
        add_help=False,
    )
    parser.add_argument("name", metavar="NAME", help="the name to look up")
    group = parser.add_argument_group("resolve")
    group.add_argument("--json", action="store_true", help="print the result as JSON")
    add_options(parser)
    return parser
