"""Muon, the schedule and the losses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from loopsr.errors import UnknownNameError, UsageError
from loopsr.models import create
from loopsr.train import average, optim
from loopsr.train.losses import LOSSES, luma, picture_loss, total_loss
from loopsr.train.optim import Muon, hidden_weights, make_optimisers, orthogonalise, set_progress
from loopsr.train.recipe import LossSettings, OptimSettings


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (16, 16)])
def test_orthogonalise_brings_all_singular_values_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
    assert values.max() < 1.3
    assert values.median() > 0.6


def test_control_fewer_steps_are_noticed() -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(16, 16), steps=0))
    assert values.median() < 0.6


def test_muon_agrees_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.optim.Muon on matrices, apart from its bfloat16."""
    torch.manual_seed(0)
    start, gradient = torch.randn(12, 30), torch.randn(12, 30)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    steppers = [
        Muon([ours], lr=0.01, momentum=0.95),
        torch.optim.Muon(
            [theirs], lr=0.01, momentum=0.95, weight_decay=0, adjust_lr_fn="match_rms_adamw"
        ),
    ]
    for _ in range(3):
        for parameter, stepper in zip((ours, theirs), steppers, strict=True):
            parameter.grad = gradient.clone()
            stepper.step()
    moved = (theirs - start).abs().mean()
    assert (ours - theirs).abs().mean() < 0.03 * moved


def test_a_kernel_is_stepped_as_a_matrix() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.zeros(6, 4, 3, 3))
    matrix = nn.Parameter(torch.zeros(6, 36))
    kernel.grad = torch.randn(6, 4, 3, 3)
    matrix.grad = kernel.grad.flatten(1).clone()
    Muon([kernel, matrix], lr=0.01, momentum=0.95).step()
    assert torch.allclose(kernel.flatten(1), matrix, atol=1e-7)
    rms = float(matrix.detach().square().mean().sqrt()) / 0.01
    assert rms == pytest.approx(0.2, rel=0.2)  # as an Adam step of the same rate


def test_matrices_of_one_shape_are_stepped_as_each_alone() -> None:
    torch.manual_seed(0)
    values = [torch.randn(4, 6) * size for size in (1, 100, 0.01)]

    def stepped(group: list[torch.Tensor]) -> list[torch.Tensor]:
        parameters = [nn.Parameter(torch.zeros(4, 6)) for _ in group]
        for parameter, gradient in zip(parameters, group, strict=True):
            parameter.grad = gradient.clone()
        Muon(parameters, lr=0.01, momentum=0.95).step()
        return [parameter.detach() for parameter in parameters]

    together, alone = stepped(values), [stepped([value])[0] for value in values]
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(together, alone, strict=True))
    assert not torch.allclose(together[0], together[1], atol=1e-4)


def test_every_parameter_has_one_optimiser() -> None:
    for name in ("lrn", "loop"):
        network = create(name, scale=2)
        optimisers = make_optimisers(network, OptimSettings(name="muon"))
        held = [p for o in optimisers for g in o.param_groups for p in g["params"]]
        assert len(held) == len({id(p) for p in held}) == len(list(network.parameters()))
    assert len(make_optimisers(network, OptimSettings(name="adam"))) == 1
    with pytest.raises(UnknownNameError, match="did you mean adam"):
        make_optimisers(network, OptimSettings(name="adm"))


def test_hidden_weights_leave_out_the_ends_and_depthwise_kernels() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 3, 3)
    )
    assert [tuple(w.shape) for w in hidden_weights(network)] == [(8, 8, 1, 1)]


def test_cosine_with_warmup() -> None:
    network = create("lrn", scale=2, iters=1)
    optimisers = make_optimisers(network, OptimSettings(learning_rate=0.01))
    rates = [set_progress(optimisers, p, warmup=0.1, decay=1.0) for p in (0, 0.05, 0.1, 0.5, 1)]
    assert rates[0] == rates[-1] == 1e-7
    assert rates[1] == pytest.approx(0.5 * rates[2], rel=0.05)
    assert rates[3] == pytest.approx(0.005)


def test_late_decay_keeps_the_full_rate_until_then() -> None:
    optimisers = make_optimisers(create("lrn", scale=2, iters=1), OptimSettings(learning_rate=0.01))
    rates = [set_progress(optimisers, p, warmup=0.1, decay=0.4) for p in (0.1, 0.6, 0.8, 1)]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 1e-7])


def test_a_rate_on_a_device_is_set_in_place() -> None:
    """A captured step reads the tensor that it was captured with."""
    parameter = nn.Parameter(torch.zeros(2))
    optimiser = torch.optim.Adam([parameter], lr=torch.tensor(0.0))
    (group,) = optimiser.param_groups
    group["full_rate"], rate = 0.01, group["lr"]
    assert set_progress([optimiser], 0.5, warmup=0, decay=1) == pytest.approx(0.005)
    assert group["lr"] is rate
    assert float(rate) == pytest.approx(0.005)


def test_the_average_takes_its_share_of_every_tensor() -> None:
    network = nn.BatchNorm2d(2)
    ema = average.start(network)
    with torch.no_grad():
        network.weight.add_(1)
    network.num_batches_tracked.fill_(7)
    for share in (0.25, torch.tensor(0.5)):
        average.update(ema, network, share)
    assert ema["weight"].tolist() == pytest.approx([2 - 0.75 * 0.5] * 2)
    assert ema["bias"].tolist() == [0, 0]
    assert int(ema["num_batches_tracked"]) == 7  # counts have no average
    assert [average.share(step, 0.9) for step in (0, 10**6)] == pytest.approx([0.9, 0.1])


def test_losses() -> None:
    difference = torch.tensor([0.5, -0.5]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    values = {name: float(loss(difference)) for name, loss in LOSSES.items()}
    assert values["l1"] == pytest.approx(0.5)
    assert values["mse"] == pytest.approx(0.25)
    assert values["charbonnier"] == pytest.approx(0.5, abs=1e-4)
    assert values["psnr"] == pytest.approx(0.1 * math.log(0.25 + 1e-5))
    assert float(luma(difference).abs().mean()) == pytest.approx(0.5 * 219 / 255)
    settings = LossSettings(name="l1", luma=2.0)
    total = picture_loss(difference, torch.zeros_like(difference), settings)
    assert float(total) == pytest.approx(0.5 + 219 / 255)
    squared = LossSettings(name="mse", luma=1.0)
    total = picture_loss(difference, torch.zeros_like(difference), squared)
    assert float(total) == pytest.approx(0.25 + (0.5 * 219 / 255) ** 2)
    with pytest.raises(UnknownNameError, match="did you mean l1"):
        picture_loss(difference, difference, LossSettings(name="l11"))


def test_supervision_weighs_the_last_steps() -> None:
    torch.manual_seed(0)
    network = create("lrn", scale=2, iters=3)
    lr, hr = torch.rand(1, 3, 6, 6), torch.rand(1, 3, 12, 12)
    network.requires_grad_(False)
    steps = [float((picture - hr).abs().mean()) for picture in network.unroll(lr)]
    value = float(total_loss(network, lr, hr, LossSettings(supervision=(0.25, 2.0))))
    assert value == pytest.approx(0.25 * steps[1] + 2 * steps[2], rel=1e-5)
    alone = float(total_loss(network, lr, hr, LossSettings()))
    assert alone == pytest.approx(steps[2], rel=1e-5)
    first = float(total_loss(network, lr, hr, LossSettings(supervision=(0.3, 1.0)), iters=1))
    assert first == pytest.approx(steps[0], rel=1e-5)
    with pytest.raises(UsageError, match="4 weights, the network takes 3"):
        total_loss(network, lr, hr, LossSettings(supervision=(1, 1, 1, 1)))


def test_newton_schulz_coefficients_are_those_of_the_source() -> None:
    assert optim._NEWTON_SCHULZ == (3.4445, -4.7750, 2.0315)
    assert math.isclose(sum(optim._NEWTON_SCHULZ), 0.701, abs_tol=1e-9)
