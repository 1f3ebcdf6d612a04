"""What `trk demo` trains: softmax regression on Fisher's irises, by mini-batch gradient descent in pure Python.

Everything random comes from one seeded generator, so the same setting gives the same numbers everywhere.
The flowers and their source are in `data/README.md`.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

SEED = 1936
SPECIES = ("setosa", "versicolor", "virginica")
SHARES = (25, 13)  # flowers of each species for training and for validation; the other 12 are for the test

Vector = list[float]
Weights = list[Vector]  # one row for each species: its weight for each feature, and last its bias


@dataclass(frozen=True, slots=True)
class Flower:
    """One iris: its measures in centimetres, or standardised, and the place of its species in SPECIES."""

    measures: tuple[float, ...]
    species: int


@dataclass(frozen=True, slots=True)
class Split:
    """The flowers, divided: the same share of every species in each part."""

    train: tuple[Flower, ...]
    validation: tuple[Flower, ...]
    test: tuple[Flower, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of the sweep."""

    lr: float
    l2: float
    epochs: int = 20
    batch_size: int = 16


@dataclass(frozen=True, slots=True)
class Score:
    """How well some flowers are told apart: mean cross-entropy, share that is right, macro F1."""

    loss: float
    accuracy: float
    f1: float


def load() -> tuple[Flower, ...]:
    """The 150 irises that come with the package."""
    text = (resources.files("trk_cli") / "data" / "iris.csv").read_text(encoding="utf-8")
    _header, *rows = csv.reader(text.splitlines())
    return tuple(Flower(tuple(float(measure) for measure in row[:-1]), SPECIES.index(row[-1])) for row in rows)


def split(flowers: Sequence[Flower], seed: int = SEED) -> Split:
    """Shuffle and divide the flowers by species, and standardise them by what the training part alone shows."""
    generator = random.Random(seed)  # noqa: S311 - a shuffle that can be repeated, not a secret
    parts: tuple[list[Flower], list[Flower], list[Flower]] = ([], [], [])
    train, validation = SHARES
    for species in range(len(SPECIES)):
        kind = [flower for flower in flowers if flower.species == species]
        generator.shuffle(kind)
        parts[0].extend(kind[:train])
        parts[1].extend(kind[train : train + validation])
        parts[2].extend(kind[train + validation :])
    return Split(*(_standardised(part, parts[0]) for part in parts))


def _standardised(flowers: Sequence[Flower], by: Sequence[Flower]) -> tuple[Flower, ...]:
    """The flowers with each measure as its distance from the mean of `by`, in standard deviations of `by`."""
    scales = []
    for column in zip(*(flower.measures for flower in by), strict=True):
        mean = math.fsum(column) / len(column)
        deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in column) / len(column))
        scales.append((mean, deviation or 1.0))
    return tuple(
        Flower(
            tuple((value - mean) / scale for value, (mean, scale) in zip(flower.measures, scales, strict=True)),
            flower.species,
        )
        for flower in flowers
    )


def zeros(features: int = 4) -> Weights:
    """The weights from which training starts. The loss is convex, so zero is as good a place as any."""
    return [[0.0] * (features + 1) for _ in SPECIES]


def probabilities(weights: Weights, measures: Sequence[float]) -> Vector:
    """How probable each species is for a flower."""
    scores = [
        row[-1] + sum(weight * measure for weight, measure in zip(row[:-1], measures, strict=True)) for row in weights
    ]
    top = max(scores)  # exp of what is left can't overflow
    powers = [math.exp(score - top) for score in scores]
    total = sum(powers)
    return [power / total for power in powers]


def loss(weights: Weights, flowers: Sequence[Flower], l2: float) -> float:
    """Mean cross-entropy, plus half of `l2` times the squared weights. Biases go free."""
    entropy = -sum(math.log(max(probabilities(weights, flower.measures)[flower.species], 1e-300)) for flower in flowers)
    return entropy / len(flowers) + l2 / 2 * sum(weight * weight for row in weights for weight in row[:-1])


def gradient(weights: Weights, flowers: Sequence[Flower], l2: float) -> Weights:
    """The derivative of `loss` by every weight and bias."""
    slope = [[l2 * weight for weight in row[:-1]] + [0.0] for row in weights]
    for flower in flowers:
        for species, probability in enumerate(probabilities(weights, flower.measures)):
            error = (probability - (species == flower.species)) / len(flowers)
            for place, measure in enumerate((*flower.measures, 1.0)):
                slope[species][place] += error * measure
    return slope


def score(weights: Weights, flowers: Sequence[Flower]) -> Score:
    """How well the weights tell the flowers apart."""
    guesses = [_likeliest(probabilities(weights, flower.measures)) for flower in flowers]
    truths = [flower.species for flower in flowers]
    right = sum(guess == truth for guess, truth in zip(guesses, truths, strict=True))
    return Score(loss(weights, flowers, 0.0), right / len(flowers), macro_f1(truths, guesses))


def _likeliest(chances: Vector) -> int:
    return max(range(len(chances)), key=chances.__getitem__)


def macro_f1(truths: Sequence[int], guesses: Sequence[int]) -> float:
    """The mean over the species of the harmonic mean of precision and recall; 0 for one never met nor guessed."""
    pairs = list(zip(truths, guesses, strict=True))
    total = 0.0
    for species in range(len(SPECIES)):
        hits = sum(truth == guess == species for truth, guess in pairs)
        claims = sum(truth == species for truth, _ in pairs) + sum(guess == species for _, guess in pairs)
        total += 2 * hits / claims if claims else 0.0
    return total / len(SPECIES)


def train(flowers: Sequence[Flower], setting: Setting, seed: int = SEED) -> Iterator[Weights]:
    """Train on the flowers; yields the weights after each epoch."""
    generator = random.Random(seed)  # noqa: S311 - an order that can be repeated, not a secret
    order, weights = list(flowers), zeros(len(flowers[0].measures))
    for _ in range(setting.epochs):
        generator.shuffle(order)
        for begin in range(0, len(order), setting.batch_size):
            slope = gradient(weights, order[begin : begin + setting.batch_size], setting.l2)
            weights = [
                [weight - setting.lr * step for weight, step in zip(row, steps, strict=True)]
                for row, steps in zip(weights, slope, strict=True)
            ]
        yield weights
