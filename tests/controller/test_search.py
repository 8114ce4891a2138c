"""Searches over versions: which conditions there are, that an index finds what a walk over all versions finds."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from contract.errors import BadInput, Code
from controller.registry.aliases import Alias, Aliases
from controller.registry.catalogue import Catalogue
from controller.registry.notes import NoteStore
from controller.registry.registry import Registry
from controller.registry.search import read_query
from controller.registry.store import TinyStore
from controller.registry.version import Version
from controller.written import Written
from tests.controller.registry_worlds import version

ESTIMATORS = ("RandomForestClassifier", "LogisticRegression", "")


def drawn(rng: Random, model: str, release: int) -> Version:
    return version(
        release,
        model,
        artifact=b"x" * rng.randrange(1, 2000),
        estimator=rng.choice(ESTIMATORS),
        created_at=f"2026-01-{rng.randrange(1, 29):02}T00:00:00+00:00",
        created_by=rng.choice(["ada", "bob"]),
        metrics={"f1": rng.random()} if rng.random() < 0.7 else {},
        params={"depth": str(rng.randrange(4))},
        tags={"site": rng.choice(["oslo", "bergen"])} if rng.random() < 0.5 else {},
    )


@pytest.fixture
def catalogue(tmp_path: Path) -> tuple[Registry, Catalogue]:
    rng, store = Random(3), TinyStore(tmp_path)
    registry = Registry(store)
    for number in range(60):
        registry.add(drawn(rng, f"m-{number % 3}", number // 3 + 1))
    aliases, notes = Aliases(store, registry), NoteStore(store, registry)
    made = Catalogue(registry, aliases, notes)
    aliases.set("m-0", "champion", Alias(release=4, by="ada", at="t"))
    notes.comment("m-1", 2, Written(text="Failed in the Frost", by="ada", at="t"))
    return registry, made


ASKED: list[tuple[list[str], str, Callable[[Version], Any]]] = [
    ([], "", lambda each: True),
    (["model = m-1"], "", lambda each: each.model == "m-1"),
    (["metric.f1 >= 0.5"], "", lambda each: each.lineage.metrics.get("f1", -1) >= 0.5),
    (["metric.f1 < 0.5", "created_by = 'ada'"], "",
     lambda each: each.lineage.metrics.get("f1", 1) < 0.5 and each.lineage.created_by == "ada"),
    (["estimator ~ forest"], "", lambda each: "Forest" in each.lineage.estimator),
    (["tag.site = oslo"], "", lambda each: each.lineage.tags.get("site") == "oslo"),
    (["tag.site != oslo"], "", lambda each: each.lineage.tags.get("site") == "bergen"),
    (["param.depth = 3", "size_bytes > 900"], "",
     lambda each: each.lineage.params["depth"] == "3" and each.manifest.artifact.length > 900),
    (["created_at >= 2026-01-15", "release <= 10"], "",
     lambda each: each.lineage.created_at >= "2026-01-15" and each.release <= 10),
    (["passed = true", "withdrawn = false"], "", lambda each: True),
    (["alias.champion = true"], "", lambda each: (each.model, each.release) == ("m-0", 4)),
    ([], "the frost", lambda each: (each.model, each.release) == ("m-1", 2)),
    ([], "site=oslo", lambda each: each.lineage.tags.get("site") == "oslo"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "text", "holds"), ASKED, ids=lambda each: str(each) if isinstance(each, list) else ""
)
def test_a_search_finds_the_same_versions_as_a_full_scan(
    catalogue: tuple[Registry, Catalogue], where: list[str], text: str, holds: Callable[[Version], bool]
) -> None:
    registry, index = catalogue
    every = [each for model in registry.models() for each in registry.versions(model)]
    found = index.search(read_query(where, text, "", 500, 0))
    assert set(found.keys) == {(each.model, each.release) for each in every if holds(each)}
    assert found.total == len(found.keys)
    assert found.keys


def test_pages_have_one_order_and_contain_every_version(catalogue: tuple[Registry, Catalogue]) -> None:
    registry, index = catalogue
    pages = [index.search(read_query([], "", "-metric.f1", 7, offset)) for offset in range(0, 60, 7)]
    keys = [key for page in pages for key in page.keys]
    scores = [registry.version(*key).lineage.metrics["f1"] for key in keys]
    assert scores == sorted(scores, reverse=True)
    assert len(set(keys)) == len(keys) == pages[0].total, "those without the metric are left out"
    sizes = [
        registry.version(*key).manifest.artifact.length
        for key in index.search(read_query([], "", "size_bytes", 500, 0)).keys
    ]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("where", "sort", "limit", "words"),
    [
        (["accuracy > 0.9"], "", 50, "no field 'accuracy'"),
        (["metric.f1 > good"], "", 50, "'good' is no number"),
        (["metric.f1 ~ 0.9"], "", 50, "~ compares texts"),
        (["metric.f1"], "", 50, "expected FIELD OPERATOR VALUE"),
        (["tag = x"], "", 50, "no field 'tag'"),
        ([], "words", 50, "no field 'words'"),
        ([], "", 501, "limit 501"),
        (["release = 1"] * 17, "", 50, "17 conditions, limit 16"),
    ],
)
def test_an_invalid_search_is_refused_with_the_valid_fields(
    where: list[str], sort: str, limit: int, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        read_query(where, "", sort, limit, 0)
    assert caught.value.code == Code.REQUEST_INVALID
    assert words in caught.value.detail


def test_a_value_is_never_read_as_a_part_of_the_query(catalogue: tuple[Registry, Catalogue]) -> None:
    _, index = catalogue
    hostile = "x' OR 1=1; DROP TABLE versions; --"
    assert index.search(read_query([f"tag.site = {hostile}", f"model ~ {hostile}"], hostile, "", 50, 0)).total == 0
    assert index.search(read_query([], "", "", 50, 0)).total == 60


@pytest.mark.parametrize(
    ("where", "sort", "words"),
    [
        ("metric.acuracy > 0.9", "", ["no version has metric.acuracy; there is metric.f1"]),
        ("metric.f1 > 5", "", []),
        ("tag.sites = oslo", "", ["no version has tag.sites; there is tag.site"]),
        ("model = m-1", "metric.acuracy", ["no version has metric.acuracy; there is metric.f1"]),
    ],
)
def test_a_search_without_results_says_so_and_lists_existing_values(
    catalogue: tuple[Registry, Catalogue], where: str, sort: str, words: list[str]
) -> None:
    query = read_query([where], "", sort, 9, 0)
    assert catalogue[1].search(query).total == 0
    assert catalogue[1].unknown(query) == words
