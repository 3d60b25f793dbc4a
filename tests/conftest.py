"""What all tests share: a small network in files, and real pictures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two cores are often all there is; more threads than cores make tests slow and flaky.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `loopsr/weights` is: small untrained networks under the default names."""
    import torch

    from loopsr import models
    from loopsr.export.package import make_card, write_package
    from loopsr.weights import catalogue

    folder = tmp_path_factory.mktemp("weights")
    for scale in (2, 3, 4):
        torch.manual_seed(scale)
        network = models.create("lrn", scale=scale, iters=1)
        card = make_card(network, name=f"loop-x{scale}", kind="lrn")
        write_package(network, folder, card=card)
    catalogue.write_index(folder)
    return folder
