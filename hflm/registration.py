"""`import hflm` gives transformers its pipelines back, and takes no time: they are registered when it is imported."""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

WANTED = "transformers.pipelines"


class AfterImport:
    """Wait for one module, let it be loaded as ever, and then register what is hflm's.

    It derives from nothing: importing `importlib.abc` would be felt in `hflm --help`.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find the module as if this finder was not there, and follow its loading."""
        if fullname != WANTED:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        loader = spec.loader if spec else None
        if spec is None or loader is None:
            return spec
        load = loader.exec_module

        def load_and_register(module: ModuleType) -> None:
            load(module)
            _register()

        loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def register_when_imported() -> None:
    """Register at once where transformers' pipelines are loaded already, else as soon as they are."""
    if WANTED in sys.modules:
        _register()
    elif not any(isinstance(finder, AfterImport) for finder in sys.meta_path):
        sys.meta_path.insert(0, AfterImport())


def _register() -> None:
    # By its name: this file stands below everything, and that one above nearly everything.
    importlib.import_module("hflm.pipelines").register()
