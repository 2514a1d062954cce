# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from ignite.engine import Engine
from monai.engines import SupervisedEvaluator
from torch import nn

from monai_mmseg.handlers import AveragedValidationHandler


@pytest.mark.parametrize(
    ("interval", "epochs", "expected"), [(2, 5, [2, 4, 5]), (2, 4, [2, 4]), (3, 1, [1]), (1, 2, [1, 2])]
)
def test_the_last_epoch_is_validated(interval, epochs, expected):
    validator = SupervisedEvaluator(torch.device("cpu"), [{"image": torch.ones(1, 1)}], nn.Identity())
    seen = []
    validator.run = seen.append
    trainer = Engine(lambda *_: None)
    AveragedValidationHandler(interval, validator).attach(trainer)
    trainer.run([0, 1], max_epochs=epochs)
    assert seen == expected


def test_iterations_are_counted_as_they_were():
    validator = SupervisedEvaluator(torch.device("cpu"), [{"image": torch.ones(1, 1)}], nn.Identity())
    seen = []
    validator.run = seen.append
    trainer = Engine(lambda *_: None)
    AveragedValidationHandler(3, validator, epoch_level=False).attach(trainer)
    trainer.run([0, 1], max_epochs=2)
    assert len(seen) == 1
