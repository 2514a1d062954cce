# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A whole bundle around the toy objective, for tests of checks, handlers and tools."""

from __future__ import annotations

import json
from pathlib import Path

TRAIN = {
    "imports": ["$import torch", "$import monai_mmseg"],
    "bundle_root": ".",
    "ckpt_dir": "$@bundle_root + '/models'",
    "output_dir": "$@bundle_root + '/eval'",
    "dataset_dir": "$@bundle_root + '/data'",
    "device": "$torch.device('cpu')",
    "learning_rate": 0.01,
    "val_interval": 1,
    "resume": False,
    "weights": {"fit": {"adversarial": 0.1}},
    "network_def": {"_target_": "tests.engines.toy.ToyNetwork", "modalities": 2},
    "network": "$@network_def.to(@device)",
    "objective_def": {
        "_target_": "tests.engines.toy.ToyObjective",
        "network": "@network",
        "weights": "@weights",
    },
    "objective": "$@objective_def.to(@device)",
    "optimizers": {
        "fit": {"_target_": "torch.optim.Adam", "params": "$@objective_def.parameter_groups('fit', @learning_rate)"},
        "critic": {"_target_": "torch.optim.Adam", "params": "$@objective_def.parameters_of('critic')"},
    },
    "averaging": {"_target_": "monai_mmseg.engines.WeightAveraging", "network": "@network", "start_epoch": 0},
    "train": {
        "dataset": {"_target_": "Dataset", "data": "$__import__('tests.engines.toy').engines.toy.toy_items()"},
        "sampler": {"_target_": "monai_mmseg.data.EpochRandomSampler", "data_source": "@train#dataset"},
        "dataloader": {
            "_target_": "DataLoader",
            "dataset": "@train#dataset",
            "batch_size": 4,
            "sampler": "@train#sampler",
        },
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [
            {
                "_target_": "monai_mmseg.handlers.ResumeCheckpoint",
                "save_dir": "@ckpt_dir",
                "validator": "@validate#evaluator",
                "resume": "@resume",
            },
            {
                "_target_": "monai_mmseg.handlers.AveragedValidationHandler",
                "interval": "@val_interval",
                "validator": "@validate#evaluator",
                "averaging": "@averaging",
            },
            {"_target_": "StatsHandler", "iteration_log": False},
            {"_target_": "monai_mmseg.handlers.Progress", "enabled": False},
        ],
        "trainer": {
            "_target_": "monai_mmseg.engines.ObjectiveTrainer",
            "device": "@device",
            "max_epochs": 1,
            "train_data_loader": "@train#dataloader",
            "objective": "@objective",
            "optimizers": "@optimizers",
            "averaging": "@averaging",
            "inferer": "@train#inferer",
            "train_handlers": "@train#handlers",
        },
    },
    "validate": {
        "dataset": {"_target_": "Dataset", "data": "@train#dataset#data"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@validate#dataset", "batch_size": 1},
        "inferer": {"_target_": "SimpleInferer"},
        "handlers": [
            {
                "_target_": "CheckpointSaver",
                "save_dir": "@ckpt_dir",
                "save_dict": {"model": "@network"},
                "save_key_metric": True,
                "key_metric_filename": "model.pt",
            }
        ],
        "key_metric": {
            "mean_error": {
                "_target_": "ignite.metrics.Loss",
                "loss_fn": "$lambda pred, label: torch.nn.functional.cross_entropy(pred, label[:, 0])",
                "output_transform": "$lambda out: (out[0]['pred'][None], out[0]['label'][None])",
            }
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@validate#dataloader",
            "network": "@network",
            "inferer": "@validate#inferer",
            "key_val_metric": "@validate#key_metric",
            "val_handlers": "@validate#handlers",
        },
    },
    "initialize": ["$monai_mmseg.bundle.check_config(@bundle_root + '/configs/train.json')"],
    "run": ["$@train#trainer.run()"],
    "training": "@run",
}


def write_bundle(folder: Path, **changes) -> Path:
    """Write the bundle and give its train.json."""
    configs = folder / "configs"
    configs.mkdir(parents=True)
    content = {**TRAIN, "bundle_root": str(folder), **changes}
    (configs / "train.json").write_text(json.dumps(content))
    versions = dict.fromkeys(("version", "monai_version", "pytorch_version", "numpy_version"), "1.0.0")
    (configs / "metadata.json").write_text(json.dumps(versions))
    return configs / "train.json"
