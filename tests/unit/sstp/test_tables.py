"""The state tables are total and say what MS-SSTP 3.2.5.3 and 3.3.5.2 say."""

from __future__ import annotations

import pytest

from sstpsocks.sstp.client import SstpClient
from sstpsocks.sstp.machine import SstpMachine
from sstpsocks.sstp.packet import MessageType
from sstpsocks.sstp.server import SstpServer
from sstpsocks.sstp.states import ENDING, FINAL, NOT_STARTED, Reaction, State

from .playbook import client_machine, server_machine

ROLES = [pytest.param(client_machine(), "CLIENT", id="client"), pytest.param(server_machine(), "SERVER", id="server")]


@pytest.mark.parametrize(("machine", "role"), ROLES)
def test_every_state_of_the_role_says_what_every_message_does(machine: SstpMachine, role: str) -> None:
    of_the_role = {state for state in State if state.name.startswith(role)}
    assert set(machine.TABLE) == of_the_role | ENDING
    for state, row in machine.TABLE.items():
        assert set(row) == set(MessageType), state


@pytest.mark.parametrize(("machine", "role"), ROLES)
def test_every_reaction_of_the_table_can_be_carried_out(machine: SstpMachine, role: str) -> None:
    used = {reaction for row in machine.TABLE.values() for reaction in row.values()}
    assert used <= set(machine._reactions)


def test_every_reaction_is_used_by_some_table() -> None:
    tables = (SstpClient.TABLE, SstpServer.TABLE)
    used = {reaction for table in tables for row in table.values() for reaction in row.values()}
    assert used == set(Reaction)


def test_all_states_belong_to_somebody() -> None:
    assert set(SstpClient.TABLE) | set(SstpServer.TABLE) | FINAL == set(State)
    assert {State.CLIENT_CALL_DISCONNECTED, State.SERVER_CALL_DISCONNECTED} == NOT_STARTED


@pytest.mark.parametrize("table", [SstpClient.TABLE, SstpServer.TABLE], ids=["client", "server"])
def test_a_disconnect_is_acknowledged_in_every_state(table: dict[State, dict[MessageType, Reaction]]) -> None:
    acknowledging = {Reaction.ANSWER_DISCONNECT, Reaction.ACKNOWLEDGE}
    assert {row[MessageType.CALL_DISCONNECT] for row in table.values()} == acknowledging


@pytest.mark.parametrize("table", [SstpClient.TABLE, SstpServer.TABLE], ids=["client", "server"])
def test_an_echo_is_answered_in_every_live_state_and_only_there(
    table: dict[State, dict[MessageType, Reaction]],
) -> None:
    for state, row in table.items():
        expected = Reaction.IGNORE if state in ENDING else Reaction.ANSWER_ECHO
        assert row[MessageType.ECHO_REQUEST] is expected
