# SPDX-License-Identifier: Apache-2.0
"""The secure world's answers against onnxruntime's, on the emulated board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.http as triton

import undercroft as uc
from helpers import guest, onnx_nets, qdq
from helpers.suites import SUITES
from undercroft import _models
from undercroft._device import open_device
from undercroft._device.host import NoProtectionWarning
from undercroft._device.http import BoardDevice
from undercroft.errors import DeviceStateError, LicenseError, VerificationError
from undercroft.keys import DevicePublicKey

pytestmark = [pytest.mark.board, pytest.mark.timeout(1200)]

MEBI = 1 << 20


@pytest.fixture(scope="module")
def board() -> Iterator[BoardDevice]:
    guest.up()
    device = open_device(f"board:{guest.BOARD_NAME}")
    assert isinstance(device, BoardDevice)
    yield device
    device.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import onnx

    path = tmp_path_factory.mktemp("model") / "net.onnx"
    onnx.save(onnx_nets.case("mobile_network").model, path)
    return path


@pytest.fixture(scope="module")
def shipped(
    board: BoardDevice, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, bytes, bytes]:
    """A sealed file, its license, and one for another device."""
    path = tmp_path_factory.mktemp("sealed") / "net.sealed"
    key = uc.ProviderKey.generate()
    sealed = uc.seal(model, path, budget="1MiB", signing_key=key)
    keys = (
        DevicePublicKey.from_cose_key(board.device_key()),
        DevicePublicKey(bytes(range(1, 33))),
    )
    permit, other = (
        uc.issue_license(model_key=sealed.model_key, device=key_, signing_key=key)
        for key_ in keys
    )
    return path, permit, other


def test_the_board_is_a_tee(board: BoardDevice) -> None:
    info = board.info()
    assert info.kind == "op-tee"
    assert info.arena_bytes == 12 * MEBI
    assert info.build in {"development", "release"}
    assert info.version


# One of each kind that the networks below do not have, and of inputs and outputs.
SMALL = (
    "add_two_inputs",
    "arg_max_of_conv",
    "attention",
    "concat_dense_block",
    "conv_relu",
    "conv_transpose_4x4",
    "depthwise_7x7",
    "layer_norm",
    "lrn",
    "mobile_network_v3",
    "two_outputs",
)
# Bands and streamed weights; squeeze and excitation; detection with
# concatenations, enlarging and softmax. `make test-models` does all networks.
REAL = (("efficientnet-lite0", 4), ("ppocr-cls", 2), ("nudenet", 7))


@pytest.mark.parametrize("name", SMALL)
def test_small_networks(board: BoardDevice, tmp_path: Path, name: str) -> None:
    import onnx

    case = onnx_nets.case(name)
    path = tmp_path / "net.onnx"
    onnx.save(case.model, path)
    result = uc.verify(
        path, budget="2MiB", device=board, input_shapes=case.input_shapes
    )
    assert result.device == "op-tee"
    assert result.passed, result.as_dict()
    assert 0 < result.stats.secure_peak_bytes <= 2 * MEBI


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite(board: BoardDevice, model: Path, suite: str) -> None:
    result = uc.verify(model, budget="1MiB", device=board, suite=suite, seed=7)
    assert result.passed, result.as_dict()
    assert result.stats.load_decrypted_bytes > 0


def test_a_quantised_network(board: BoardDevice, tmp_path: Path) -> None:
    case = qdq.eight_bit_network()
    path = qdq.quantised_file(case, tmp_path)
    with pytest.warns(NoProtectionWarning):
        host = uc.verify(path, device="host:", seed=3, tolerance=5 / 255)
    secure = uc.verify(path, device=board, seed=3, tolerance=5 / 255)
    assert secure.passed, secure.as_dict()
    # The same integers, so the same error to the last digit.
    assert secure.max_abs_error == host.max_abs_error


@pytest.mark.models
@pytest.mark.slow
@pytest.mark.parametrize(("name", "mebi"), REAL)
def test_real_networks(board: BoardDevice, name: str, mebi: int) -> None:
    result = uc.verify(
        _models.get(name),
        budget=mebi * MEBI,
        device=board,
        input_shapes=dict(_models.info(name).input_shapes),
    )
    assert result.passed, result.as_dict()
    assert result.argmax_match
    peak, planned = result.stats.secure_peak_bytes, result.planned_bytes
    assert 0.95 * planned <= peak <= planned <= mebi * MEBI
    assert result.stats.spilled_bytes == 0


def test_the_host_engine_gives_the_boards_answer(
    board: BoardDevice, model: Path
) -> None:
    with pytest.warns(NoProtectionWarning):
        host = uc.verify(model, budget="1MiB", device="host:", seed=5)
    secure = uc.verify(model, budget="1MiB", device=board, seed=5)
    assert host.passed
    assert secure.passed
    assert host.stats.decrypted_bytes == secure.stats.decrypted_bytes
    assert host.stats.weights_bytes == secure.stats.weights_bytes


def test_a_license_for_another_device(
    board: BoardDevice, shipped: tuple[Path, bytes, bytes]
) -> None:
    path, _, other = shipped
    with pytest.raises(LicenseError, match="another device"):
        uc.InferenceSession(path, license=other, device=board)


def test_altered_bytes_and_then_the_right_answer(
    board: BoardDevice, shipped: tuple[Path, bytes, bytes], tmp_path: Path
) -> None:
    path, permit, _ = shipped
    data = path.read_bytes()
    generator = np.random.default_rng(7)
    header_bytes = 16 + int.from_bytes(data[12:16], "little")
    for offset in generator.integers(header_bytes, len(data), 4):
        altered = bytearray(data)
        altered[offset] ^= 1 << int(generator.integers(8))
        bad = tmp_path / "altered.sealed"
        bad.write_bytes(altered)
        with (
            pytest.raises(VerificationError),
            uc.InferenceSession(
                bad, license=permit, device=board, keep_on_device=False
            ) as session,
        ):
            session.run(None, feed(session))
    with uc.InferenceSession(path, license=permit, device=board) as session:
        first = session.run(None, feed(session))
        again = session.run(None, feed(session))
        assert np.array_equal(first[0], again[0])


def test_a_closed_session(
    board: BoardDevice, shipped: tuple[Path, bytes, bytes]
) -> None:
    path, permit, _ = shipped
    free = board.info().free_bytes
    session = uc.InferenceSession(path, license=permit, device=board)
    assert board.info().free_bytes < free
    session.close()
    assert board.info().free_bytes == free
    with pytest.raises(DeviceStateError):
        session.run(None, feed(session))


def test_tritonclient_talks_to_the_board(
    board: BoardDevice, shipped: tuple[Path, bytes, bytes]
) -> None:
    path, permit, _ = shipped
    connection = board._connection
    own = "/v2/undercroft/models/triton-net"
    connection.json("PUT", f"{own}/sealed", body=path.read_bytes())
    connection.json("PUT", f"{own}/license", body=permit)
    with uc.InferenceSession(path, license=permit, device=board) as session:
        given = feed(session)
        expected = session.run(None, given)[0]
        (name, array), output = *given.items(), session.get_outputs()[0].name
    client = triton.InferenceServerClient(
        connection._uri.removeprefix("http://"), network_timeout=300
    )
    client.load_model("triton-net")
    tensor = triton.InferInput(name, list(array.shape), "FP32")
    tensor.set_data_from_numpy(array)
    result = client.infer("triton-net", [tensor])
    assert np.array_equal(result.as_numpy(output), expected)
    client.unload_model("triton-net")
    connection.json("DELETE", own)


def feed(session: uc.InferenceSession) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {
        info.name: generator.standard_normal(info.shape, dtype=np.float32)
        for info in session.get_inputs()
    }
