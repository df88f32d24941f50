"""Whatever token a proxy sends within NTLM or Negotiate, the log-in goes on, ends, or is the proxy's fault."""

from __future__ import annotations

from base64 import b64encode

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.errors import RemoteProtocolError
from sstpsocks.ppp.auth import Credentials
from sstpsocks.tunnel.proxy.challenge import Challenge, parse_challenges
from sstpsocks.tunnel.proxy.integrated import MAX_TOKEN, Integrated
from sstpsocks.tunnel.settings import ProxyMethod

pytest.importorskip("spnego")

SECRET = "open sesame"
CHALLENGE = b"NTLMSSP\x00\x02\x00\x00\x00"  # MS-NLMP 2.2.1.2, the fixed beginning
tokens = st.builds(
    lambda start, rest: b64encode(start + rest).decode(),
    st.sampled_from([b"", CHALLENGE, b"\xa1\x81\x20\x30"]),
    st.binary(max_size=90),
) | st.text("ABab09+/= é", max_size=30)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from([ProxyMethod.NTLM, ProxyMethod.NEGOTIATE]), st.lists(tokens, max_size=3))
def test_any_token(method: ProxyMethod, answers: list[str]) -> None:
    async def log_in() -> None:
        scheme = Integrated(method, "proxy.test", Credentials("alice", SECRET))
        said = await scheme.respond(parse_challenges([scheme.name]))
        for answer in answers:
            if said is None:
                return
            assert said.startswith(f"{scheme.name} ")
            said = await scheme.respond([Challenge(method.value, token=answer)])

    try:
        trio.run(log_in)
    except RemoteProtocolError as error:
        shown = str(error)
    else:
        shown = ""
    assert SECRET not in shown


def test_a_token_beyond_every_ticket_is_not_taken() -> None:
    async def log_in() -> None:
        scheme = Integrated(ProxyMethod.NTLM, "proxy.test", Credentials("alice", SECRET))
        await scheme.respond(parse_challenges(["NTLM"]))
        token = b64encode(bytes(MAX_TOKEN + 1)).decode()
        with pytest.raises(RemoteProtocolError, match="a token for NTLM of"):
            await scheme.respond([Challenge("ntlm", token=token)])

    trio.run(log_in)
