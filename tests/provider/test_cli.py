# SPDX-License-Identifier: Apache-2.0
"""`undercroft provider` as people call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner, Result

from helpers.license_service import (
    ACME,
    MODEL,
    PROVIDER,
    ServiceFolder,
    running_service,
)
from undercroft._cli import main
from undercroft._cli._common import TERM_NAMES, terms_options
from undercroft._provider.config import Config
from undercroft.errors import (
    EnvironmentMissingError,
    Error,
    FileAccessError,
    FormatError,
    InputError,
)
from undercroft.factory import save_certificate
from undercroft.keys import ModelKey


@pytest.fixture
def provider(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Run a subcommand in a folder with a provider key; errors of ours are raised."""
    monkeypatch.chdir(tmp_path)
    PROVIDER.save(tmp_path / "provider.pem")
    MODEL.save(tmp_path / "model.key")

    def run(*arguments: str) -> Result:
        done = CliRunner().invoke(main, ["provider", *arguments])
        if isinstance(done.exception, Error):
            raise done.exception
        return done

    return run


def init(provider: Callable[..., Result], *more: str) -> Result:
    done = provider("init", "--key", "provider.pem", "--allow-development", *more)
    assert done.exit_code == 0, done.output
    return done


def test_a_service_from_nothing(provider, tmp_path) -> None:
    facts = json.loads(init(provider, "--json").stdout)
    assert facts["provider_key_id"] == PROVIDER.key_id.hex()
    folder = tmp_path / "provider"
    for path, mode in (
        (folder, 0o700),
        (folder / "model-keys", 0o700),
        (folder / "provider.toml", 0o600),
        (folder / "provider.db", 0o600),
    ):
        assert path.stat().st_mode & 0o777 == mode, path

    row = json.loads(
        provider("model", "add", "model.key", "--name", "m", "--json").stdout
    )
    assert row == {"model_id": MODEL.model_id.hex(), "name": "m"}
    assert provider("model", "add", "model.key", "--name", "m").exit_code == 0
    kept = folder / "model-keys" / f"{MODEL.model_id.hex()}.key"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert ModelKey.load(kept) == MODEL
    assert " m" in provider("model", "list").output

    made = json.loads(
        provider(
            *("api-key", "create", "station", "--scope", "read", "--scope", "issue"),
            *("--expires", "90d", "--rate", "5/1m", "--json"),
        ).stdout
    )
    assert made["scopes"] == ["read", "issue"]
    listed = provider("api-key", "list")
    assert made["key_id"] in listed.output
    assert "active" in listed.output
    assert made["api_key"].split("_", 2)[2] not in listed.output

    config = ServiceFolder(folder / "provider.toml", made["api_key"])
    with running_service(config) as url:
        answer = httpx.get(f"{url}/v1/models", headers=config.headers, timeout=60)
        assert [item["name"] for item in answer.json()["items"]] == ["m"]
        provider("api-key", "revoke", made["key_id"])
        answer = httpx.get(f"{url}/v1/models", headers=config.headers, timeout=60)
        assert answer.status_code == 401
    assert "revoked" in provider("api-key", "list").output
    assert "already" in provider("migrate").output


def test_what_is_wrong_with_the_files_is_said_with_what_mends_it(
    provider, tmp_path
) -> None:
    config = tmp_path / "provider" / "provider.toml"
    with pytest.raises(FileAccessError):
        provider("serve")
    (tmp_path / "provider.pem").chmod(0o644)
    with pytest.raises(FileAccessError) as caught:
        init(provider)
    assert caught.value.hint == f"chmod 600 {tmp_path}/provider.pem"
    assert not config.exists()
    (tmp_path / "provider.pem").chmod(0o600)
    init(provider)
    with pytest.raises(FileAccessError, match="exists already"):
        init(provider)

    provider("model", "add", "model.key", "--name", "m")
    key = tmp_path / "provider" / "model-keys" / f"{MODEL.model_id.hex()}.key"
    for path in (config, tmp_path / "provider" / "provider.db", key):
        path.chmod(0o640)
        with pytest.raises(FileAccessError) as caught:
            provider("serve", "--port", "0")
        assert caught.value.hint.startswith("chmod 600 ")
        assert caught.value.hint.endswith(path.name)
        path.chmod(0o600)
    key.rename(key.with_suffix(".gone"))
    with pytest.raises(FileAccessError, match="cannot be read"):
        provider("serve", "--port", "0")


def test_keys_of_the_wrong_kind(provider, tmp_path) -> None:
    with pytest.raises(FormatError, match="private key"):
        provider("init", "--key", "model.key")
    init(provider)
    with pytest.raises(FormatError, match="is not a model key"):
        provider("model", "add", "provider.pem", "--name", "m")
    provider("model", "add", "model.key", "--name", "m")
    other = ModelKey(MODEL.model_id, bytes(32))
    other.save(tmp_path / "other.key")
    with pytest.raises(InputError, match="another key for this model"):
        provider("model", "add", "other.key", "--name", "m")
    ModelKey.generate().save(tmp_path / "new.key")
    with pytest.raises(InputError, match="there is 'm'"):
        provider("model", "add", "new.key", "--name", "m")
    with pytest.raises(InputError, match="printable"):
        provider("model", "add", "new.key", "--name", "a\nb")
    with pytest.raises(InputError, match="no API key"):
        provider("api-key", "revoke", "0" * 16)


def test_usage(provider) -> None:
    init(provider)
    for arguments, says in (
        (("api-key", "create", "a", "--scope", "all"), "'all' is not one of"),
        (("api-key", "create", "a", "--rate", "fast"), "is not like"),
        (("serve", "--address", "0.0.0.0"), "--behind-proxy"),
        (("serve", "--tls-key", "k"), "go together"),
    ):
        done = provider(*arguments)
        assert done.exit_code == 2, done.output
        assert says in done.output
    with pytest.raises(FormatError, match="build_ids"):
        provider("init", "x", "--key", "provider.pem", "--build-id", "zz")
    with pytest.raises(InputError, match="at least one request"):
        provider("api-key", "create", "a", "--rate", "0/1s")


def test_a_database_that_is_not_there(provider) -> None:
    with pytest.raises(EnvironmentMissingError) as caught:
        provider(
            *("init", "--key", "provider.pem", "--allow-development"),
            *("--database", "postgresql://a@127.0.0.1:1/b"),
        )
    assert "database" in caught.value.message
    assert not Path("provider/provider.toml").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "key is missing"),
        ("key = 5", "key is not text"),
        ("key = 'k'\ncolour = 1", "colour is no setting"),
        ("key = 'k'\nallow_development = 1", "true or false"),
        ("key = 'k'\nmanufacturers = 'm'", "a list of paths"),
        ("key = 'k'\nchallenge_seconds = 0", "from 1"),
        ("key = 'k'\nsecure_memory_bytes = -1", "a number of bytes"),
        ("key = 'k'\nbuild_ids = [1]", "hexadecimal"),
        ("key =", "is not TOML"),
        ("\xff", "is not TOML"),
    ],
)
def test_settings_with_errors(tmp_path, text: str, says: str) -> None:
    path = tmp_path / "provider.toml"
    path.write_bytes(text.encode("latin-1"))
    path.chmod(0o600)
    with pytest.raises(FormatError) as caught:
        Config.load(path)
    assert says in caught.value.message


def test_settings_are_read_as_they_were_written(tmp_path) -> None:
    save_certificate(ACME.certificate, tmp_path / "a.pem")
    config = Config(
        key='pkcs11:token="ü";object=k\\',
        database="postgresql://u:p%40@h/d",
        manufacturers=("a.pem", "b c.pem"),
        build_ids=("00" * 32,),
        allow_unendorsed=True,
        secure_memory_bytes=1 << 20,
        folder=tmp_path,
    )
    config.save(tmp_path / "provider.toml")
    assert Config.load(tmp_path / "provider.toml") == config


def test_the_names_of_the_conditions_are_those_of_the_options() -> None:
    @terms_options
    @click.command()
    def any_command(**_: object) -> None:
        """Take conditions."""

    assert {option.name for option in any_command.params} == set(TERM_NAMES)


def test_every_subcommand_has_an_example() -> None:
    from undercroft._cli.provider import command

    def walk(group: click.Group):
        for item in group.commands.values():
            if isinstance(item, click.Group):
                yield from walk(item)
            else:
                yield item

    found = list(walk(command))
    assert len(found) == 8
    assert all("Example:" in (item.help or "") for item in found)
