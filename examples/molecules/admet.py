"""Where the wheel of admet-ai keeps its networks. Importing admet_ai itself would load much more."""

import importlib.util
from pathlib import Path

from chemprop.models.utils import load_output_columns


def folder():
    """The folder of the installed package."""
    return Path(importlib.util.find_spec("admet_ai").submodule_search_locations[0])


def files():
    """Paths by kind, in the order of the networks."""
    models = folder() / "resources" / "models"
    return {kind: sorted((models / f"admet_{kind}").glob("*.pt")) for kind in ("regression", "classification")}


def properties(kind):
    """What the networks of a kind predict, in the order of their outputs."""
    return load_output_columns(files()[kind][0])
