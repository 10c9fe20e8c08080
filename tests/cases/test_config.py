from __future__ import annotations

from pathlib import Path

import pytest

from cnncli.cases.config import find_configs, merge, read_entries, read_one, split_selector
from cnncli.cases.node import from_data
from cnncli.errors import ConfigError, UsageError

PAD = "{layer: pad, params: {padding: 1}, tensors: {x: 'ones:1x1x2x2'}}"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_merging_keeps_order_and_replaces_the_rest() -> None:
    below = from_data(
        {"tensors": {"w": "a", "x": "b"}, "gradcheck": {"step": 1}, "seed": 1, "expect": {"y": 1}},
        "f",
    ).mapping("it")
    above = from_data(
        {"tensors": {"b": "c", "w": "d"}, "gradcheck": {"elements": 2}, "seed": 2}, "g"
    ).mapping("it")
    merged = {key: node.data() for key, node in merge(below, above).items()}
    assert merged == {
        "tensors": {"w": "d", "x": "b", "b": "c"},
        "gradcheck": {"elements": 2},
        "seed": 2,
        "expect": {"y": 1},
    }
    tensors = merged["tensors"]
    assert isinstance(tensors, dict)
    assert list(tensors) == ["w", "x", "b"]
    assert below["seed"].data() == 1


def test_merging_judges_both_sides() -> None:
    for below, above, place in (
        ({"params": 3}, {"params": {}}, "f"),
        ({"params": {}}, {"params": 3}, "g"),
    ):
        with pytest.raises(ConfigError, match="params must be a mapping") as caught:
            merge(from_data(below, "f").mapping("it"), from_data(above, "g").mapping("it"))
        assert caught.value.where == place


def test_names() -> None:
    Path("one.yaml").write_text(PAD)
    Path("many.yaml").write_text(f"cases: [{PAD}, {PAD[:-1]}, name: b/c}}, {PAD}]")
    assert [entry.name for entry in read_entries("one.yaml")] == ["one"]
    assert [entry.name for entry in read_entries("many.yaml")] == ["many#1", "b/c", "many#3"]
    assert [entry.name for entry in read_entries("many.yaml::b/c")] == ["b/c"]
    assert read_one("many.yaml::many#3").reproduce == "cnncli run 'many.yaml::many#3'"


def test_a_name_that_is_anothers_number() -> None:
    Path("c.yaml").write_text(f"cases: [{PAD[:-1]}, name: 'c#2'}}, {PAD}]")
    first, second = read_entries("c.yaml")
    assert first.error is None
    assert "'c#2' stands twice" in str(second.error)


def test_split_selector() -> None:
    assert split_selector("c.yaml") == ("c.yaml", None)
    assert split_selector("c.yaml::a::b") == ("c.yaml", "a::b")


def test_folders_are_searched_sorted_and_once() -> None:
    for name in ("b/2.yaml", "b/1.yml", "a/z.yaml", "a/x.txt", "a/.hidden/h.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    assert find_configs(["b", "a/z.yaml", "./b/1.yml"]) == ["b/1.yml", "b/2.yaml", "a/z.yaml"]
    assert find_configs(["-", "b/1.yml::n", "-"]) == ["-", "b/1.yml::n"]
    for bad in ("no", "a/no.yaml"):
        with pytest.raises(UsageError, match=bad):
            find_configs([bad])


def test_several_cases_are_not_one() -> None:
    Path("many.yaml").write_text(f"cases: [{PAD}, {PAD}]")
    with pytest.raises(UsageError, match="2 cases"):
        read_one("many.yaml")
