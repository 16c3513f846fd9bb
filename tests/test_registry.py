"""From names to backends: what is found, what is missing, and how each is said."""

from __future__ import annotations

import dataclasses
import sys
from importlib.metadata import Distribution, EntryPoint

import pytest

import blazen
from blazen import registry
from blazen.errors import MissingExtraError, UnknownBackendError, ValidationError
from blazen.extras import missing_package, need
from blazen.protocols.model import Model
from tests.programs import run_python


@dataclasses.dataclass(frozen=True)
class Options:
    path: str
    _: dataclasses.KW_ONLY
    size: int = 1


class Backend:
    Options = Options
    engine = None

    def __init__(self, options):
        self.options = options


class Engineless(Backend):
    engine = "an_engine_that_no_one_has"


class Optionless:
    engine = "json.decoder"

    def __init__(self, options):
        self.options = options


class Standard(Backend):
    engine = "sqlite3"


class Outsider(Distribution):
    """A distribution that exists only here."""

    def read_text(self, filename):
        return "Metadata-Version: 2.1\nName: outsider\nVersion: 3.0\nProvides-Extra: lacking\n"

    def locate_file(self, path):
        raise NotImplementedError


ENTRIES = {
    "good": f"{__name__}:Backend",
    "lacking": f"{__name__}:Engineless",
    "bare": f"{__name__}:Engineless",
    "optionless": f"{__name__}:Optionless",
    "standard": f"{__name__}:Standard",
    "broken": "a_module_that_no_one_has:Backend",
}


@pytest.fixture(autouse=True)
def entries(monkeypatch):
    sys.modules.setdefault(__name__, sys.modules[__name__])
    found = [
        EntryPoint(name, where, "blazen.model")._for(Outsider()) for name, where in ENTRIES.items()
    ]
    monkeypatch.setattr(registry, "_entries", lambda kind: found if kind in (None, "model") else [])


def test_a_spec_names_a_backend_and_its_target():
    model = Model.from_spec("good:/models/a.gguf", size=3)
    assert model.options == Options("/models/a.gguf", size=3)


def test_a_target_may_hold_colons():
    assert Model.from_spec("good:starter:chat").options.path == "starter:chat"
    assert Model.from_spec("good:https://host/x").options.path == "https://host/x"


@pytest.mark.parametrize("spec", ["", ":x", None, 3])
def test_what_is_no_spec_is_refused(spec):
    with pytest.raises(ValidationError, match="backend:target"):
        Model.from_spec(spec)


def test_a_spec_without_the_target_that_it_needs_says_so():
    with pytest.raises(ValidationError, match="needs 'path': a path, a hub id"):
        Model.from_spec("good")
    with pytest.raises(ValidationError, match="are keywords, all but 'path'"):
        registry.build("model", "good", None, {}, "a", 3)


def test_a_url_that_is_missing_is_not_called_a_path():
    @dataclasses.dataclass
    class Options:
        base_url: str

    with pytest.raises(ValidationError, match="needs 'base_url': a URL, such as 'https://host/v1'"):
        registry._options("far", Options, (), {})


def test_a_backend_with_nothing_to_load_has_no_process_of_its_own():
    with pytest.raises(ValidationError, match="Backend can't run in a process of its own"):
        Model.from_spec("good:/models/a.gguf", isolation="process")


def test_a_backend_of_another_kind_is_told_apart_from_an_unknown_one():
    with pytest.raises(UnknownBackendError, match="'good' is one for model"):
        blazen.EmbeddingModel.from_spec("good:x")


def test_an_unknown_name_lists_the_known_and_the_nearest():
    with pytest.raises(UnknownBackendError) as caught:
        Model.from_spec("goood:x")
    message = str(caught.value)
    assert "did you mean 'good'?" in message
    assert all(name in message for name in ENTRIES)
    assert isinstance(caught.value, LookupError)


def test_a_missing_engine_says_what_to_install():
    with pytest.raises(MissingExtraError) as caught:
        Model.from_spec("lacking:x")
    assert str(caught.value) == (
        "the 'lacking' backend needs 'an_engine_that_no_one_has': pip install 'outsider[lacking]'"
    )
    assert isinstance(caught.value, ImportError)


def test_a_namespace_that_others_fill_is_no_engine(tmp_path, monkeypatch):
    (tmp_path / "shared_space" / "of_others").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_package("shared_space.engine.part") == "shared_space.engine"
    assert "shared_space" not in sys.modules
    with pytest.raises(
        MissingExtraError, match=r"'shared_space.engine': pip install 'blazen\[x\]'"
    ):
        need("shared_space.engine", extra="x", what="it")
    (tmp_path / "shared_space" / "engine.py").write_text("import shared_space.nothing")
    assert missing_package("shared_space.engine") is None
    with pytest.raises(ModuleNotFoundError) as caught:
        need("shared_space.engine", extra="x", what="it")
    assert not isinstance(caught.value, MissingExtraError)


def test_a_backend_without_an_extra_of_its_name_is_installed_by_its_distribution():
    with pytest.raises(MissingExtraError, match=r"pip install outsider$"):
        Model.from_spec("bare:x")


def test_an_unknown_option_names_the_known():
    with pytest.raises(ValidationError, match=r"no option .* 'sise'; did you mean 'size'\?"):
        Model.from_spec("good:x", sise=2)


def test_options_come_as_an_object_or_as_keywords_but_not_as_both():
    build = registry.build
    assert build("model", "good", Options("a"), {}).options == Options("a")
    assert build("model", "good", None, {"path": "a"}).options == Options("a")
    with pytest.raises(ValidationError, match="not both"):
        build("model", "good", Options("a"), {"size": 2})
    with pytest.raises(ValidationError, match="takes Options"):
        build("model", "good", {"path": "a"}, {})


def test_listing_tells_what_is_installed_missing_and_broken():
    rows = {row.name: row for row in blazen.backends()}
    assert rows["good"].installed
    assert rows["standard"].installed
    assert (rows["good"].distribution, rows["good"].version) == ("outsider", "3.0")
    assert not rows["lacking"].installed
    assert rows["lacking"].missing == "an_engine_that_no_one_has"
    assert rows["lacking"].install == "pip install 'outsider[lacking]'"
    assert not rows["broken"].installed
    assert rows["broken"].problem.startswith("ModuleNotFoundError")
    assert Model.backends() == blazen.backends("model")
    assert blazen.EmbeddingModel.backends() == []


def test_a_listing_serialises():
    for row in blazen.backends():
        assert registry.Backend.from_json(row.to_json()) == row


def test_factories_are_on_the_protocol_and_not_on_its_instances():
    class Mine(Model):
        def complete_stream(self, messages, options=None):
            raise AssertionError

    assert callable(Model.xllamacpp)
    assert callable(Mine.xllamacpp)
    assert not hasattr(Mine(), "xllamacpp")
    assert not hasattr(Mine(), "from_spec")
    assert "xllamacpp" in repr(Model.xllamacpp)


def test_to_have_the_methods_is_to_be_a_model():
    class Duck:
        async def complete(self, messages, options=None): ...

        def complete_stream(self, messages, options=None): ...

    assert isinstance(Duck(), Model)
    assert not isinstance(object(), Model)
    assert not isinstance(Duck(), blazen.EmbeddingModel)


def test_listing_imports_no_engine():
    code = """
    import sys, blazen
    blazen.backends()
    engines = {"xllamacpp", "fastembed", "onnxruntime", "numpy", "huggingface_hub"}
    print(sorted(engines & set(sys.modules)))
    """
    assert run_python(code, "-W", "error") == "[]"


def test_a_backend_without_options_takes_none():
    assert Model.from_spec("optionless").options is None
    with pytest.raises(ValidationError, match="takes no options"):
        Model.from_spec("optionless:target")
