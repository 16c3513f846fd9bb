"""Where a model runs, as the factories are told."""

from __future__ import annotations

import dataclasses
import pickle
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from blazen import Isolation, Model, registry
from blazen.errors import ValidationError
from blazen.isolation.model import isolate
from blazen.testing import EchoModel, EchoOptions


@dataclasses.dataclass(frozen=True)
class KnowingOptions(EchoOptions):
    isolation: Any = None


class Knowing(EchoModel):
    """One whose options say where it runs."""

    Options = KnowingOptions


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    where = {"echo": "blazen.testing.echo:EchoModel", "knowing": f"{__name__}:Knowing"}
    found = [EntryPoint(name, place, "blazen.model") for name, place in where.items()]
    monkeypatch.setattr(registry, "_entries", lambda kind: found if kind in (None, "model") else [])


@pytest.mark.parametrize("spec", ["echo:said", "knowing:said"])
async def test_one_word_gives_the_same_model_in_a_process_of_its_own(spec):
    model = Model.from_spec(spec, isolation="process", repeat=2)
    assert isinstance(model, Model)
    assert not isinstance(model, EchoModel)
    assert (model.options.name, model.options.repeat) == ("said", 2)
    assert model.isolation == Isolation()
    assert model.pid is None
    async with model:
        assert (await model.complete("hello")).content == "hello hello"
        assert model.pid is not None


@pytest.mark.parametrize("where", [Isolation(nice=3, gpus=()), {"nice": 3, "gpus": ()}])
@pytest.mark.parametrize("spec", ["echo:said", "knowing:said"])
def test_its_limits_may_be_said_too(spec, where):
    assert Model.from_spec(spec, isolation=where).isolation == Isolation(nice=3, gpus=())


def test_options_may_say_it_themselves_and_go_back_into_a_model():
    options = KnowingOptions("said", isolation="process")
    model = registry.build("model", "knowing", options, {})
    assert model.isolation == Isolation()
    assert model.options is options


@pytest.mark.parametrize("spec", ["echo:said", "knowing:said"])
def test_without_a_word_it_runs_here(spec):
    assert isinstance(Model.from_spec(spec), EchoModel)
    assert isinstance(Model.from_spec(spec, isolation=None), EchoModel)


@pytest.mark.parametrize("where", ["thread", 3, True, {"nicer": 3}])
def test_an_unknown_place_is_refused(where):
    with pytest.raises(ValidationError):
        Model.from_spec("echo:said", isolation=where)


@pytest.mark.parametrize(
    "setting",
    [
        {"memory": "much"},
        {"gpus": "0"},
        {"gpus": [-1]},
        {"threads": 0},
        {"nice": 20},
        {"nice": -1},
        {"grace": -1},
        {"silence": -1},
        {"patience": 0},
        {"restarts": -1},
        {"env": {"A=B": "c"}},
        {"env": {"A": 1}},
    ],
)
def test_settings_out_of_their_range_are_refused(setting):
    with pytest.raises(ValidationError, match=next(iter(setting))):
        Isolation(**setting)


def test_settings_go_to_json_and_back():
    settings = Isolation(memory="4GiB", gpus=[1], threads=2, env={"A": "b"}, spare=True)
    assert Isolation.from_json(settings.to_json()) == settings
    assert settings.memory == 4 << 30


def test_only_a_model_of_this_machine_can_be_put_apart():
    model = isolate(EchoModel(), Isolation())
    with pytest.raises(ValidationError, match="already"):
        isolate(model, Isolation())
    with pytest.raises(ValidationError, match="on this machine"):
        isolate(object(), Isolation())


def test_a_model_apart_can_be_sent_elsewhere_and_is_told_as_what_it_is():
    model = isolate(EchoModel(EchoOptions("said")), Isolation(nice=3))
    again = pickle.loads(pickle.dumps(model))
    assert (again.options, again.isolation) == (model.options, model.isolation)
    assert type(again) is type(model)
    assert "EchoModel" in repr(model)
    assert "said" in repr(model)
