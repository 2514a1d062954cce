# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Early stopping stops as MONAI's does, and warns of nothing."""

import warnings

import pytest
from ignite.engine import Engine, Events
from monai.handlers import EarlyStopHandler

from monai_mmseg.handlers import EarlyStop, early_stop


def epochs(kind, scores, **settings):
    """After how many epochs a training with these scores ends."""
    found = iter(scores)
    trainer, evaluator = (Engine(lambda engine, batch: None) for _ in range(2))
    handler = kind(patience=2, score_function=lambda engine: next(found), **settings)
    handler.set_trainer(trainer)
    handler.attach(evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([0]))
    return trainer.run([0], max_epochs=len(scores)).epoch


CASES = [  # scores, settings, epochs by hand
    ([0.1, 0.2, 0.3, 0.4, 0.5], {}, 5),
    ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], {}, 5),
    ([0.50, 0.52, 0.54, 0.56, 0.58], {"min_delta": 0.03}, 3),  # each step is too small
    ([0.50, 0.52, 0.54, 0.56, 0.58], {"min_delta": 0.03, "cumulative_delta": True}, 5),  # two of them are not
]


@pytest.mark.parametrize(("scores", "settings", "expected"), CASES)
def test_stops_as_monais_and_warns_of_nothing(scores, settings, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert epochs(EarlyStop, scores, **settings) == expected
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert epochs(EarlyStopHandler, scores, **settings) == expected


def test_an_older_ignite_gets_the_older_names(monkeypatch):
    given = {}

    class Older:
        def __init__(self, patience, score_function, trainer, min_delta=0.0, cumulative_delta=False):
            given.update(patience=patience, min_delta=min_delta, cumulative_delta=cumulative_delta)

    monkeypatch.setattr(early_stop, "EarlyStopping", Older)
    handler = EarlyStop(3, lambda engine: 0.0, min_delta=0.1, cumulative_delta=True)
    handler.set_trainer(Engine(lambda engine, batch: None))
    assert given == {"patience": 3, "min_delta": 0.1, "cumulative_delta": True}


def test_without_a_trainer_it_says_so():
    engine = Engine(lambda engine, batch: None)
    EarlyStop(2, lambda engine: 0.0).attach(engine)
    with pytest.raises(RuntimeError, match="set_trainer"):
        engine.run([0])
