from __future__ import annotations

import json
from typing import Any

import pytest

from domain.errors import ConfigError
from routing.exposure import check, compile_flags

Json = dict[str, Any]


def export(**tables: Any) -> bytes:
    """An admin export of one flag, in the shape of Unleash's exportResultSchema."""
    return json.dumps(
        {
            "features": [{"name": "rain", "type": "release", "project": "default", "archived": False}],
            "featureStrategies": [strategy("flexibleRollout", {"rollout": "100", "stickiness": "userId"})],
            "featureEnvironments": [environment("rain")],
            "contextFields": [],
            "featureTags": [],
            "segments": [],
            "tagTypes": [],
            **tables,
        }
    ).encode()


def strategy(name: str, parameters: Json, **more: Any) -> Json:
    return {"name": name, "featureName": "rain", "parameters": parameters, "constraints": [], **more}


def environment(flag: str, enabled: bool = True, name: str = "production") -> Json:
    return {"featureName": flag, "name": flag, "enabled": enabled, "environment": name, "variants": []}


def exposed(document: bytes, unit: str = "7") -> bool:
    return compile_flags(document, lambda: 0.5)["rain"](unit, None)


def test_an_export_is_evaluated_as_its_environment_has_it() -> None:
    assert exposed(export())
    assert not exposed(export(featureEnvironments=[environment("rain", enabled=False)]))
    assert not exposed(export(featureEnvironments=[]))


def test_disabled_strategies_of_an_export_are_passed_over() -> None:
    only = strategy("userWithId", {"userIds": "8"})
    disabled = strategy("default", {}, disabled=True)
    assert exposed(export(featureStrategies=[only, disabled]), "8")
    assert not exposed(export(featureStrategies=[only, disabled]), "7")
    assert not exposed(export(featureStrategies=[disabled]), "7")


def test_dependencies_of_an_export_count() -> None:
    features = [{"name": "rain"}, {"name": "parent"}]
    dependencies = [{"feature": "rain", "dependencies": [{"feature": "parent"}]}]
    for enabled in (True, False):
        environments = [environment("rain"), environment("parent", enabled)]
        document = export(features=features, featureEnvironments=environments, dependencies=dependencies)
        assert exposed(document) is enabled


def test_an_archived_flag_is_not_there() -> None:
    document = export(features=[{"name": "rain", "archived": True}])
    assert "rain" not in compile_flags(document, lambda: 0.5)


@pytest.mark.parametrize(
    ("tables", "path"),
    [
        ({"featureStrategies": [strategy("default", {}, segments=[1])]}, "featureStrategies[0].segments"),
        (
            {"featureEnvironments": [environment("rain"), environment("rain", name="development")]},
            "featureEnvironments[1].environment",
        ),
        ({"featureStrategies": [{"name": "default"}]}, "featureStrategies[0].featureName"),
        ({"featureEnvironments": "production"}, "featureEnvironments"),
        ({"features": [{}]}, "features[0].name"),
        (
            {"featureStrategies": [strategy("userWithId", {})]},
            "features[rain].strategies[0 userWithId].parameters.userIds",
        ),
    ],
)
def test_what_an_export_cannot_say_is_refused(tables: Json, path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(export(**tables))
    assert refused.value.path == path
