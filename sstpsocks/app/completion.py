"""Completion for bash, zsh and fish, made from the parsers, which are made from the table of options.

The names of profiles are asked of the program itself when they are completed (``sstpsocks completion profiles``), since
they change with the file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from .cli.browser import browser_parser
from .cli.extras import (
    completion_parser,
    config_check_parser,
    config_show_parser,
    pac_parser,
    ping_parser,
    resolve_parser,
)
from .cli.parser import Parser, check_parser, connect_parser, demo_parser, import_parser
from .cli.run import run_parser
from .cli.watch import status_parser, top_parser
from .options import BY_KEY, Kind

_PARSERS: Mapping[str, Callable[[], Parser]] = {
    "connect": connect_parser,
    "check": check_parser,
    "import": import_parser,
    "demo": demo_parser,
    "config check": config_check_parser,
    "config show": config_show_parser,
    "completion": completion_parser,
    "run": run_parser,
    "browser": browser_parser,
    "ping": ping_parser,
    "resolve": resolve_parser,
    "pac": pac_parser,
    "status": status_parser,
    "top": top_parser,
}
_COMMANDS = tuple(dict.fromkeys(name.partition(" ")[0] for name in _PARSERS))
_CONFIG_ACTIONS = ("check", "show")
_SHELLS = ("bash", "zsh", "fish")


@dataclass(frozen=True, slots=True)
class _Flag:
    """One option of one command."""

    names: tuple[str, ...]
    text: str
    value: str
    """What it takes: empty for nothing, "file", "profile", "choice" or "any"."""
    choices: tuple[str, ...] = ()


def profile_names(config: str | None, environ: Mapping[str, str]) -> list[str]:
    """Return the profiles of the file; none when it cannot be read, since nobody sees an error while completing."""
    from .configfile import load
    from .sources import default_file

    try:
        path = Path(config) if config else default_file(environ)
        return sorted(load(path, report=lambda _error: None).profiles)
    except ConfigError:
        return []


def completion(shell: str) -> str:
    """Return the script for one of the shells."""
    commands = {name: _flags(make()) for name, make in _PARSERS.items()}
    match shell:
        case "bash":
            return _bash(commands)
        case "zsh":
            return _zsh(commands)
        case _:
            return _fish(commands)


def _flags(parser: Parser) -> list[_Flag]:
    flags = []
    for action in parser._actions:
        if not action.option_strings or action.help == argparse.SUPPRESS:
            continue
        option = BY_KEY.get(action.dest)
        choices = option.choices if option is not None else ()
        if action.nargs == 0:
            value = ""
        elif action.dest == "profile":
            value = "profile"
        elif choices:
            value = "choice"
        elif action.metavar == "FILE" or (option is not None and option.kind is Kind.PATH):
            value = "file"
        else:
            value = "any"
        text = (action.help or "").replace("%%", "%")
        flags.append(_Flag(tuple(action.option_strings), text, value, choices))
    return flags


def _bash(commands: Mapping[str, list[_Flag]]) -> str:
    lines = [
        "# bash completion for sstpsocks; source <(sstpsocks completion bash)",
        "_sstpsocks() {",
        '    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        "    local command=connect flags",
        "    COMPREPLY=()",
        f'    case "${{COMP_WORDS[1]}}" in {"|".join(_COMMANDS)}) command="${{COMP_WORDS[1]}}" ;; esac',
        '    [ "$command" = config ] && command="config ${COMP_WORDS[2]}"',
        '    case "$previous" in',
    ]
    for flag in _each_once(commands):
        if flag.value == "file":
            action = 'mapfile -t COMPREPLY < <(compgen -f -- "$current"); compopt -o filenames 2> /dev/null'
        elif flag.value == "choice":
            action = f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(flag.choices)}" -- "$current")'
        elif flag.value == "profile":
            action = "_sstpsocks_profiles"
        elif flag.value == "any":
            action = ":"
        else:
            continue
        lines.append(
            f"    {'|'.join(name for name in flag.names if not name.startswith('--no-'))}) {action}; return ;;"
        )
    lines += [
        "    esac",
        '    case "$command" in',
        *(
            f'    "{name}") flags="{" ".join(name for flag in flags for name in flag.names)}" ;;'
            for name, flags in commands.items()
        ),
        "    esac",
        '    case "$COMP_CWORD:$command:$current" in',
        "    *:-*) ;;",
        f'    1:*) flags="{" ".join(_COMMANDS)}" ;;',
        f'    2:config*) flags="{" ".join(_CONFIG_ACTIONS)}" ;;',
        f'    2:completion*) flags="{" ".join(_SHELLS)}" ;;',
        '    *:"config check":*|*:import:*) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;',
        "    *) return ;;",
        "    esac",
        '    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")',
        "}",
        "_sstpsocks_profiles() {",
        "    local name file=() at",
        "    for ((at = 1; at < COMP_CWORD; at++)); do",
        '        case "${COMP_WORDS[at]}" in -c|--config) file=(--config "${COMP_WORDS[at+1]}") ;; esac',
        "    done",
        "    while IFS= read -r name; do",
        '        [[ $name == "$current"* ]] && COMPREPLY+=("$(printf %q "$name")")',
        '    done < <("${COMP_WORDS[0]}" completion profiles "${file[@]}" 2> /dev/null)',
        "}",
        "complete -F _sstpsocks sstpsocks",
    ]
    return "\n".join(lines) + "\n"


def _zsh(commands: Mapping[str, list[_Flag]]) -> str:
    lines = [
        "#compdef sstpsocks",
        "# zsh completion for sstpsocks; put it into _sstpsocks in a folder of $fpath",
        "_sstpsocks_profiles() {",
        "    local -a names file",
        "    local at=${words[(I)(-c|--config)]}",
        "    (( at )) && file=(--config ${words[at+1]})",
        '    names=(${(f)"$($words[1] completion profiles $file 2> /dev/null)"})',
        "    compadd -a names",
        "}",
        "_sstpsocks() {",
        "    local command=connect",
        f"    case ${{words[2]}} in ({'|'.join(_COMMANDS)}) command=${{words[2]}} ;; esac",
        "    if (( CURRENT == 2 )) && [[ ${words[2]} != -* ]]; then",
        f"        compadd {' '.join(_COMMANDS)}",
        "        return",
        "    fi",
        "    if [[ $command == config ]]; then",
        f"        if (( CURRENT == 3 )); then compadd {' '.join(_CONFIG_ACTIONS)}; return; fi",
        '        command="config ${words[3]}"',
        "    fi",
        f"    if [[ $command == completion ]] && (( CURRENT == 3 )); then compadd {' '.join(_SHELLS)}; return; fi",
        "    case $command in",
    ]
    for name, flags in commands.items():
        lines.append(f'    "{name}") _arguments \\')
        lines += [f"        {specification} \\" for flag in flags for specification in _zsh_flag(flag)]
        lines += ["        '*::: :_files'", "        ;;"]
    lines += ["    esac", "}", '_sstpsocks "$@"']
    return "\n".join(lines) + "\n"


def _zsh_flag(flag: _Flag) -> list[str]:
    text = flag.text
    for mark in "\\[]:":
        text = text.replace(mark, f"\\{mark}")
    text = text.replace("'", "'\\''")
    end = {
        "": "",
        "file": ":file:_files",
        "profile": ":profile:_sstpsocks_profiles",
        "choice": f":value:({' '.join(flag.choices)})",
        "any": ":value: ",
    }[flag.value]
    return [f"'*{name}[{text}]{end}'" for name in flag.names]


def _fish(commands: Mapping[str, list[_Flag]]) -> str:
    known = " ".join(_COMMANDS)
    lines = [
        "# fish completion for sstpsocks; sstpsocks completion fish | source",
        "complete -c sstpsocks -f",
        f"complete -c sstpsocks -n __fish_use_subcommand -a '{known}'",
        f"complete -c sstpsocks -n '__fish_seen_subcommand_from config' -a '{' '.join(_CONFIG_ACTIONS)}'",
        f"complete -c sstpsocks -n '__fish_seen_subcommand_from completion' -a '{' '.join(_SHELLS)}'",
    ]
    others = " ".join(command for command in _COMMANDS if command != "connect")
    for name, flags in commands.items():
        first, _, second = name.partition(" ")
        condition = f"__fish_seen_subcommand_from {second or first}"
        if second:
            condition = f"__fish_seen_subcommand_from {first}; and {condition}"
        elif first == "connect":
            condition = f"not __fish_seen_subcommand_from {others}"
        elif first == "check":
            condition = f"{condition}; and not __fish_seen_subcommand_from config"
        for flag in flags:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            end = {
                "": "",
                "file": " -r -F",
                "profile": " -x -a '(sstpsocks completion profiles 2> /dev/null)'",
                "choice": f" -x -a '{' '.join(flag.choices)}'",
                "any": " -x",
            }[flag.value]
            text = flag.text.replace("\\", "\\\\").replace("'", "\\'")
            lines.append(f"complete -c sstpsocks -n '{condition}' {names}{end} -d '{text}'")
    return "\n".join(lines) + "\n"


def _each_once(commands: Mapping[str, list[_Flag]]) -> list[_Flag]:
    found: dict[tuple[str, ...], _Flag] = {}
    for flags in commands.values():
        for flag in flags:
            found.setdefault(flag.names, flag)
    return list(found.values())
