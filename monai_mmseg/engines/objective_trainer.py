# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One trainer for every objective: any number of phases, each with its own optimiser."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.engines.workflow import Workflow
from monai.utils.enums import CommonKeys
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from monai_mmseg.engines.averaging import WeightAveraging
from monai_mmseg.engines.batch import prepare_training_batch
from monai_mmseg.engines.iteration_output import IterationOutput
from monai_mmseg.engines.loss_averages import LossAverages
from monai_mmseg.engines.phase import Phase, make_phases
from monai_mmseg.engines.seeding import epoch_seed, seed_data, seed_random_state, seeded_by_epoch, stop_workers
from monai_mmseg.memory import give_back_freed_memory, keep_freed_memory
from monai_mmseg.objectives.base import Objective, PhaseOutput

logger = logging.getLogger(__name__)

_MONAI_ACCUMULATES = "accumulation_steps" in inspect.signature(SupervisedTrainer.__init__).parameters
"""Not before MONAI 1.6; the steps themselves are counted here."""


class ObjectiveTrainer(SupervisedTrainer):
    """Trains an :class:`~monai_mmseg.objectives.Objective`, phase by phase.

    When to use: for every method of this package. It is a ``SupervisedTrainer``, so MONAI's handlers, bundles,
    ``MonaiAlgo`` and MONAI Label work with it; ``trainer.network`` is the bare network that is deployed.

    In an iteration, each phase in turn: its parameters take gradients and the other phases' do not; forward, weighted
    sum of the terms, one backward; gradients are clipped and its optimiser steps. After an epoch
    ``engine.state.metrics`` holds the mean of every term as ``"<phase>/<term>"`` and of every sum as
    ``"<phase>/total"``, so ``StatsHandler``, ``TensorBoardStatsHandler`` and ``MLFlowHandler`` log them all with their
    defaults. ``engine.state.output`` is an ``IterationOutput`` of ``image``, ``label``,
    ``pred`` (where the objective outputs it), ``loss`` (total of the first phase) and the terms, detached and on the
    device: a list of samples as MONAI's handlers expect, and ``output["loss"]`` works too.

    Random numbers: at the start of each epoch all generators, the sampler and the data set are seeded from ``seed`` and
    the number of the epoch, and the data loader is started anew. So an epoch is the same whether the run was resumed
    before it or not. (``persistent_workers`` keep random states over epochs; they are refused unless data set and
    sampler are seeded by epoch as those of :mod:`monai_mmseg.data` are. They end with the run.)

    Distributed: wrap the *objective* in one ``DistributedDataParallel(objective, find_unused_parameters=True)`` without
    ``device_ids`` (with them it would move the masks off the CPU). With losses of :mod:`monai_mmseg.losses.masked`, the
    gradients are those of one process with the joined batch, except what batch normalisation does to them: on CPU each
    process normalises with the statistics of its own part of the batch, and the running statistics of process 0 are
    sent to the others before each forward; on CUDA convert the objective with ``SyncBatchNorm.convert_sync_batchnorm``
    first.

    Args:
        device: where to train, as device or string.
        max_epochs: number of epochs, those before a resume included.
        train_data_loader: gives dictionaries.
        objective: what is minimised, bare or in ``DistributedDataParallel``. On the device already.
        optimizers: one for each phase.
        epoch_length: iterations in an epoch; the length of the data loader by default.
        updates: how often a phase is updated in an iteration; 1 where not given.
        accumulation_steps: iterations whose gradients make one step; the last step of an epoch is of those that are
            left. The loss is a mean of the iterations' means.
        clip_norm: largest norm of a phase's gradient, for all phases or by name.
        averaging: keeps the averaged weights; updated here, used by
            :class:`~monai_mmseg.handlers.AveragedValidationHandler` and savers.
        seed: seed of the run. ``None`` leaves all generators alone.
        amp: mixed precision on the device's type. Gradients are scaled for float16 on CUDA only, a scaler per phase.
        amp_kwargs: further arguments of ``torch.autocast``; ``dtype`` may be a name, e.g. ``"bfloat16"``.
        nan_check_interval: iterations between looks at the terms on a GPU, each of which waits for it; there is one at
            the end of each epoch too. On a CPU every iteration is checked, before its backward.
        compile: compile the objective with ``torch.compile``, networks and losses in one; a mapping holds arguments of
            it. The first steps then take minutes, and each new pattern of missing modalities some seconds. Names of the
            weights, validation and export are as without.
        flush_denormal: on a CPU, treat denormal numbers as zero while training, which can be much faster.
        non_blocking: copy the batch without waiting.
        prepare_batch: ``(batch, device, non_blocking, **to_kwargs) -> dict``.
        inferer: kept as ``trainer.inferer``, which tools look for; training calls the objective.
        postprocessing: transforms of the output, see ``SupervisedTrainer``. With them the output is made by MONAI's own
            ``decollate``, which waits for the device.
        key_train_metric: metric of the training output, for objectives that output ``pred``.
        additional_metrics: further ones.
        metric_cmp_fn: which of two values of the key metric is better.
        train_handlers: ignite or MONAI handlers.
        event_names: further events.
        event_to_attr: further attributes of the state.
        decollate: make the output a list of samples; otherwise it is a dictionary of the batch.
        optim_set_to_none: ``zero_grad`` removes gradients, so parameters that a batch does not use keep still.
        to_kwargs: further arguments of ``prepare_batch``, such as ``memory_format``.

    Raises:
        ValueError: if optimisers and phases do not fit together, or the distributed wrapper cannot work.

    Examples:
        >>> from monai_mmseg.objectives import SegmentationObjective
        >>> objective = SegmentationObjective(nn.Conv2d(1, 2, 1), num_classes=2)
        >>> batch = {"image": torch.rand(2, 1, 8, 8), "label": torch.ones(2, 1, 8, 8).long(),
        ...          "present": torch.tensor([[True]] * 2), "labelled": torch.tensor([[True]] * 2)}
        >>> adam = torch.optim.Adam(objective.parameter_groups("segmentation", lr=1e-3))
        >>> trainer = ObjectiveTrainer("cpu", 2, [batch], objective, {"segmentation": adam})
        >>> trainer.run()
        >>> sorted(trainer.state.metrics)
        ['segmentation/supervised', 'segmentation/total']
    """

    def __init__(
        self,
        device: str | torch.device,
        max_epochs: int,
        train_data_loader: Iterable[Any],
        objective: nn.Module,
        optimizers: Mapping[str, Optimizer],
        *,
        epoch_length: int | None = None,
        updates: Mapping[str, int] | None = None,
        accumulation_steps: int = 1,
        clip_norm: float | Mapping[str, float] | None = None,
        averaging: WeightAveraging | None = None,
        seed: int | None = 0,
        amp: bool = False,
        amp_kwargs: Mapping[str, Any] | None = None,
        nan_check_interval: int = 10,
        compile: bool | Mapping[str, Any] = False,  # noqa: A002 - as MONAI calls it
        flush_denormal: bool = True,
        non_blocking: bool = False,
        prepare_batch: Callable[..., dict[str, Any]] = prepare_training_batch,
        inferer: Any = None,
        postprocessing: Callable[..., Any] | None = None,
        key_train_metric: dict[str, Any] | None = None,
        additional_metrics: dict[str, Any] | None = None,
        metric_cmp_fn: Callable[[Any, Any], bool] | None = None,
        train_handlers: Sequence[Any] | None = None,
        event_names: list[Any] | None = None,
        event_to_attr: dict[Any, str] | None = None,
        decollate: bool = True,
        optim_set_to_none: bool = True,
        to_kwargs: dict[str, Any] | None = None,
    ) -> None:
        bare = _bare_objective(objective)
        persistent = getattr(train_data_loader, "persistent_workers", False)
        if persistent and seed is not None and not seeded_by_epoch(train_data_loader):
            raise ValueError(
                "persistent_workers keep their random state over epochs, which this data set and sampler do not reset: "
                "take those of monai_mmseg.data, set persistent_workers to false, or seed to None."
            )
        if nan_check_interval < 1:
            raise ValueError(f"nan_check_interval must be at least 1, got {nan_check_interval}.")
        phases = make_phases(bare, optimizers, updates, clip_norm)
        if accumulation_steps > 1 and any(phase.updates > 1 for phase in phases):
            raise ValueError("accumulation_steps > 1 and updates > 1 exclude each other: both mean several backwards.")
        if accumulation_steps > 1 and bare.retraining:
            again = f"phases {list(bare.retraining)} of {type(bare).__name__} train what an earlier phase trains"
            raise ValueError(f"accumulation_steps must be 1: {again}, and the sums of their gradients would be one.")
        further = {} if metric_cmp_fn is None else {"metric_cmp_fn": metric_cmp_fn}
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=bare.network,
            optimizer=phases[0].optimizer,
            loss_function=bare.total,
            epoch_length=epoch_length,
            non_blocking=non_blocking,
            prepare_batch=prepare_batch,
            inferer=inferer,
            postprocessing=postprocessing,
            key_train_metric=key_train_metric,
            additional_metrics=additional_metrics,
            amp=amp,
            event_names=event_names,
            event_to_attr=event_to_attr,
            decollate=decollate and postprocessing is not None,
            optim_set_to_none=optim_set_to_none,
            to_kwargs=to_kwargs,
            amp_kwargs=_autocast_arguments(amp_kwargs),
            **{**further, **({"accumulation_steps": accumulation_steps} if _MONAI_ACCUMULATES else {})},
        )
        self.accumulation_steps = accumulation_steps
        self._summed = accumulation_steps  # iterations in the sum of gradients that is being made
        self.objective, self.bare_objective = objective, bare
        self.optimizers = dict(optimizers)
        self.phases = phases
        if compile:
            bare.compile(**({} if compile is True else compile))
        self.averaging = averaging
        self.seed = seed
        self.flush_denormal = flush_denormal
        self._split_output = decollate and postprocessing is None
        self.nan_check_interval = nan_check_interval if self.state.device.type == "cuda" else 1
        self.monitor = LossAverages()
        self._selected: Phase | None = None
        self._make_scalers()
        # the trainer's own events come first, so that handlers of an epoch's end find means and averaged weights
        self.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        self.add_event_handler(Events.EPOCH_COMPLETED, self._complete_epoch)
        if train_handlers is not None:
            self._register_handlers(train_handlers)

    def run(self) -> None:
        """Train until ``max_epochs``; called again, go on from there."""
        flushed = _flushes_denormal()
        if self.flush_denormal and self.state.device.type == "cpu":
            torch.set_flush_denormal(True)
        keep_freed_memory(self.state.device)
        try:
            Workflow.run(self)  # not Trainer.run, whose scaler is for one optimiser and CUDA only
        except BaseException:
            self._internal_run_generator = None  # ignite keeps the one that ended: the next run would do nothing
            raise
        finally:
            stop_workers(self.data_loader)
            give_back_freed_memory()
            torch.set_flush_denormal(flushed)
            for phase in self.phases:
                for parameter in phase.parameters:
                    parameter.requires_grad_(True)
            self._selected = None

    def _make_scalers(self) -> None:
        dtype = self.amp_kwargs.get("dtype") or torch.get_autocast_dtype(self.state.device.type)
        if self.amp and self.state.device.type == "cuda" and dtype == torch.float16:
            for phase in self.phases:
                phase.scaler = torch.amp.GradScaler("cuda")

    def _start_epoch(self, engine: Engine) -> None:
        self.monitor.reset()
        self.objective.train()
        if self.seed is not None:
            epoch = engine.state.epoch - 1
            seed_random_state(epoch_seed(self.seed, epoch, engine.state.rank))
            seed_data(self.data_loader, self.seed, epoch, engine.state.rank)
        # a fresh iterator: ignite would go on with the old one where an epoch is shorter than the data
        engine.set_data(self.data_loader)
        if self.seed is not None and getattr(self.data_loader, "persistent_workers", False):
            # where workers live on nothing was drawn; a loader that starts anew draws one number
            seed_random_state(epoch_seed(self.seed, engine.state.epoch - 1, engine.state.rank))
            torch.empty((), dtype=torch.int64).random_()

    def _complete_epoch(self, engine: Engine) -> None:
        self._check_finite()
        engine.state.metrics.update(self.monitor.means())
        if self.averaging is not None:
            self.averaging.update_epoch(engine.state.epoch - 1)

    def _check_finite(self) -> None:
        if bad := self.monitor.not_finite():
            first = bad[0][2]
            names = ", ".join(f"term {name!r} of phase {phase!r}" for phase, name, i in bad if i == first)
            raise FloatingPointError(f"{names} is not finite at epoch {self.state.epoch}, iteration {first}.")

    def _iteration(self, engine: SupervisedTrainer, batchdata: Any) -> Any:
        if batchdata is None:
            raise ValueError("Must provide batch data for current iteration.")
        batch = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        if "unknown" in batch and not _bare_objective(self.objective).takes_label_sets:
            raise ValueError(
                f"labels of the batch show some classes only ('annotated' in the datalist): "
                f"{type(self.objective).__name__} would learn that organs which nobody drew are background."
            )
        output = {str(key): batch[key] for key in (CommonKeys.IMAGE, CommonKeys.LABEL) if key in batch}
        engine.state.output = output
        starts, steps, self._summed = self._accumulation()
        if not (self.objective.training and self.network.training):
            self.objective.train()
        previous: dict[str, Any] = {}
        for phase in self.phases:
            if self._selected is not phase:
                phase.select()
                self._selected = phase
            made: dict[str, Tensor] = {}
            for update in range(phase.updates):
                made = self._update(
                    phase, batch, {**previous, "update": update, "updates": phase.updates}, starts=starts, steps=steps
                ).outputs
            previous.update(made)
        if CommonKeys.PRED in previous:
            output[CommonKeys.PRED] = previous[CommonKeys.PRED]
        if steps and self.averaging is not None:
            self.averaging.update_iteration(engine.state.epoch - 1)
        if self._split_output:
            engine.state.output = IterationOutput(output)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _update(
        self, phase: Phase, batch: Mapping[str, Any], previous: Mapping[str, Any], *, starts: bool, steps: bool
    ) -> PhaseOutput:
        """Forward, backward and, when enough gradients are there, the step of one phase."""
        if starts:
            phase.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
        with self._gradient_exchange(steps):
            with torch.autocast(self.state.device.type, enabled=self.amp, **self.amp_kwargs):
                result: PhaseOutput = self.objective(batch, phase.name, previous)
            self.fire_event(IterationEvents.FORWARD_COMPLETED)
            terms = {name: _full_precision(term) for name, term in result.terms.items()}
            total = self.bare_objective.total(terms, phase.name)
            self._record(phase, terms, total)
            self.fire_event(IterationEvents.LOSS_COMPLETED)
            self._backward(phase, total / self._summed if self._summed > 1 else total)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if steps:
            phase.step()
        return result

    def _record(self, phase: Phase, terms: Mapping[str, Tensor], total: Tensor) -> None:
        output = self.state.output
        if phase is self.phases[0]:
            output[CommonKeys.LOSS] = total.detach()
        output.update({f"{phase.name}/{name}": term.detach() for name, term in terms.items()})
        self.monitor.update(phase.name, {**terms, "total": total}, self.state.iteration)
        if self.state.iteration % self.nan_check_interval == 0:
            self._check_finite()

    def _backward(self, phase: Phase, loss: Tensor) -> None:
        if loss.requires_grad:
            (loss if phase.scaler is None else phase.scaler.scale(loss)).backward()
        elif isinstance(self.objective, DistributedDataParallel):
            raise RuntimeError(
                f"the total of phase {phase.name!r} depends on no parameter on process {self.state.rank}; in a "
                "distributed run terms must stay attached to the networks when the batch has no sample for them."
            )

    def _gradient_exchange(self, steps: bool) -> contextlib.AbstractContextManager[Any]:
        if isinstance(self.objective, DistributedDataParallel) and not steps:
            return self.objective.no_sync()
        return contextlib.nullcontext()

    def _accumulation(self) -> tuple[bool, bool, int]:
        """Whether this iteration starts a sum of gradients, whether it ends one with a step, and of how many it is."""
        number, length, whole = self.state.iteration - 1, self.state.epoch_length, self.accumulation_steps
        if length is None:
            return number % whole == 0, (number + 1) % whole == 0, whole
        number %= length
        begun = number % whole
        size = min(whole, length - number + begun)  # what is left of an epoch makes a step of its own
        return begun == 0, begun + 1 == size, size


def _flushes_denormal() -> bool:
    """Whether this thread treats denormal numbers as zero; torch can set that but does not tell."""
    return float(torch.tensor(1e-310, dtype=torch.float64) * 1.0) == 0.0


def _bare_objective(objective: nn.Module) -> Objective:
    bare = objective.module if isinstance(objective, DistributedDataParallel) else objective
    if not isinstance(bare, Objective):
        raise ValueError(
            f"objective must be an Objective or one in DistributedDataParallel, got {type(bare).__name__}."
        )
    if isinstance(objective, DistributedDataParallel) and len(bare.phases) > 1 and not objective.find_unused_parameters:
        raise ValueError("an objective with several phases needs DistributedDataParallel(find_unused_parameters=True).")
    return bare


def _autocast_arguments(arguments: Mapping[str, Any] | None) -> dict[str, Any]:
    result = dict(arguments or {})
    if isinstance(result.get("dtype"), str):
        result["dtype"] = getattr(torch, result["dtype"].removeprefix("torch."))
    return result


def _full_precision(term: Tensor) -> Tensor:
    return term.float() if term.dtype in (torch.float16, torch.bfloat16) else term
