# SPDX-License-Identifier: Apache-2.0
"""Private inputs and outputs, from an asker through agent and client to the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from tritonclient.utils import InferenceServerException

import undercroft as uc
from helpers import onnx_nets
from helpers.agents import running_agent
from helpers.suites import SUITES
from undercroft._device.client import ModelClient
from undercroft._device.connection import AgentConnection
from undercroft._device.host import HostDevice, HostInvoker
from undercroft._device.http import HttpDevice
from undercroft._device.invoker import Reply
from undercroft._device.parcel import PageFile
from undercroft._spec import (
    FEATURE_SEALED_INPUT,
    FEATURE_SEALED_OUTPUT,
    QUESTION_BYTES,
    Command,
    Status,
)
from undercroft.errors import (
    DeviceError,
    FormatError,
    InputError,
    LicenseError,
    VerificationError,
)
from undercroft.keys import DevicePublicKey
from undercroft.private import Asker, Question

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings("ignore::undercroft._device.host.NoProtectionWarning"),
]

Array = np.ndarray[Any, np.dtype[Any]]
BOTH = FEATURE_SEALED_INPUT | FEATURE_SEALED_OUTPUT
SECRET = bytes(range(1, 33))
KEY = DevicePublicKey(
    X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
)
OTHER_KEY = DevicePublicKey(
    X25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
)


@dataclass(frozen=True)
class Goods:
    """A sealed network, its asker, its input, and the answer to it in plain."""

    provider: uc.ProviderKey
    model_key: uc.ModelKey
    sealed: Path
    feed: dict[str, Array]
    expected: list[Array]

    @property
    def asker(self) -> Asker:
        return Asker.of_model(self.sealed, device=KEY, provider=self.provider.public())

    def license(self, features: int | None = None, **terms: Any) -> bytes:
        return uc.issue_license(
            model_key=self.model_key,
            device=KEY,
            signing_key=self.provider,
            terms=uc.LicenseTerms(features=features, **terms),
        )


@pytest.fixture(scope="module")
def device() -> Iterator[HostDevice]:
    device = HostDevice("host:?arena=4MiB", private_key=SECRET)
    yield device
    device.close()


def make_goods(
    device: HostDevice,
    folder: Path,
    suite: str = "aes-256-gcm",
    case: onnx_nets.Case | None = None,
) -> Goods:
    case = case or onnx_nets.case("mobile_network")
    feed = onnx_nets.random_inputs(case)
    provider = uc.ProviderKey.generate()
    plan = uc.plan(case.model, budget="1MiB", page_bytes=4096, suite=suite)
    path = folder / f"{suite}.sealed"
    sealed = uc.seal(case.model, path, plan=plan, signing_key=provider)
    goods = Goods(provider, sealed.model_key, path, feed, [])
    with uc.InferenceSession(path, license=goods.license(), device=device) as session:
        goods.expected.extend(session.run(None, feed))
    return goods


@pytest.fixture(scope="module")
def goods(device: HostDevice, tmp_path_factory: pytest.TempPathFactory) -> Goods:
    return make_goods(device, tmp_path_factory.mktemp("goods"))


def assert_right(outputs: list[Array], goods: Goods) -> None:
    """To the bit: sealing changes nothing of the computing."""
    assert len(outputs) == len(goods.expected)
    for got, want in zip(outputs, goods.expected, strict=True):
        assert got.dtype == want.dtype
        assert np.array_equal(got, want)


# ---- a session that is the asker ----


@pytest.mark.parametrize("suite", SUITES)
def test_a_private_session_gives_the_same_answer(
    device: HostDevice, tmp_path: Path, suite: str
) -> None:
    goods = make_goods(device, tmp_path, suite)
    with uc.InferenceSession(
        goods.sealed, license=goods.license(BOTH), device=device, private=True
    ) as session:
        for _ in range(2):
            assert_right(session.run(None, goods.feed), goods)
        assert session.last_stats is not None
        with pytest.raises(InputError, match="missing input"):
            session.run(None, {})


def test_a_license_that_another_key_answers_to(
    device: HostDevice, goods: Goods
) -> None:
    """What a hostile agent does: it sends a key of its own."""

    class Impostor(HostDevice):
        def device_key(self) -> bytes:
            return OTHER_KEY.to_cose_key()

    impostor = Impostor("host:?arena=4MiB", private_key=SECRET)
    with pytest.raises(VerificationError, match="not the one that the license"):
        uc.InferenceSession(
            goods.sealed, license=goods.license(), device=impostor, private=True
        )
    forged = bytearray(goods.license())
    forged[-1] ^= 1
    with pytest.raises(VerificationError, match="license"):
        uc.InferenceSession(
            goods.sealed, license=bytes(forged), device=device, private=True
        )
    impostor.close()


# ---- what the license asks for ----


@pytest.mark.parametrize(
    "features", [FEATURE_SEALED_INPUT, FEATURE_SEALED_OUTPUT, BOTH]
)
def test_a_plain_inference_where_a_sealed_one_is_due(
    device: HostDevice, goods: Goods, features: int
) -> None:
    permit = goods.license(features, max_inferences=1)
    with uc.InferenceSession(goods.sealed, license=permit, device=device) as session:
        with pytest.raises(LicenseError, match="sealed") as caught:
            session.run(None, goods.feed)
        assert caught.value.status == Status.SEALED_IO_NEEDED
        assert caught.value.detail == features
        assert "--private" in caught.value.hint
        # What was refused did not count.
        answer, _ = session.ask(goods.asker.ask(goods.feed).data)
        assert answer
        with pytest.raises(LicenseError, match="used up"):
            session.ask(goods.asker.ask(goods.feed).data)


def test_half_of_what_the_license_asks_for(device: HostDevice, goods: Goods) -> None:
    with uc.InferenceSession(
        goods.sealed, license=goods.license(BOTH), device=device
    ) as session:
        inputs_alone = goods.asker.ask(goods.feed, seal_outputs=False)
        with pytest.raises(LicenseError) as caught:
            session.ask(inputs_alone.data)
        assert caught.value.detail == FEATURE_SEALED_OUTPUT
        outputs_alone = goods.asker.ask(None, seal_inputs=False)
        with pytest.raises(LicenseError) as caught:
            session.ask(outputs_alone.data, goods.feed)
        assert caught.value.detail == FEATURE_SEALED_INPUT


# ---- questions that come from elsewhere ----


@pytest.fixture(scope="module", params=["device", "agent"])
def session(
    request: pytest.FixtureRequest,
    device: HostDevice,
    goods: Goods,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[uc.InferenceSession]:
    """A session in the device's normal world, or one that reaches it by HTTP."""
    if request.param == "device":
        with uc.InferenceSession(
            goods.sealed, license=goods.license(), device=device
        ) as session:
            yield session
        return
    served = HostDevice("host:?arena=4MiB", private_key=SECRET)
    with (
        running_agent(served, tmp_path_factory.mktemp("agent")) as url,
        uc.InferenceSession(
            goods.sealed, license=goods.license(), device=url
        ) as session,
    ):
        yield session


def test_everything_sealed(session: uc.InferenceSession, goods: Goods) -> None:
    question = goods.asker.ask(goods.feed)
    answer, outputs = session.ask(question.data)
    assert outputs == []
    assert_right(question.open(answer), goods)
    for array in (*goods.feed.values(), *goods.expected):
        assert array.tobytes()[:16] not in question.data + answer


def test_inputs_alone(session: uc.InferenceSession, goods: Goods) -> None:
    question = goods.asker.ask(goods.feed, seal_outputs=False)
    answer, outputs = session.ask(question.data)
    assert answer == b""
    assert_right(outputs, goods)


def test_outputs_alone(session: uc.InferenceSession, goods: Goods) -> None:
    question = goods.asker.ask(None, seal_inputs=False)
    assert len(question.data) == QUESTION_BYTES
    answer, _ = session.ask(question.data, goods.feed)
    assert_right(question.open(answer), goods)


def test_a_question_is_answered_again_under_another_key(
    session: uc.InferenceSession, goods: Goods
) -> None:
    """Who replays it gets nothing; the asker can read either answer."""
    question = goods.asker.ask(goods.feed)
    first, _ = session.ask(question.data)
    second, _ = session.ask(question.data)
    assert first != second
    assert_right(question.open(first), goods)
    assert_right(question.open(second), goods)
    other = goods.asker.ask(goods.feed)
    with pytest.raises(VerificationError, match="not the answer to this question"):
        other.open(first)


def test_questions_that_are_refused_and_the_next_is_answered(
    session: uc.InferenceSession, goods: Goods
) -> None:
    asker = goods.asker
    good = asker.ask(goods.feed)
    stranger = Asker(OTHER_KEY, asker.header_bytes, asker.header)
    header = bytearray(asker.header_bytes)
    header[-1] ^= 1
    elsewhere = Asker(KEY, bytes(header), asker.header)
    changed = [bytearray(good.data) for _ in range(4)]
    for data, place in zip(changed, (0, 4, QUESTION_BYTES - 1, -1), strict=True):
        data[place] ^= 1
    refused: list[tuple[bytes, type[Exception]]] = [
        (stranger.ask(goods.feed).data, VerificationError),
        (elsewhere.ask(goods.feed).data, VerificationError),
        # Without its lowest flag it is one whose inputs are not sealed.
        (bytes(changed[0]), FormatError),
        (bytes(changed[1]), VerificationError),
        (bytes(changed[2]), VerificationError),
        (bytes(changed[3]), VerificationError),
        (good.data[:-1], FormatError),
        (good.data + b"\0", FormatError),
        (good.data[:3], FormatError),
        (b"", FormatError),
    ]
    for data, error in refused:
        with pytest.raises(error) as caught:
            session.ask(data)
        assert type(caught.value) is error
    with pytest.raises(InputError, match="beside it"):
        session.ask(good.data, goods.feed)
    with pytest.raises(InputError):
        session.ask(asker.ask(None, seal_inputs=False).data)
    answer, _ = session.ask(good.data)
    assert_right(good.open(answer), goods)
    assert_right(session.run(None, goods.feed), goods)


# ---- the asker by itself ----


def test_an_asker_from_a_header(goods: Goods) -> None:
    header = goods.asker.header_bytes
    asker = Asker.of_header(header, device=KEY, provider=goods.provider.public())
    assert asker == goods.asker
    other = uc.ProviderKey.generate().public()
    with pytest.raises(VerificationError, match="another provider"):
        Asker.of_header(header, device=KEY, provider=other)
    with pytest.raises(VerificationError):
        Asker.of_header(header[:-1] + b"\0", device=KEY)
    with pytest.raises(FormatError):
        Asker.of_header(header + b"\0", device=KEY)


def test_what_an_asker_refuses(goods: Goods) -> None:
    asker = goods.asker
    with pytest.raises(InputError, match="nothing to seal"):
        asker.ask(None, seal_inputs=False, seal_outputs=False)
    with pytest.raises(InputError, match="only then"):
        asker.ask(None)
    with pytest.raises(InputError, match="only then"):
        asker.ask(goods.feed, seal_inputs=False)
    with pytest.raises(InputError, match="expected float32"):
        asker.ask({name: array[:, :1] for name, array in goods.feed.items()})
    low_order = Asker(DevicePublicKey(bytes(32)), asker.header_bytes, asker.header)
    with pytest.raises(VerificationError, match="cannot be encrypted to"):
        low_order.ask(goods.feed)


@pytest.mark.parametrize("cut", [0, 1, 31, 32, -1])
def test_an_answer_of_another_length(goods: Goods, cut: int) -> None:
    question = goods.asker.ask(goods.feed)
    with pytest.raises(FormatError, match="answer"):
        question.open(bytes(96)[:cut])


# ---- the client ----


@dataclass
class SmallSteps:
    """An invoker with room for one sealed page, that notes what it is asked."""

    inner: HostInvoker
    seen: list[tuple[Command, tuple[int, int], int]] = field(default_factory=list)

    @property
    def buffer(self) -> memoryview:
        return self.inner.buffer[:20_000]

    @property
    def invocations(self) -> int:
        return self.inner.invocations

    def keep(self, file: PageFile, pages: range, step: int) -> int:
        return self.inner.keep(file, pages, step)

    def invoke(self, command: Command, **more: Any) -> Reply:
        size = more.get("buffer_bytes") or more.get("output_bytes") or 0
        self.seen.append((command, more.get("values", (0, 0)), size))
        return self.inner.invoke(command, **more)

    def close(self) -> None:
        self.inner.close()


def test_pages_go_one_by_one_where_there_is_little_room(
    device: HostDevice, tmp_path: Path
) -> None:
    net = onnx_nets.Net("two_large_inputs")
    a, b = net.input(1, 3, 67, 61, name="a"), net.input(1, 3, 67, 61, name="b")
    goods = make_goods(device, tmp_path, case=net.case(net.add(a, b)))
    invoker = SmallSteps(device.open())
    model = ModelClient(invoker, goods.sealed, goods.license())
    question = goods.asker.ask(goods.feed)
    answer, _ = model.ask(question.data)
    assert_right(question.open(answer.sealed), goods)
    # 49044 bytes are two whole pages and one of 16276, padded to 16288.
    pages = [(0, 16400), (4096, 16400), (8192, 16304)]
    for command, tensors in ((Command.INPUT, 2), (Command.OUTPUT, 1)):
        steps = [step[1:] for step in invoker.seen if step[0] == command]
        assert steps == [
            ((index, first), size) for index in range(tensors) for first, size in pages
        ]
    model.close()


# ---- somebody else's client ----


def triton_question(question: Question) -> triton.InferInput:
    given = triton.InferInput("undercroft_question", [len(question.data)], "UINT8")
    given.set_data_from_numpy(np.frombuffer(question.data, np.uint8))
    return given


def test_triton_carries_questions_and_answers(
    goods: Goods, tmp_path: Path, device: HostDevice
) -> None:
    served = HostDevice("host:?arena=4MiB", private_key=SECRET)
    with running_agent(served, tmp_path) as url:
        connection = HttpDevice(url)._connection
        own = "/v2/undercroft/models/net"
        connection.json("PUT", f"{own}/sealed", body=goods.sealed.read_bytes())
        connection.json("PUT", f"{own}/license", body=goods.license(BOTH))
        header, _ = connection.ask("GET", f"{own}/header")
        asker = Asker.of_header(header, device=KEY, provider=goods.provider.public())
        client = triton.InferenceServerClient(url.removeprefix("http://"))
        client.load_model("net")
        question = asker.ask(goods.feed)
        for wanted in (None, [triton.InferRequestedOutput("undercroft_answer")]):
            answer = client.infer("net", [triton_question(question)], outputs=wanted)
            sealed = answer.as_numpy("undercroft_answer").tobytes()
            assert_right(question.open(sealed), goods)
        plain = [
            triton.InferInput(name, list(array.shape), "FP32")
            for name, array in goods.feed.items()
        ]
        for given, array in zip(plain, goods.feed.values(), strict=True):
            given.set_data_from_numpy(array)
        with pytest.raises(InferenceServerException, match="sealed inputs"):
            client.infer("net", plain)
        with pytest.raises(InferenceServerException, match="beside it"):
            client.infer("net", [*plain, triton_question(question)])
        with pytest.raises(InferenceServerException, match="no output 'scores'"):
            client.infer(
                "net",
                [triton_question(question)],
                outputs=[triton.InferRequestedOutput("scores")],
            )


def test_questions_and_answers_in_json(goods: Goods, tmp_path: Path) -> None:
    served = HostDevice("host:?arena=4MiB", private_key=SECRET)
    with (
        running_agent(served, tmp_path) as url,
        uc.InferenceSession(
            goods.sealed, license=goods.license(), device=url
        ) as session,
    ):
        question = goods.asker.ask(goods.feed)

        def infer(**changes: Any) -> Any:
            tensor = {
                "name": "undercroft_question",
                "datatype": "UINT8",
                "shape": [len(question.data)],
                "data": list(question.data),
                **changes,
            }
            return ask_in_json(HttpDevice(url)._connection, session._model.name, tensor)

        (output,) = infer()["outputs"]
        assert output["name"] == "undercroft_answer"
        assert output["datatype"] == "UINT8"
        assert_right(question.open(bytes(output["data"])), goods)
        for changes in (
            {"datatype": "FP32"},
            {"datatype": "INT8"},
            {"shape": [len(question.data) + 1]},
            {"shape": None},
            {"data": [256]},
            {"data": ["1"]},
            {"data": 10**12},
            {"data": None},
            {"parameters": {"binary_data_size": 5}},
            {"parameters": {"binary_data_size": -1}},
            {"parameters": {"binary_data_size": "5"}},
        ):
            with pytest.raises((InputError, DeviceError)):
                infer(**changes)


def ask_in_json(connection: AgentConnection, name: str, tensor: dict[str, Any]) -> Any:
    import json

    body = json.dumps({"inputs": [tensor]}).encode()
    return connection.json("POST", f"/v2/models/{name}/infer", body=body)
