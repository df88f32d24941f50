"""A look at what a PPP server offers, which never gets as far as a log-in."""

from __future__ import annotations

import pytest

from sstpsocks.ppp.auth import AuthMethod
from sstpsocks.ppp.auth_option import EAP_VALUE, OPTION_VALUES
from sstpsocks.ppp.lcp import LcpOption
from sstpsocks.ppp.packet import (
    PROTOCOL_LCP,
    Code,
    ControlPacket,
    Option,
    build_frame,
    options_to_bytes,
    parse_frame,
    parse_options,
)
from sstpsocks.ppp.survey import LcpSurvey

MSCHAPV2, PAP = OPTION_VALUES[AuthMethod.MSCHAPV2], OPTION_VALUES[AuthMethod.PAP]


def frame(code: Code, identifier: int, *options: Option) -> bytes:
    return build_frame(PROTOCOL_LCP, ControlPacket(code, identifier, options_to_bytes(options)).to_bytes())


def demand(value: bytes, identifier: int = 1) -> bytes:
    mru = Option(LcpOption.MRU, (1400).to_bytes(2, "big"))
    return frame(Code.CONFIGURE_REQUEST, identifier, mru, Option(LcpOption.AUTHENTICATION, value))


def sent(survey: LcpSurvey) -> list[ControlPacket]:
    packets = []
    for each in survey.frames_to_send():
        protocol, offset = parse_frame(each)
        assert protocol == PROTOCOL_LCP
        packets.append(ControlPacket.parse(each[offset:]))
    return packets


def opened() -> LcpSurvey:
    survey = LcpSurvey(1400)
    survey.start()
    (request,) = sent(survey)
    assert request.code == Code.CONFIGURE_REQUEST
    return survey


def suggested(survey: LcpSurvey) -> bytes:
    (nak,) = sent(survey)
    assert nak.code == Code.CONFIGURE_NAK
    (option,) = parse_options(nak.data)
    return option.value


def test_it_suggests_what_the_server_has_not_asked_for_and_never_agrees() -> None:
    survey = opened()
    survey.receive_frame(demand(EAP_VALUE))
    assert suggested(survey) == MSCHAPV2
    survey.receive_frame(demand(MSCHAPV2, 2))
    assert suggested(survey) == OPTION_VALUES[AuthMethod.CHAP_MD5]
    survey.receive_frame(demand(PAP, 3))
    assert survey.done
    assert sent(survey) == []
    assert survey.methods == ("EAP", "mschapv2", "pap")
    assert survey.mru == 1400


def test_a_server_that_insists_is_asked_for_each_method_once() -> None:
    survey = opened()
    for identifier in range(1, 5):
        survey.receive_frame(demand(MSCHAPV2, identifier))
    assert survey.done
    assert len(sent(survey)) == 3
    assert survey.methods == ("mschapv2",)


def test_a_server_without_authentication_is_not_agreed_with_either() -> None:
    survey = opened()
    survey.receive_frame(frame(Code.CONFIGURE_REQUEST, 1))
    assert survey.asks_for_none
    assert survey.done
    assert sent(survey) == []


def test_a_server_that_gives_up_is_answered_in_order() -> None:
    survey = opened()
    survey.receive_frame(demand(PAP))
    sent(survey)
    survey.receive_frame(frame(Code.TERMINATE_REQUEST, 9))
    (answer,) = sent(survey)
    assert (answer.code, answer.identifier) == (Code.TERMINATE_ACK, 9)
    assert survey.ended
    assert survey.gave_up
    survey.close()
    assert sent(survey) == []


def test_it_ends_with_a_terminate_request() -> None:
    survey = opened()
    survey.close()
    assert [packet.code for packet in sent(survey)] == [Code.TERMINATE_REQUEST]
    survey.receive_frame(frame(Code.TERMINATE_ACK, 2))
    assert survey.ended
    assert not survey.gave_up


def test_a_server_that_rejects_our_mru_is_asked_without_it() -> None:
    survey = opened()
    survey.receive_frame(frame(Code.CONFIGURE_REJECT, 1, Option(LcpOption.MRU, b"\x05\x78")))
    (request,) = sent(survey)
    assert (request.code, request.data) == (Code.CONFIGURE_REQUEST, b"")


@pytest.mark.parametrize("junk", [b"", b"\xff\x03", b"\xff\x03\xc0\x21\x01", b"\xff\x03\xc0\x21\x01\x01\x00\x05\x03"])
def test_what_cannot_be_read_is_dropped(junk: bytes) -> None:
    survey = opened()
    survey.receive_frame(junk)
    assert not survey.done
    assert sent(survey) == []
