"""The node's configuration: the sample is the defaults, and faults name key, value and range."""

from __future__ import annotations

from pathlib import Path

import pytest

from chain.config import NodeConfig, SoloSection, load_node_config
from chain.primitives.errors import ConfigError

SAMPLE = Path(__file__).resolve().parents[3] / "node.toml"


def test_the_sample_states_every_default() -> None:
    config, files = load_node_config(SAMPLE)
    assert config == NodeConfig(solo=SoloSection(organisation="solo"))
    assert files.genesis == SAMPLE.parent / "genesis.json"
    text = SAMPLE.read_text(encoding="utf-8")
    for section in NodeConfig.model_fields.values():
        fields = getattr(section.annotation, "model_fields", {})
        assert all(f"\n{name} =" in text for name in fields)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[rpc]\nlisten = 'nowhere'", "rpc.listen = 'nowhere': expected an address \"host:port\""),
        ("[rpc]\nmax_request_bytes = 5", "rpc.max_request_bytes = 5: expected bytes in 1024..67108864"),
        ("[rpc]\nmax_request_bytes = true", "rpc.max_request_bytes = True"),
        ("[mempool]\nmax_tx = 5", "mempool.max_tx: unknown key"),
        ("[block]\nmax = 5", "block: unknown key"),
        ("[log]\nlevel = 'loud'", "log.level = 'loud'"),
        (
            "[consensus]\nbatch_interval_ms = 0",
            "consensus.batch_interval_ms = 0: expected milliseconds in 1..10000",
        ),
        ("[solo]\n", "solo.organisation: required"),
        ("[solo]\norganisation = 'A B'", "solo.organisation = 'A B': expected 1 to 64 of a-z"),
        ("[rpc]\nhosts = ['a b']", "rpc.hosts.0 = 'a b': expected the name of a host in lower case"),
        (
            "[files]\nkey = 'next.key'",
            "files.key and files.next_key = 'next.key': two different files, and next_key",
        ),
    ],
)
def test_a_fault_names_key_value_and_range(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_node_config(path)
    assert f"node.toml: {fault}" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_node_config(tmp_path / "absent.toml")


def test_history_to_keep_is_everything_or_more_than_the_window(tmp_path: Path) -> None:
    """The last 600 heights are what replays are recognised by."""
    path = tmp_path / "node.toml"
    path.write_text("[storage]\nkeep_blocks = 600\n")
    with pytest.raises(ConfigError, match=r"storage.keep_blocks = 600: expected 0 \(everything\), or 1000"):
        load_node_config(path)
    path.write_text('[storage]\nkeep_blocks = 1000\narchive_dir = "old"\n')
    assert load_node_config(path)[1].archive_dir == tmp_path / "old"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[files]\ndata_dir = ""', "files.data_dir = '{0}': is the folder of this configuration, {0}"),
        ('[files]\ndata_dir = "."', "files.data_dir = '{0}': is the folder of this configuration"),
        ('[files]\ndata_dir = ".."', "files.data_dir = '{0}/..': holds the folder of this configuration"),
        (
            '[files]\nkey = "keys/a"\ndata_dir = "keys"',
            "files.data_dir = '{0}/keys': is the folder of files.key",
        ),
        ('[files]\nkey = "k/a/b"\ndata_dir = "k"', "files.data_dir = '{0}/k': holds the folder of files.key"),
        (
            '[files]\nkey = "keys/a"\ndata_dir = "keys/d"',
            "files.data_dir = '{0}/keys/d': lies in the folder of files",
        ),
        (
            '[files]\ngenesis = "g/g"\ndata_dir = "g"',
            "files.data_dir = '{0}/g': is the folder of files.genesis",
        ),
        (
            '[storage]\nkeep_blocks = 1000\narchive_dir = "."',
            "storage.archive_dir = '{0}': is the folder of this",
        ),
        (
            '[storage]\nkeep_blocks = 1000\narchive_dir = "data/old"',
            "storage.archive_dir = '{0}/data/old': neither in",
        ),
        (
            '[files]\ndata_dir = "x/data"\n[storage]\nkeep_blocks = 1000\narchive_dir = "x"',
            "storage.archive_dir = '{0}/x': neither in files.data_dir, {0}/x/data, nor around it",
        ),
    ],
)
def test_a_folder_that_is_removed_whole_takes_no_keys_and_no_configuration_with_it(
    tmp_path: Path, text: str, fault: str
) -> None:
    """LevelDB stood beside node.toml or among the keys, and one is told to remove the data directory."""
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_node_config(path)
    assert f"{path}: {fault.format(tmp_path)}" in str(caught.value)


def test_data_may_lie_beside_the_keys_or_anywhere_else(tmp_path: Path) -> None:
    path = tmp_path / "org" / "node.toml"
    path.parent.mkdir()
    for text in (
        '[files]\nkey = "node.key"\ndata_dir = "data"',
        '[files]\nkey = "../node.key"\ndata_dir = "data"',
        '[files]\nkey = "keys/node.key"\ngenesis = "../genesis.json"\ndata_dir = "/var/lib/assent"',
    ):
        path.write_text(text)
        load_node_config(path)
