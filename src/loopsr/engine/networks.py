"""The networks of an upscaler: found by name or path, and opened with the backend that suits."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopsr.card import ModelCard, StepRule
from loopsr.engine.adaptive import Adaptive
from loopsr.engine.backends import (
    BACKENDS,
    FILES,
    PRECISIONS,
    Backend,
    Stepwise,
    check_precision,
    open_backend,
    open_stepwise,
)
from loopsr.engine.choice import (
    Candidate,
    candidates,
    choose,
    good_twin,
    machine_key,
    takes_steps,
    worth_measuring,
)
from loopsr.engine.ensemble import SelfEnsemble
from loopsr.engine.pace import Speed
from loopsr.engine.runners import Runner, Whole
from loopsr.engine.speed import network_speed
from loopsr.errors import UnknownNameError, UsageError, WeightsError
from loopsr.ops.turn import TURNS
from loopsr.weights import catalogue

AUTO = "auto"
_INT8 = "int8"


class Networks:
    """One choice of backend, precision and threads; safe to share by threads.

    ``backend`` and ``precision`` may be "auto": then the fastest that keeps the picture is taken,
    see ``loopsr.engine.choice``. With ``self_ensemble`` every network runs as one. Raises
    ``UsageError`` for names that are unknown or do not fit.
    """

    def __init__(
        self, *, backend: str, precision: str, threads: int, self_ensemble: bool = False
    ) -> None:
        if backend not in (AUTO, *BACKENDS):
            raise UnknownNameError("backend", backend, [AUTO, *BACKENDS])
        known = sorted({name for names in PRECISIONS.values() for name in names})
        if precision not in (AUTO, *known):
            raise UnknownNameError("precision", precision, [AUTO, *known])
        if backend != AUTO and precision != AUTO:
            check_precision(backend, precision)
        self._backend = None if backend == AUTO else backend
        self._precision = precision
        self._threads = threads
        self._self_ensemble = self_ensemble
        self._work = 0.0  # multiply-accumulates that were asked for so far
        self._lock = threading.Lock()  # guards the dictionaries, which only ever grow
        self._files: dict[str, tuple[ModelCard, Path]] = {}
        self._names: dict[str, str] = {}  # a card's name -> what the catalogue knows it by
        self._open: dict[tuple[str, int | None, Candidate], Backend] = {}
        self._cut: dict[tuple[str, tuple[int, ...], Candidate], Stepwise] = {}
        self._chosen: dict[tuple[str, int | None, bool, bool, bool], Candidate] = {}

    def card(self, model: str) -> ModelCard:
        """The card of a model by name or path. Raises ``UsageError`` and ``WeightsError``."""
        return self._found(model)[0]

    def identity(self, models: Sequence[str]) -> dict[str, Any]:
        """What decides the pixels, JSON-able; a file that is damaged has no hash."""
        hashes: dict[str, str | None] = {}
        for name in models:
            try:
                card, path = self._found(name)
            except WeightsError:
                hashes[name] = None
            else:
                hashes[card.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return {
            "networks": hashes,
            "backend": self._backend or AUTO,
            "precision": self._precision,
            "self_ensemble": self._self_ensemble,
        }

    @property
    def runs(self) -> int:
        """How often a network runs for every tile."""
        return TURNS if self._self_ensemble else 1

    def count(self, work: float) -> None:
        """Tell of multiply-accumulates to come: many are worth measuring the backends first."""
        self._work += work

    def runner(
        self,
        card: ModelCard,
        *,
        rule: StepRule | None = None,
        fine: bool = False,
        measure: bool = True,
    ) -> Runner:
        """What runs the network of a card that ``card`` gave, in the number of steps it says.

        With a ``rule`` in as many as each cell needs, where the backend can. ``fine`` says that
        more than 8 bits are wanted, so that "auto" takes no shorter precision. Without
        ``measure`` there is no time to measure the backends, however much was asked for.
        """
        with self._lock:
            chosen = self._choose(card, fine=fine, measure=measure, by_need=rule is not None)
            full, _ = self._files[card.name]
            if rule is not None and takes_steps(chosen):
                return Adaptive(self._stepwise(full, chosen, rule.stops), full, rule)
            backend = self._opened(full, chosen, card.iters)
            if self._self_ensemble:
                backend = SelfEnsemble(backend)
            return Whole(backend, scale=card.scale, steps=card.iters or 1)

    def choice(
        self, card: ModelCard, *, afresh: bool = False
    ) -> tuple[Candidate, list[dict[str, Any]]]:
        """What would run a card's network here and now, by need if it has a rule for that, and the
        figures that were measured."""
        full, _ = self._files[card.name]
        files = self._ways(self._names[card.name], fine=False)
        by_need = full.rule is not None
        return choose(full, files, threads=self._threads, afresh=afresh, by_need=by_need)

    def _found(self, model: str) -> tuple[ModelCard, Path]:
        with self._lock:
            if model not in self._files:
                name = model
                if self._precision == _INT8 and not catalogue.is_path(model):
                    name = catalogue.int8_name(model)
                card, path = catalogue.find(name, kind=self._kind(name))
                _check_integers(card, self._precision)
                if self._backend is not None and catalogue.is_int8(card.name):
                    check_precision(self._backend, _INT8)
                # Stages know their model by the name on its card.
                self._names[card.name] = name
                self._files[model] = self._files[card.name] = card, path
            return self._files[model]

    def _kind(self, model: str) -> str:
        """The kind of file that is looked at first."""
        if self._backend is not None:
            return FILES[self._backend]
        return "safetensors" if model.endswith(".safetensors") else "onnx"

    def speed(self, card: ModelCard) -> Speed:
        """How quickly a card's network runs here, in one to all of its steps."""
        full, _ = self._found(card.name)
        files = self._ways(self._names[full.name], fine=False)
        key = machine_key(full, files, self._threads, None) + "-steps"
        return network_speed(
            key,
            lambda steps: self.runner(full.stopped_after(steps), measure=False),
            scale=full.scale,
            steps=full.iters or 1,
        )

    def _choose(self, card: ModelCard, *, fine: bool, measure: bool, by_need: bool) -> Candidate:
        # At first the work may be too little to measure; once it was enough, it stays so.
        measure = measure and worth_measuring(self._work, self._threads)
        key = card.name, card.iters, fine, measure, by_need
        if key not in self._chosen:
            full, _ = self._files[card.name]
            files = self._ways(self._names[card.name], fine=fine)
            iters = None if card.iters == full.iters else card.iters
            self._chosen[key], _ = choose(
                full, files, threads=self._threads, iters=iters, measure=measure, by_need=by_need
            )
        return self._chosen[key]

    def _opened(self, card: ModelCard, chosen: Candidate, iters: int | None) -> Backend:
        key = card.name, iters, chosen
        if key not in self._open:
            self._open[key] = open_backend(
                chosen.backend,
                card,
                self._file(card, chosen),
                precision=chosen.precision,
                threads=self._threads,
                iters=None if iters == card.iters else iters,
            )
        return self._open[key]

    def _stepwise(self, card: ModelCard, chosen: Candidate, stops: tuple[int, ...]) -> Stepwise:
        key = card.name, stops, chosen
        if key not in self._cut:
            path = self._file(card, chosen)
            self._cut[key] = open_stepwise(
                chosen.backend, card, path, stops=stops, threads=self._threads
            )
        return self._cut[key]

    def _file(self, card: ModelCard, chosen: Candidate) -> Path:
        return self._ways(self._names[card.name], fine=False)[chosen]

    def _ways(self, name: str, *, fine: bool) -> dict[Candidate, Path]:
        """The backends and precisions that may run a model, each with the file that it reads."""
        precision = None if self._precision == AUTO else self._precision
        card = catalogue.card(name)
        if catalogue.is_int8(card.name):
            precision = _INT8
        elif precision is None and fine:
            precision = "float32"
        kinds = list(BACKENDS)
        if catalogue.is_path(name):
            kinds = [kind for kind in kinds if name.endswith(FILES[kind])]
        found = candidates(self._backend, precision, kinds=kinds)
        twin = good_twin(card) if precision is None and not catalogue.is_path(name) else None
        models = {c: twin if c.precision == _INT8 and precision is None else name for c in found}
        return {
            candidate: catalogue.find(model, kind=FILES[candidate.backend])[1]
            for candidate, model in models.items()
            if model is not None
        }


def _check_integers(card: ModelCard, precision: str) -> None:
    """Raise ``UsageError`` where the file cannot be run in what was asked for."""
    if precision == _INT8 and not catalogue.is_int8(card.name):
        raise UsageError(
            f"{card.name} has no layers of 8-bit integers; leave --precision out, or make a file "
            "that has: python -m loopsr.export.quantize"
        )
    if precision not in (AUTO, _INT8) and catalogue.is_int8(card.name):
        raise UsageError(
            f"{card.name} computes in 8-bit integers, {precision} was asked for; leave --precision "
            f"out, or pass --model {card.name.removesuffix(catalogue.INT8_TAG)}"
        )
