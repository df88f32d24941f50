"""The files of examples/ for deployment: each is read by what it is for, or a parser, and its commands by our own."""

from __future__ import annotations

import configparser
import json
import plistlib
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sstpsocks.app.cli.parser import parse_connect, split_command
from sstpsocks.app.cli.run import run_parser, split_run
from sstpsocks.app.layers import environment_layer, flag_layer
from sstpsocks.app.options import BY_KEY

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
UNITS = ["systemd/sstpsocks.service", "systemd/user/sstpsocks.service", "systemd/sstpsocks.socket"]


def text_of(name: str) -> str:
    return (EXAMPLES / name).read_text(encoding="utf-8")


def check_command(line: str | list[str]) -> None:
    """Have our own parser read a command line; raises when it does not know something in it."""
    words = shlex.split(line) if isinstance(line, str) else line
    if words and Path(words[0]).name in ("sstpsocks", "sstpsocks.exe"):
        words = words[1:]
    command, arguments, explicit = split_command(words)
    if command == "run":
        own, inner = split_run(arguments)
        assert inner
        run_parser().parse_args(own)
        return
    assert command == "connect", words
    flag_layer(parse_connect(arguments, explicit=explicit))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # configparser's way to keep capitals
    parser.read_string(text_of(name))
    return parser


def settings_of(node: Any, key: str) -> Iterator[Any]:
    """Yield what stands under a key, wherever it is."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from settings_of(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from settings_of(value, key)


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(Exception, match="there is no option --no-such-option"):
        check_command("sstpsocks vpn.example.org --no-such-option")


@pytest.mark.parametrize("name", UNITS[:2])
def test_systemd_starts_what_we_understand(name: str) -> None:
    service = unit(name)["Service"]
    check_command(service["ExecStart"].replace("%d", "/run/credentials/x").replace("%h", "/home/alice"))
    assert service["Type"] == "notify"
    # A refused password, certificate or configuration must not be tried again and again.
    assert service["RestartPreventExitStatus"].split() == ["2", "4", "5"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in UNITS:
        folder = tmp_path / Path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        # What is started is not installed here.
        (tmp_path / name).write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", text_of(name)))
    system = [str(tmp_path / name) for name in (UNITS[0], UNITS[2])]
    for command in (["verify", *system], ["--user", "verify", str(tmp_path / UNITS[1])]):
        result = subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, check=False)
        assert not [line for line in result.stderr.splitlines() if str(tmp_path) in line], result.stderr


def test_the_container_starts_what_we_understand_without_root() -> None:
    text = text_of("container/Containerfile").replace("\\\n", " ")
    lines = dict(line.partition(" ")[::2] for line in text.splitlines() if line and not line.startswith("#"))
    assert lines["USER"].partition(":")[0] not in ("", "0", "root")
    assert json.loads(lines["ENTRYPOINT"]) == ["sstpsocks"]
    assert json.loads(lines["HEALTHCHECK"].partition("CMD ")[2])[0] == "python"
    variables = dict(word.partition("=")[::2] for word in shlex.split(lines["ENV"]))
    keys = {name.removeprefix("SSTPSOCKS_").lower() for name in variables}
    assert keys <= BY_KEY.keys()
    assert environment_layer(variables).keys() == keys


@pytest.mark.parametrize("name", ["kubernetes/sidecar.yaml", "kubernetes/team.yaml"])
def test_kubernetes_starts_what_we_understand_without_rights(name: str) -> None:
    documents = list(yaml.safe_load_all(text_of(name)))
    assert all({"apiVersion", "kind", "metadata"} <= document.keys() for document in documents)
    containers = [each for many in settings_of(documents, "containers") for each in many]
    ours = [container for container in containers if "sstpsocks" in container["image"]]
    assert len(ours) == 1
    for container in ours:
        check_command(["sstpsocks", *container["args"]])
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        for variable in container.get("env", []):
            assert variable["name"].removeprefix("SSTPSOCKS_").lower() in BY_KEY
    assert list(settings_of(documents, "runAsNonRoot")) == [True]
    # A secret that others can read is refused.
    assert [secret["defaultMode"] for secret in settings_of(documents, "secret")] == [0o440]


def test_the_service_of_the_team_finds_its_pods() -> None:
    deployment, service = yaml.safe_load_all(text_of("kubernetes/team.yaml"))
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {port["targetPort"] for port in service["spec"]["ports"]} <= {port["name"] for port in container["ports"]}
    assert any(argument.startswith("--socks-user") for argument in container["args"])


def test_haproxy_s_comments_hold_commands_that_we_understand() -> None:
    # The status port answers nobody who does not say whom he asks, and HAProxy does not by itself.
    assert re.search(r"^ +http-check send .* uri /readyz .* hdr Host localhost", text_of("haproxy.cfg"), re.MULTILINE)
    commands = re.findall(r"^#   (sstpsocks .*)$", text_of("haproxy.cfg"), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        check_command(command)


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed")
def test_haproxy_takes_its_configuration() -> None:
    found = subprocess.run(
        ["haproxy", "-c", "-f", str(EXAMPLES / "haproxy.cfg")], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_jobs_run_what_we_understand(name: str) -> None:
    document = yaml.safe_load(text_of(name))
    scripts = [*settings_of(document, "run"), *(line for many in settings_of(document, "script") for line in many)]
    commands = [line for line in scripts if line.startswith("sstpsocks ")]
    assert commands
    for command in commands:
        check_command(command)


def test_launchd_starts_what_we_understand() -> None:
    document = plistlib.loads(text_of("desktop/org.sstpsocks.plist").encode())
    check_command(document["ProgramArguments"])
    assert document["Umask"] == 0o077


def test_windows_starts_what_we_understand_without_rights() -> None:
    # Our own file, not a stranger's.
    task = ET.fromstring(text_of("desktop/windows-task.xml").encode())  # noqa: S314
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    check_command(["sstpsocks.exe", *shlex.split(next(task.iter(f"{space}Arguments")).text or "")])
    assert next(task.iter(f"{space}RunLevel")).text == "LeastPrivilege"


@pytest.mark.skipif(shutil.which("ssh") is None, reason="ssh is not installed")
def test_ssh_takes_its_configuration() -> None:
    for host, word in (("db.corp.example.org", "nc -X 5 -x 127.0.0.1:1080"), ("a.lab.example.org", "sstpsocks")):
        command = ["ssh", "-G", "-F", str(EXAMPLES / "desktop" / "ssh_config"), host]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        (proxy,) = re.findall(r"^proxycommand (.*)$", found, re.MULTILINE)
        assert word in proxy
    check_command(proxy.replace("%h:%p", "a.lab.example.org:22"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_takes_its_configuration() -> None:
    command = ["git", "config", "-f", str(EXAMPLES / "desktop" / "gitconfig"), "--get-urlmatch", "http.proxy"]
    for url, proxy in (
        ("https://git.corp.example.org/a.git", "socks5h://127.0.0.1:1080\n"),
        ("https://other.org/", ""),
    ):
        assert subprocess.run([*command, url], capture_output=True, text=True, check=False).stdout == proxy


def test_the_browser_s_policy_is_json_and_names_our_page() -> None:
    policy = json.loads(text_of("desktop/chromium-policy.json"))
    assert policy["ProxySettings"]["ProxyPacUrl"].endswith("/proxy.pac")
