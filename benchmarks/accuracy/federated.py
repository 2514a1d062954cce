# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Three hospitals with one modality each train one network by MONAI's own client, and no image leaves any of them.

``python -m benchmarks.accuracy.federated --work DIR [--seeds 71]`` trains them together, pooled and each alone, with as
many steps, and writes ``benchmarks/results/federated.json`` and ``.md``; ``--rounds 2`` for a first look.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from torch import Tensor

from benchmarks import RESULTS, ROOT
from monai_mmseg.evaluation.layout import Sheet
from monai_mmseg.files import write_json
from monai_mmseg.networks.layers import average_sites, modality_of_key
from monai_mmseg.phantom import make_cardiac_phantom

BUNDLE = ROOT / "bundles" / "ummkd"
MODALITIES = ["ct", "mr"]
Weights = dict[str, Tensor]
SITES = {"north": {"ct": 8}, "south": {"mr": 6}, "west": {"mr": 2}}  # labelled subjects; each tests on its own
ROUNDS = 10
SETTINGS: dict[str, Any] = {
    **{"epoch_length": 30, "batch_size": 4, "val_interval": 1000, "lr_decay_steps": 30, "device": "cpu", "fold": None},
    **{"spatial_size": [48, 48], "pixdim": [4.0, 4.0, 4.0]},
    "backbone": {
        "_target_": "DynUNet",
        "spatial_dims": 2,
        "in_channels": "@num_slices",
        "out_channels": "$len(@labels)",
        "kernel_size": [3, 3, 3, 3],
        "strides": [1, 2, 2, 2],
        "upsample_kernel_size": [2, 2, 2],
        "filters": [8, 16, 32, 48],
        "norm_name": ["batch", {"eps": 0.001, "momentum": 0.1}],
    },
}
# validated once a round, and no weights are chosen by it: the test subjects of the site may serve
SETTINGS["validate#dataset#data"] = (
    "$monai_mmseg.bundle.read_items(@dataset_dir + '/datalist.json', 'test', modalities=@modalities)"
)


def make_data(root: Path, seed: int) -> None:
    """A folder with ``datalist.json`` for each site, and ``pooled`` with the images of all."""
    total = {m: sum(site.get(m, 0) for site in SITES.values()) for m in MODALITIES}
    path = make_cardiac_phantom(
        root / "phantom",
        subjects={m: count + 8 for m, count in total.items()},
        test_subjects=dict.fromkeys(MODALITIES, 8),
        size=64,
        seed=seed,
    )
    content = json.loads(path.read_text(encoding="utf-8"))
    for item in [*content["training"], *content["test"]]:
        item |= {key: str((root / "phantom" / item[key]).resolve()) for key in ("image", "label")}
    left = {m: [item for item in content["training"] if item["modality"] == m] for m in MODALITIES}
    for name, site in SITES.items():
        own = [left[modality].pop(0) for modality, count in site.items() for _ in range(count)]
        tests = [item for item in content["test"] if item["modality"] in site]
        write_json(root / name / "datalist.json", {**content, "training": own, "test": tests})
    write_json(root / "pooled" / "datalist.json", content)


def open_site(name: str, data: Path, work: Path, seed: int) -> MonaiAlgo:
    """The client of a site: the bundle with the site's data, in folders of its own."""
    places = {"bundle_root": BUNDLE, "dataset_dir": data, "output_dir": work / name}
    own = {**{key: str(path) for key, path in places.items()}, **SETTINGS, "seed": seed, "overwrite": True}
    configs = [f"configs/{config}.json" for config in ("train", "demo", "settings/chilopod")]
    client = MonaiAlgo(
        bundle_root=str(BUNDLE),
        local_epochs=1,
        send_weight_diff=False,
        config_train_filename=configs,
        train_kwargs={**own, "ckpt_dir": str(work / name / "models")},
        config_evaluate_filename=configs,
        eval_kwargs={**own, "ckpt_dir": str(work / name / "scored")},
    )
    client.initialize({ExtraItems.CLIENT_NAME: name})
    return client


def train_round(client: MonaiAlgo, weights: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, Tensor]:
    """What a site sends back: shared weights, and the normalisation of the modalities that it has."""
    if unknown := sorted(set(modalities) - set(MODALITIES)):  # nothing of it would be sent
        raise ValueError(f"modalities must be of the network's, {MODALITIES}, got {unknown}.")
    client.train(ExchangeObject(weights=dict(weights)))
    sent: Mapping[str, Tensor] = client.get_weights().weights
    # on a CPU these are the tensors that the site goes on training
    return {key: one.clone() for key, one in sent.items() if modality_of_key(key, MODALITIES) in (None, *modalities)}


def train_together(clients: Mapping[str, MonaiAlgo], samples: Mapping[str, Mapping[str, int]], rounds: int) -> Weights:
    """Weights after some rounds; with one client it is ordinary training."""
    first = next(iter(clients.values()))
    weights = {key: one.detach().clone() for key, one in first.trainer.network.state_dict().items()}
    for _ in range(rounds):
        sent = [train_round(client, weights, list(samples[name])) for name, client in clients.items()]
        weights |= average_sites(sent, [samples[name] for name in clients])
    return weights


def dice_of(client: MonaiAlgo, weights: Weights) -> dict[str, float]:
    """Dice of a network on the test subjects of a site, by modality; its images stay there."""
    metrics = client.evaluate(ExchangeObject(weights=dict(weights))).metrics
    return {name: round(metrics[f"dice/{name}"], 4) for name in MODALITIES if f"dice/{name}" in metrics}


def run(work: Path, seed: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Dice and CPU seconds of each way to train."""
    make_data(work / "data", seed)
    everyone = {m: sum(site.get(m, 0) for site in SITES.values()) for m in MODALITIES}
    ways = {"together": dict(SITES), "pooled": {"pooled": everyone}, **{name: {name: SITES[name]} for name in SITES}}
    found: dict[str, dict[str, Any]] = {}
    for way, sites in ways.items():
        began = time.process_time()
        clients = {name: open_site(name, work / "data" / name, work / way, seed) for name in sites}
        weights = train_together(clients, sites, rounds)
        scores: dict[str, float] = {}
        for client in clients.values():
            scores |= dice_of(client, weights)
        for client in clients.values():
            client.finalize()
        found[way] = {**scores, "cpu_seconds": round(time.process_time() - began, 1)}
        print(seed, way, found[way], flush=True)
    return found


def page(found: Mapping[int, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Table of all seeds."""

    def mean(way: str, name: str) -> str:
        each = [one[way][name] for one in found.values() if name in one[way]]
        return f"{sum(each) / len(each):.3f} ({', '.join(f'{value:.3f}' for value in each)})" if each else ""

    texts = {
        "together": "three sites together, no image leaves",
        "pooled": "the same, all images in one place",
        **{name: f"{name} alone ({', '.join(f'{n} {m.upper()}' for m, n in SITES[name].items())})" for name in SITES},
    }
    body = [[text, mean(way, "ct"), mean(way, "mr")] for way, text in texts.items()]
    return Sheet("", [""], ["Dice CT", "Dice MR"], body).markdown()


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", default="71")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="fewer for a first look; nothing is written then")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")  # MONAI says each time that configs of a server are code
    found = {
        int(seed): run(args.work.resolve() / f"seed{seed}", int(seed), args.rounds) for seed in args.seeds.split(",")
    }
    print("\n".join(page(found)))
    if args.rounds == ROUNDS:
        write_json(RESULTS / "federated.json", {"rounds": ROUNDS, "sites": SITES, "seeds": found})
        (RESULTS / "federated.md").write_text("\n".join(page(found)), encoding="utf-8")


if __name__ == "__main__":
    main()
