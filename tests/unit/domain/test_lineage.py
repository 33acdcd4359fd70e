"""Records of lineage: what is missing in them, what two of them make together; and references to them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.lineage import FIELDS, Dataset, Lineage, changes, merged, missing
from domain.reference import Registry, reference

WHOLE = Lineage(
    source="file:rain-2",
    version="2",
    datasets=(Dataset("weather", "7", "sha256:1", "s3://rain/weather"), Dataset("soil", role="test")),
    commit="4f1a",
    repository="git.example/rain",
    schema="v3",
    transformation="v2",
    hyperparameters=(("depth", "7"),),
    metrics=(("accuracy", 0.9),),
    created=1.0,
    registered=2.0,
    deployed=3.0,
    artifact_digest="sha256:2",
    author="ada",
)

words = st.sampled_from(["", "a", "b"])
datasets = st.builds(Dataset, st.sampled_from(["rain", "soil"]), words, words, words)
records = st.builds(
    Lineage,
    source=st.just("one"),
    datasets=st.lists(datasets, max_size=2, unique_by=lambda one: one.name).map(tuple),
    commit=words,
    schema=words,
    hyperparameters=st.dictionaries(words, words, max_size=2).map(lambda found: tuple(sorted(found.items()))),
    created=st.sampled_from([None, 1.0, 2.0]),
)


def test_a_whole_record_misses_nothing_and_no_record_misses_everything() -> None:
    assert missing(WHOLE) == ()
    assert missing(None) == FIELDS
    assert missing(Lineage("file:rain")) == FIELDS


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_is_missed_by_itself(field: str) -> None:
    parts = {
        "dataset": "name",
        "dataset_version": "version",
        "dataset_digest": "digest",
        "dataset_location": "location",
    }
    if field in parts:
        less = replace(WHOLE, datasets=(replace(WHOLE.datasets[0], **{parts[field]: ""}), WHOLE.datasets[1]))
    else:
        less = replace(WHOLE, **{field: getattr(Lineage(""), field)})
    assert missing(less) == (field,)
    assert missing(less, [one for one in FIELDS if one != field]) == ()


def test_data_for_testing_need_no_digest() -> None:
    assert missing(replace(WHOLE, datasets=WHOLE.datasets[1:]), ["dataset", "dataset_digest"]) == (
        "dataset",
        "dataset_digest",
    )
    assert missing(WHOLE, ["dataset_digest"]) == ()


def test_a_demand_for_what_is_no_field_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'colour' is no field"):
        missing(WHOLE, ["commit", "colour"])


@given(records, records)
@settings(deadline=None)
def test_what_an_earlier_record_knows_stands_and_the_rest_is_filled_in(one: Lineage, other: Lineage) -> None:
    both = merged([one, other])
    assert both.commit == (one.commit or other.commit)
    assert both.created == (one.created if one.created is not None else other.created)
    assert dict(both.hyperparameters) == {**dict(other.hyperparameters), **dict(one.hyperparameters)}
    assert {data.name for data in both.datasets} == {data.name for data in one.datasets + other.datasets}
    known = [field for field in FIELDS if not field.startswith("dataset")]
    assert set(missing(both, known)) == set(missing(one, known)) & set(missing(other, known))


@given(records, records, records)
@settings(deadline=None)
def test_it_does_not_matter_which_records_are_merged_first(a: Lineage, b: Lineage, c: Lineage) -> None:
    assert merged([merged([a, b]), c]) == merged([a, merged([b, c])]) == merged([a, b, c])


def test_one_dataset_told_of_by_two_registries_is_one() -> None:
    logged = Lineage("models:/rain/1", datasets=(Dataset("weather", "7"),))
    table = Lineage("delta:weather@7", datasets=(Dataset("weather", "7", "sha256:1", "s3://rain"),))
    assert merged([logged, table]).datasets == (Dataset("weather", "7", "sha256:1", "s3://rain"),)
    assert merged([logged, table]).source == "models:/rain/1 + delta:weather@7"
    with pytest.raises(ValueError, match="nothing to merge"):
        merged([])


def test_changes_name_what_differs() -> None:
    assert changes(WHOLE, WHOLE) == ()
    assert changes(None, None) == ()
    assert changes(WHOLE, replace(WHOLE, commit="", schema="v4")) == ("commit", "schema")
    assert "commit" in changes(None, WHOLE)
    assert changes(None, WHOLE) == changes(WHOLE, None)


REFERENCES = [
    ("file:rain-2", Registry.FILE, "rain-2", "", False),
    ("models:/rain@champion", Registry.MLFLOW, "rain", "@champion", True),
    ("models:/my rain/3", Registry.MLFLOW, "my rain", "3", False),
    ("hf://acme/rain@main", Registry.HUGGINGFACE, "acme/rain", "main", True),
    ("hf://rain@refs/pr/1", Registry.HUGGINGFACE, "rain", "refs/pr/1", True),
    (f"hf://acme/rain@{'4f1a' * 10}", Registry.HUGGINGFACE, "acme/rain", "4f1a" * 10, False),
    ("dvc:train@v1.2", Registry.DVC, "train", "v1.2", True),
    ("dvc:a/b/dvc.lock:train@eu@main", Registry.DVC, "a/b/dvc.lock:train@eu", "main", True),
    ("delta:rain@7", Registry.DELTA, "rain", "7", False),
    ("delta:rain", Registry.DELTA, "rain", "", True),
    ("wandb:acme/rain/1abc", Registry.WANDB, "acme/rain/1abc", "", False),
    ("neptune:acme/rain/RAIN-1", Registry.NEPTUNE, "acme/rain/RAIN-1", "", False),
]


@pytest.mark.parametrize(("text", "registry", "name", "revision", "moves"), REFERENCES)
def test_a_reference_reads_as_it_is_written(
    text: str, registry: Registry, name: str, revision: str, moves: bool
) -> None:
    found = reference(text)
    assert (found.registry, found.name, found.revision, found.moves) == (registry, name, revision, moves)
    assert str(found) == text


def test_without_a_scheme_it_is_the_default_registrys() -> None:
    assert str(reference("rain@champion", Registry.MLFLOW)) == "models:/rain@champion"
    assert str(reference("rain-2")) == "file:rain-2"
    assert str(reference("acme/rain", Registry.HUGGINGFACE)) == "hf://acme/rain@main"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", 7, None, "file:", "models:/rain", "models:/rain/champion", "models:/ra:in/1",
        "models:/rain@a b", "hf://a/b/c", "hf://../etc", "hf://acme/rain@..", "hf://acme/rain@-x",
        "dvc:train", "dvc:train@-x", "dvc:../dvc.lock:train@main", "dvc:train@a..b", "delta:rain@newest",
        "delta:../rain", "wandb:acme/rain", "wandb:a/b/c/d", "neptune:a//c", "file:rain\n",
    ],
)  # fmt: skip
def test_what_is_no_reference_is_refused_with_its_form(text: object) -> None:
    with pytest.raises(ValueError, match="write "):
        reference(text)


@given(st.text(max_size=40), st.sampled_from(Registry))
@settings(deadline=None)
def test_any_text_is_a_reference_that_reads_back_or_is_refused(text: str, registry: Registry) -> None:
    try:
        found = reference(text, registry)
    except ValueError:
        return
    assert reference(str(found)) == found
