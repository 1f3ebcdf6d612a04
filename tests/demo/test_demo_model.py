"""The model of `trk demo`: right gradients, right data, the same numbers every time, and it does learn."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trk_cli import demo_model
from trk_cli.demo import SWEEP
from trk_cli.demo_model import SPECIES, Flower, Setting, Weights

FLOWERS = demo_model.load()
PARTS = demo_model.split(FLOWERS)


def test_the_data_are_fisher_s_150_flowers() -> None:
    assert len(FLOWERS) == 150
    assert [sum(flower.species == species for flower in FLOWERS) for species in range(3)] == [50, 50, 50]
    columns = list(zip(*(flower.measures for flower in FLOWERS), strict=True))
    assert [round(statistics.mean(column), 4) for column in columns] == [5.8433, 3.0573, 3.758, 1.1993]
    assert [round(statistics.stdev(column), 4) for column in columns] == [0.8281, 0.4359, 1.7653, 0.7622]


def test_the_two_flowers_that_uci_has_wrong_are_as_in_the_paper() -> None:
    assert FLOWERS[34].measures == (4.9, 3.1, 1.5, 0.2)
    assert FLOWERS[37].measures == (4.9, 3.6, 1.4, 0.1)


def test_each_flower_is_in_one_part_and_each_species_has_its_share_of_every_part() -> None:
    for part, share in ((PARTS.train, 25), (PARTS.validation, 13), (PARTS.test, 12)):
        assert [sum(flower.species == species for flower in part) for species in range(3)] == [share] * 3
    together = PARTS.train + PARTS.validation + PARTS.test
    assert sorted(flower.species for flower in together) == sorted(flower.species for flower in FLOWERS)


def test_the_training_part_alone_is_the_standard() -> None:
    for column in zip(*(flower.measures for flower in PARTS.train), strict=True):
        assert math.isclose(statistics.fmean(column), 0, abs_tol=1e-9)
        assert math.isclose(statistics.pstdev(column), 1, rel_tol=1e-9)
    assert any(abs(statistics.fmean(column)) > 0.01 for column in zip(*(f.measures for f in PARTS.test), strict=True))


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_the_gradient_is_the_loss_s_slope(l2: float) -> None:
    weights = [[0.1 * (row - 1) * (place + 1) - 0.05 for place in range(5)] for row in range(3)]
    batch, width = PARTS.train[::7], 1e-6
    slope = demo_model.gradient(weights, batch, l2)
    for row in range(3):
        for place in range(5):
            above, below = (_moved(weights, row, place, move) for move in (width, -width))
            by_difference = (demo_model.loss(above, batch, l2) - demo_model.loss(below, batch, l2)) / (2 * width)
            assert math.isclose(slope[row][place], by_difference, rel_tol=1e-5, abs_tol=1e-7)


def _moved(weights: Weights, row: int, place: int, move: float) -> Weights:
    copy = [list(line) for line in weights]
    copy[row][place] += move
    return copy


def test_training_lowers_the_loss_and_passes_ninety_percent_on_the_test_part() -> None:
    *_, weights = demo_model.train(PARTS.train, Setting(lr=1.0, l2=0.001))
    assert demo_model.loss(weights, PARTS.train, 0) < 0.3 * demo_model.loss(demo_model.zeros(), PARTS.train, 0)
    assert demo_model.score(weights, PARTS.test).accuracy > 0.9
    assert demo_model.score(weights, PARTS.test).f1 > 0.9


def test_the_sweep_has_a_best_and_a_worst() -> None:
    best = [
        max(demo_model.score(weights, PARTS.validation).f1 for weights in demo_model.train(PARTS.train, setting))
        for setting in SWEEP
    ]
    assert max(best) > 0.95
    assert min(best) < 0.9


def test_the_same_seed_gives_the_same_numbers() -> None:
    once, again = (list(demo_model.train(PARTS.train, Setting(0.3, 0.0, epochs=3))) for _ in range(2))
    assert once == again
    assert demo_model.split(FLOWERS) == PARTS
    assert demo_model.split(FLOWERS, seed=2) != PARTS


def test_macro_f1_by_hand() -> None:
    assert demo_model.macro_f1([0, 1, 2], [0, 1, 2]) == 1
    # setosa 2·1/(1+2), versicolor 0, virginica 1
    assert math.isclose(demo_model.macro_f1([0, 1, 2], [0, 0, 2]), (2 / 3 + 0 + 1) / 3)


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=5, max_size=5), min_size=3, max_size=3))
def test_probabilities_sum_to_one_however_large_the_weights(weights: Weights) -> None:
    chances = demo_model.probabilities(weights, (1.0, -2.0, 3.0, 1e3))
    assert math.isclose(sum(chances), 1)
    assert math.isfinite(demo_model.loss(weights, [Flower((1.0, -2.0, 3.0, 1e3), 0)], 0.1))
    assert len(chances) == len(SPECIES)
