"""What an option is, and the short ways to write one down.

A topic is a heading of the help; its methods make the options under it, one method for each kind of value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ENVIRONMENT_PREFIX = "SSTPSOCKS_"


class Kind(Enum):
    """What the value of an option is."""

    TEXT = "a string"
    INTEGER = "a whole number"
    SECONDS = "a number of seconds"
    SWITCH = "true or false"
    PATH = "a file name"
    LIST = "a string or a list of strings"
    COUNT = "a whole number: 0, 1 or 2"


class Place(Enum):
    """Where an option may be given."""

    FLAG = "command line"
    ENVIRONMENT = "environment"
    FILE = "configuration file"


EVERYWHERE = frozenset(Place)
NOT_ON_THE_COMMAND_LINE = EVERYWHERE - {Place.FLAG}
NOT_IN_A_FILE = EVERYWHERE - {Place.FILE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be configured."""

    name: str
    """With hyphens, as on the command line."""
    kind: Kind = Kind.TEXT
    group: str
    """The heading of the help under which it stands."""
    help: str
    metavar: str = ""
    default: str = ""
    """What the help shows as the default; empty: no default worth showing."""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    places: frozenset[Place] = EVERYWHERE
    short: str = ""
    """The short flag, such as "-v"."""
    positional: bool = False
    secret: bool = False
    """Whether the value is never shown."""

    @property
    def key(self) -> str:
        """The key in the file, and the attribute of argparse's result."""
        return self.name.replace("-", "_")

    @property
    def flag(self) -> str:
        """The flag as messages call it."""
        return self.name.upper() if self.positional else f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT_PREFIX + self.key.upper()


@dataclass(frozen=True, slots=True)
class Topic:
    """One heading of the help."""

    heading: str

    def text(
        self,
        name: str,
        metavar: str,
        explanation: str,
        *,
        default: str = "",
        short: str = "",
        places: frozenset[Place] = EVERYWHERE,
    ) -> Option:
        """Return an option whose value is a string."""
        return Option(
            name=name,
            group=self.heading,
            metavar=metavar,
            help=explanation,
            default=default,
            short=short,
            places=places,
        )

    def secret(self, name: str, explanation: str) -> Option:
        """Return a string that must not stand where every user of the machine can read it."""
        text = f"{explanation}; not on the command line, where every user of the machine can read it"
        return Option(name=name, group=self.heading, help=text, places=NOT_ON_THE_COMMAND_LINE, secret=True)

    def secret_table(self, name: str, explanation: str) -> Option:
        """Return what is written as a table of the configuration file only, and never shown."""
        return Option(
            name=name,
            kind=Kind.LIST,
            group=self.heading,
            help=explanation,
            places=frozenset({Place.FILE}),
            secret=True,
        )

    def choice(self, name: str, metavar: str, explanation: str, *, choices: tuple[str, ...], default: str) -> Option:
        """Return an option whose value is one of a few words."""
        return Option(
            name=name, group=self.heading, metavar=metavar, help=explanation, choices=choices, default=default
        )

    def file(self, name: str, explanation: str, *, short: str = "", places: frozenset[Place] = EVERYWHERE) -> Option:
        """Return an option whose value is a file name."""
        return Option(
            name=name, kind=Kind.PATH, group=self.heading, metavar="FILE", help=explanation, short=short, places=places
        )

    def list(
        self,
        name: str,
        metavar: str,
        explanation: str,
        *,
        default: str = "",
        short: str = "",
        positional: bool = False,
        places: frozenset[Place] = EVERYWHERE,
    ) -> Option:
        """Return an option that may be given several times."""
        return Option(
            name=name,
            kind=Kind.LIST,
            group=self.heading,
            metavar=metavar,
            help=explanation,
            default=default,
            short=short,
            positional=positional,
            places=places,
        )

    def switch(self, name: str, explanation: str, *, short: str = "", places: frozenset[Place] = EVERYWHERE) -> Option:
        """Return an option that is on or off; off without it."""
        return Option(name=name, kind=Kind.SWITCH, group=self.heading, help=explanation, short=short, places=places)

    def integer(
        self, name: str, metavar: str, explanation: str, *, minimum: int, maximum: int, default: str = ""
    ) -> Option:
        """Return an option whose value is a whole number."""
        return Option(
            name=name,
            kind=Kind.INTEGER,
            group=self.heading,
            metavar=metavar,
            help=explanation,
            default=default,
            minimum=minimum,
            maximum=maximum,
        )

    def seconds(self, name: str, explanation: str, *, default: str) -> Option:
        """Return an option whose value is a time of up to an hour."""
        return Option(
            name=name,
            kind=Kind.SECONDS,
            group=self.heading,
            metavar="S",
            help=explanation,
            default=default,
            minimum=0.1,
            maximum=3600,
        )

    def count(self, name: str, explanation: str, *, maximum: int, short: str) -> Option:
        """Return an option that says more each time that it is given."""
        return Option(
            name=name, kind=Kind.COUNT, group=self.heading, help=explanation, minimum=0, maximum=maximum, short=short
        )
