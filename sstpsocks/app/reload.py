"""The configuration loaded again while the program runs: SIGHUP.

Theory of operation. What the running tunnels and ports ask anew each time is exchanged in place: the rules, the users
of the ports, the table of names and how much is logged. Connections that stand are left alone. Everything else was
used up when the program began, so it is compared with what the program began with, key by key, and what differs is
named. A configuration with a mistake changes nothing. All of it happens between two turns of the event loop, so nobody
meets half of a configuration.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from ..library import Tunnel
from ..proxy.routing.language import DIRECT, RuleSyntaxError
from ..proxy.routing.router import Router
from ..proxy.users import Users
from .config import Configuration, ListenSettings
from .dns_port import tell_leaks
from .failures import describe
from .logs import set_up_logging
from .messages import Display
from .options import OPTIONS, SHARED
from .rules_config import UNNAMED
from .sources import PORTS, Sources

_RULES = "rule"
_USERS = ("socks_user", "socks_password_file", "socks_users_file", "users")
_NAMES = ("host", "dns_suffix", "dns_server", "dns_rest")
_LOUDNESS = ("verbose", "quiet", "log_level")
_EXCHANGEABLE = frozenset((_RULES, *_USERS, *_NAMES, *_LOUDNESS))


class Reload:
    """Applies a new configuration to what runs; ``begun``: the one that it was started with."""

    def __init__(self, begun: Configuration, display: Display) -> None:
        self._begun = begun
        self._display = display
        self._ports = _ports(begun)
        self._held = {name: listen.all_users for name, listen in self._ports.items()}
        self._users = {name: Users(listen.all_users) for name, listen in self._ports.items()}
        self._log = begun.output.log
        self.tunnels: dict[str, Tunnel] = {}
        """Those that were set up and are not lost for good, by the names of their profiles."""
        self.router: Router | None = None
        """Where the rules hold, as soon as the tunnels are up."""
        self.ready = False
        """Set when everything runs."""

    @property
    def possible(self) -> bool:
        """Whether there is a configuration to load again."""
        return self._begun.again is not None

    def users_of(self, name: str | None = None) -> Users:
        """Return who may use the shared port, or the own port of a tunnel, from now on and after a reload."""
        return self._users[name]

    def run(self) -> None:
        """Load and apply. Says what happened, and raises nothing."""
        if self._begun.again is None:
            return
        if not self.ready:
            self._display.warning("the configuration was not loaded again: the tunnel is not up for the first time yet")
            return
        try:
            new = self._begun.again()
        except Exception as error:
            text = describe(error).text
            self._display.warning(f"the configuration was not loaded again and the old one holds: {text}")
            return
        self._apply(new)

    def _apply(self, new: Configuration) -> None:
        restart = _differing(self._begun.sources, new.sources)
        changed = []
        for what, apply in (
            ("rules", self._apply_rules),
            ("users", self._apply_users),
            ("names", self._apply_names),
            ("log level", self._apply_loudness),
        ):
            if apply(new, restart):
                changed.append(what)
        for text in new.warnings:
            self._display.warning(text)
        if restart:
            self._display.warning(f"needs a restart: {', '.join(dict.fromkeys(restart))}")
        self._display.note(f"configuration loaded again: {', '.join(changed) or 'nothing to change'}")

    def _apply_rules(self, new: Configuration, restart: list[str]) -> bool:
        if self.router is None or new.rules == (held := self.router.table.rules):
            return False
        try:
            self.router.replace(new.rules)
        except RuleSyntaxError:  # a rule names a tunnel that was not begun
            restart.append(_RULES)
            return False
        for rule in new.rules:
            if rule.way == DIRECT and rule not in held:
                self._display.warning(f'connections and names go past all tunnels by the rule "{rule}"')
        return True

    def _apply_users(self, new: Configuration, restart: list[str]) -> bool:
        changed = False
        for name, listen in _ports(new).items():
            if name not in self._users or listen.all_users == self._held[name]:
                continue
            if not listen.all_users and listen.addresses != self._ports[name].addresses:
                # That nobody need log in was checked for other addresses than those where the port is.
                restart.extend(_USERS)
                continue
            self._users[name].replace(listen.all_users)
            self._held[name] = listen.all_users
            changed = True
        return changed

    def _apply_names(self, new: Configuration, _restart: list[str]) -> bool:
        changed = False
        for named in new.tunnels:
            tunnel = self.tunnels.get(named.name)
            if tunnel is not None and tunnel.replace_names(named.settings.names):
                tell_leaks(named.settings.names, self._display.warning)
                changed = True
        return changed

    def _apply_loudness(self, new: Configuration, _restart: list[str]) -> bool:
        log = replace(self._log, verbosity=new.output.log.verbosity, level=new.output.log.level)
        if log == self._log:
            return False
        self._log = log
        set_up_logging(sys.stderr, self._display, log)
        return True


def _ports(configuration: Configuration) -> dict[str | None, ListenSettings]:
    """Return the shared port under None, and those that tunnels have of their own."""
    ports: dict[str | None, ListenSettings] = {None: configuration.listen}
    ports.update((named.name, named.listen) for named in configuration.tunnels if named.listen is not None)
    return ports


def _tunnels_that_came_and_went(begun: list[str], new: list[str]) -> list[str]:
    """Return what is to be said about tunnels that are in one configuration only; those that are up stay up."""
    said = [f'the new tunnel "{name or UNNAMED}"' for name in new if name not in begun]
    said += [f'the end of the tunnel "{name or UNNAMED}", which stays up' for name in begun if name not in new]
    if not said and begun != new:
        said.append("which tunnel is the first")
    return said


def _differing(begun: Sources | None, new: Sources | None) -> list[str]:
    """Return the keys that cannot be exchanged and have other values than the program began with."""
    if begun is None or new is None:
        return []
    keys = _tunnels_that_came_and_went(list(begun.tunnels), list(new.tunnels))
    pairs = [(begun.tunnels[name], new.tunnels[name]) for name in begun.tunnels if name in new.tunnels]
    # What an only tunnel shares with nobody is in its profile, so with another number of them that is no comparison.
    elsewhere = (*SHARED, *PORTS) if keys else ()
    if not keys:
        pairs.append((begun.shared, new.shared))
    for option in OPTIONS:
        if option.key in _EXCHANGEABLE or option.key in elsewhere:
            continue
        for one, other in pairs:
            before, after = one.find(option.key), other.find(option.key)
            if (before and before.value) != (after and after.value):
                keys.append(option.key)
                break
    return keys
