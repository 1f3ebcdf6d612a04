"""Names, numbers, steps and times: what every backend accepts, and one line for everything else."""

import math
import re
import warnings
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trk import rules
from trk.errors import UsageError

RLM = "\u200f"  # right-to-left mark


def refusal(check, *given) -> str:
    """The message of the UsageError that a check raises: always one line, never longer than a terminal's few."""
    with pytest.raises(UsageError) as caught:
        check(*given)
    message = caught.value.message
    assert message.isprintable()
    assert len(message) < 400
    return message


# ---- names

GOOD_NAMES = ["f1", "val/f1-macro", "a b", "loss:train", "épreuve", "日本", "x" * 250, ".hidden", "a..b", "a/..b", "0"]
BAD_NAMES = [
    "", "x" * 251, "a\nb", "a\tb", "a\x1b[31m", "a\0b", "..", "../a", "a/../b", "a/..", ".", "./a", "a/.", "/a", "/",
    "a/", "a//b", "..a", "a=b", "a@b", "a[0]", "a{b}", "a(b)", "😀", f"a{RLM}b", "a\u202eb", "a,b",
     'a"b', "a'b", "a\\b",
    "a%b", "a?b", "a*b", "a#b", " a", "a ", "a\n", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    assert rules.check_name(name) == name


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_bad_name_is_refused_in_one_line(name: str) -> None:
    assert refusal(rules.check_name, name, "metric name").startswith("metric name ")


@pytest.mark.parametrize("name", [None, 1, b"f1", ["f1"]])
def test_a_name_that_is_no_text_is_refused(name: object) -> None:
    assert "must be text" in refusal(rules.check_name, name)


def test_a_name_from_numpy_or_an_enum_becomes_plain_text() -> None:
    numpy = pytest.importorskip("numpy")

    class Names(StrEnum):
        F1 = "f1"

    for name in (numpy.str_("f1"), Names.F1):
        assert type(rules.check_name(name)) is str
        assert type(rules.check_metric_name(name)) is str
        assert type(rules.check_text(name, "a tag")) is str


@pytest.mark.parametrize("name", rules.RESERVED_METRICS)
def test_the_names_of_axes_are_no_metric_names(name: str) -> None:
    assert "reserved" in refusal(rules.check_metric_name, name)


def test_tags_under_trk_are_reserved() -> None:
    assert "reserved" in refusal(rules.check_tag_name, "trk.run_id")
    assert rules.check_tag_name("trkish") == "trkish"


NAMELIKE = st.text(st.sampled_from("ab1_-. :/é=@ß²") | st.characters(), max_size=20) | st.text("a./ ", max_size=8)


@given(NAMELIKE)
def test_mlflow_accepts_every_name_that_trk_accepts(name: str) -> None:
    validation = pytest.importorskip("mlflow.utils.validation")
    try:
        rules.check_name(name)
    except UsageError:
        return
    validation._validate_metric_name(name)
    validation._validate_param_name(name)
    validation._validate_tag_name(name)


@given(NAMELIKE)
def test_a_name_is_accepted_by_the_rule_that_the_messages_tell(name: str) -> None:
    plain = re.fullmatch(r"[\w\-. :/]{1,250}", name) is not None and name == name.strip(" ")
    parts = name.split("/")
    expected = plain and not name.startswith("..") and all(part not in ("", ".", "..") for part in parts)
    try:
        rules.check_name(name)
    except UsageError:
        assert not expected
    else:
        assert expected


@pytest.mark.parametrize("title", ["first try", "lr=0.1 [a]", "Versuch №5", "😀", "x" * 250])
def test_a_title_is_any_visible_text(title: str) -> None:
    assert rules.check_title(title, "run name") == title


@pytest.mark.parametrize(
    "title", ["", "  ", "x" * 251, "a\nb", "a\x1b[2J", f"{RLM}a", "@last", "a\u200bb", "\ud800"], ids=ascii
)
def test_a_title_that_hides_or_misleads_is_refused(title: str) -> None:
    assert refusal(rules.check_title, title, "run name").startswith("run name ")


@pytest.mark.parametrize("text", ["a\0b", "\ud800", 5, None], ids=ascii)
def test_a_text_that_no_backend_takes_is_refused(text: object) -> None:
    refusal(rules.check_text, text, "the value of tag a")


def test_a_text_may_be_long_but_not_endless() -> None:
    assert rules.check_text("x" * 10_000, "value")
    assert "at most" in refusal(rules.check_text, "x" * (rules.MAX_TEXT + 1), "value")


# ---- numbers

NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)
NUMBERLIKE = st.text("0123456789+-.eE_ infaINFAtyxé٣", max_size=12) | st.from_regex(NUMBER, fullmatch=True)


@given(NUMBERLIKE)
def test_numbers_are_what_an_independent_grammar_says(text: str) -> None:
    expected = NUMBER.fullmatch(text) is not None and len(text) <= rules.MAX_NUMBER
    if expected and "n" not in text.lower():
        expected = math.isfinite(float(text))
    try:
        number = rules.parse_number(text)
    except UsageError:
        assert not expected
    else:
        assert expected
        assert number == float(text) or math.isnan(number)


@given(st.floats())
def test_every_double_comes_back_from_its_text(number: float) -> None:
    parsed = rules.parse_number(repr(number))
    assert (parsed == number and math.copysign(1, parsed) == math.copysign(1, number)) or math.isnan(number)


@pytest.mark.parametrize(
    "text", ["0.5", "1e-3", "-.5", "5.", "+1", "-1e-3", "1E5", "nan", "-inf", "Infinity", "NaN", "007"]
)
def test_a_number_is_taken(text: str) -> None:
    assert isinstance(rules.parse_number(text), float)


@pytest.mark.parametrize(
    "text",
    ["", "text", "1e999", "-1e999", "0x10", "1,5", "1_000", "٣", "１", " 3", "3 ", "3\n", "1e", "e5",
     ".", "+", "--1", "1.2.3",
     "1e5.5", "infinit", "nanx", "9" * 10_000, "0." + "1" * 10_000, "½", "²", "1d5", "0b1", "ınf", "\x1b[31m"],
    ids=lambda text: ascii(text)[:20],
)  # fmt: skip
def test_what_is_no_number_is_refused_in_one_line(text: str) -> None:
    assert refusal(rules.parse_number, text).startswith("value ")


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1.0), (True, 1.0), (0.5, 0.5), (Decimal("0.1"), 0.1), (Fraction(1, 4), 0.25), (10**300, 1e300), (-0.0, -0.0),
     (Decimal("Infinity"), math.inf)],
)  # fmt: skip
def test_a_scalar_is_a_number(value: object, number: float) -> None:
    assert rules.to_number(value) == number
    assert type(rules.to_number(value)) is float


@pytest.mark.parametrize(
    "value",
    [None, "0.5", b"1", bytearray(b"1"), 1j, [1], (1,), {}, object(), 10**400, 10**5000,
     Fraction(10**400), Decimal("1e999"),
     Decimal("sNaN"), datetime(2026, 1, 1), timedelta(1)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_scalar_is_refused(value: object) -> None:
    refusal(rules.to_number, value)


def test_numpy_scalars_are_numbers() -> None:
    np = pytest.importorskip("numpy")
    for value in (np.float64(0.5), np.float32(0.5), np.float16(0.5), np.array(0.5), np.longdouble(0.5)):
        assert rules.to_number(value) == 0.5
        assert type(rules.to_number(value)) is float
    assert rules.to_number(np.int8(-3)) == -3
    assert rules.to_number(np.bool_(True)) == 1
    assert math.isnan(rules.to_number(np.float32("nan")))


def test_other_numpy_objects_are_no_numbers() -> None:
    np = pytest.importorskip("numpy")
    bad = [np.array([1.0]), np.zeros((30, 3)), np.array([]), np.complex64(1 + 2j), np.array(1j),
    np.datetime64("2026-01-01"),
           np.timedelta64(5, "s"), np.array("1.5"), np.str_("1.5"), np.bytes_(b"1"), np.array(None)]  # fmt: skip
    for value in bad:
        refusal(rules.to_number, value)


def test_a_long_double_beyond_a_double_is_refused_not_made_infinite() -> None:
    np = pytest.importorskip("numpy")
    beyond = np.longdouble("1e400")
    if np.isinf(beyond):
        pytest.skip("long doubles are doubles here")
    assert "larger than a double" in refusal(rules.to_number, beyond)


def test_a_tensor_without_a_float_is_asked_for_its_item() -> None:
    class Scalar:
        def item(self) -> float:
            return 0.25

    assert rules.to_number(Scalar()) == 0.25


def test_a_tensor_with_a_gradient_is_its_value_without_a_warning() -> None:
    class Tensor:
        def __float__(self) -> float:
            warnings.warn("it requires a gradient", stacklevel=2)
            return 0.25

        def item(self) -> float:
            return 0.25

    tensors: list[Any] = [Tensor()]
    if find_spec("torch") is not None:
        import torch

        tensors += [torch.tensor(0.25, requires_grad=True), torch.tensor(0.25, dtype=torch.bfloat16)]
    for tensor in tensors:
        assert rules.to_number(tensor) == 0.25


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.797e308, -1.7976931348623157e308])
def test_what_is_not_finite_or_stands_for_it_is_never_ranked(value: float) -> None:
    assert not rules.is_ranked(value)


# ---- steps


@pytest.mark.parametrize("text", ["0", "7", "-3", str(2**63 - 1), str(-(2**63)), "-0"])
def test_a_step_is_a_whole_number_of_64_bits(text: str) -> None:
    assert rules.parse_step(text) == int(text)


@pytest.mark.parametrize(
    "text",
    ["", "-", "+3", "1.5", "1e3", "text", "1_000", " 3", "٣", "²", str(2**63), str(-(2**63) - 1), "9" * 5000],
    ids=lambda t: t[:20],
)
def test_a_bad_step_is_refused(text: str) -> None:
    assert refusal(rules.parse_step, text).startswith("step ")


@pytest.mark.parametrize(
    "step", [True, 1.0, "1", None, 2**63, -(2**63) - 1, 10**5000, [1]], ids=lambda s: repr(type(s))
)
def test_a_step_that_is_no_whole_number_is_refused(step: object) -> None:
    assert refusal(rules.check_step, step).startswith("step ")


def test_a_step_may_come_from_numpy() -> None:
    np = pytest.importorskip("numpy")
    assert type(rules.check_step(np.int64(3))) is int
    assert rules.check_step(np.array(4)) == 4
    for bad in (np.float64(3), np.array([1, 2]), np.array(1.5), np.bool_(True), np.uint64(2**63)):
        refusal(rules.check_step, bad)


# ---- times

MOMENT = 1_795_246_020_000  # 2026-11-21T07:27:00Z


@pytest.mark.parametrize(
    "text",
    ["2026-11-21T07:27:00Z", "2026-11-21T07:27:00", "2026-11-21 07:27", "2026-11-21T08:27:00+01:00",
     "20261121T072700Z", "1795246020", "1795246020.0", "1795246020000", "1.79524602e9"],
)  # fmt: skip
def test_a_time_is_iso_or_seconds_or_milliseconds(text: str) -> None:
    assert rules.parse_time(text) == MOMENT
    assert rules.check_time(text) == MOMENT


@pytest.mark.parametrize(
    ("text", "ms"),
    [("1795246020.123", 123), ("2026-11-21T07:27:00.123Z", 123), ("2026-11-21T07:27:00.123456Z", 123),
     ("1795246020123", 123)],
)  # fmt: skip
def test_parts_of_a_second_are_kept_to_the_millisecond(text: str, ms: int) -> None:
    assert rules.parse_time(text) == MOMENT + ms


@pytest.mark.parametrize(
    "text",
    ["", "text", "0000-01-01", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "2100-01-01", "9999-12-31T23:59:59Z",
     "-5", "1e300", "1e999", "nan", "inf", "-inf", "99999999999999", "9" * 30, "2026-13-01", "2026-02-30", "2026-11",
     "0001-01-01T00:00:00+23:59", "１７９５２４６０２０", "12:00", "yesterday", "2026-11-21T25:00:00",
     "1_795_246_020", "\x1b[31m"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_time_is_refused(text: str) -> None:
    assert refusal(rules.parse_time, text).startswith("timestamp ")


def test_a_time_may_be_a_datetime_or_a_number() -> None:
    assert rules.check_time(datetime(2026, 11, 21, 7, 27, tzinfo=UTC)) == MOMENT
    assert rules.check_time(datetime(2026, 11, 21, 9, 27, tzinfo=timezone(timedelta(hours=2)))) == MOMENT
    assert rules.check_time(MOMENT / 1000) == MOMENT
    assert rules.check_time(MOMENT) == MOMENT


def test_a_datetime_without_zone_is_local_time() -> None:
    naive = datetime(2026, 11, 21, 7, 27)
    assert rules.check_time(naive) == round(naive.timestamp() * 1000)


@pytest.mark.parametrize(
    "time", [None, [], math.nan, math.inf, -1, 10**30, datetime.min, datetime.max, datetime(2100, 1, 2)], ids=repr
)
def test_a_time_out_of_range_is_refused(time: object) -> None:
    refusal(rules.check_time, time)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC)))
def test_a_time_is_the_same_however_it_is_written(moment: datetime) -> None:
    assume(moment.microsecond % 1000 == 0)
    ms = rules.check_time(moment)
    assert rules.parse_time(moment.isoformat()) == ms
    assert rules.parse_time(f"{ms // 1000}.{ms % 1000:03}") == ms
    if ms >= rules.SECONDS_BELOW:
        assert rules.parse_time(str(ms)) == ms


# ---- directions

UP = [
    "neg_mean_squared_error",
    "neg_log_loss",
    "f1",
    "F1",
    "val/f1-macro",
    "val_acc",
    "accuracy",
    "top1_accuracy",
    "train.accuracy",
    "AUC",
    "roc_auc",
    "val/rocAuc",
    "auroc",
    "auc-pr",
    "mAP",
    "mAP50",
    "precision",
    "recall",
    "recall_at_5",
    "f1_score",
    "evalF1Score",
    "r2",
    "r2_score",
    "mcc",
    "kappa",
    "iou",
    "mean_iou",
    "miou",
    "dice",
    "bleu",
    "rougeL",
    "rouge1",
    "bleu4",
    "ndcg10",
    "ndcg_at_10",
    "mrr",
    "hit_rate",
    "hit10",
    "win_rate",
    "episode_reward",
    "mean_return",
    "psnr",
    "ssim",
    "throughput",
    "success_rate",
    "silhouette_score",
    "pass_at_1",
    "eval/exact_match",
    "specificity",
]
DOWN = [
    "accuracy_loss",
    "dice_loss",
    "neg_accuracy",
    "loss",
    "Loss",
    "val_loss",
    "train/loss",
    "valLoss",
    "loss1",
    "rmse",
    "RMSE",
    "mae",
    "mse",
    "mape",
    "log_loss",
    "logloss",
    "cross_entropy",
    "crossentropy",
    "nll",
    "perplexity",
    "ppl",
    "wer",
    "cer",
    "word_error_rate",
    "error",
    "err",
    "validation_error",
    "fid",
    "kl",
    "kl_divergence",
    "latency",
    "latency_ms",
    "latency:p95",
    "regret",
    "hinge",
    "ece",
    "brier",
    "smape",
    "duration_s",
    "perplexity/val",
]
OPEN = [
    "lr",
    "learning_rate",
    "epoch",
    "step",
    "temperature",
    "grad_norm",
    "loss_recall_gap",
    "brier_score",
    "alpha",
    "tokens",
    "batch_size",
    "x",
    "n",
    "gpu_memory",
    "flossing",
    "lossless",
    "classic",
    "準確",
    "1",
    "threshold",
]


@pytest.mark.parametrize("name", UP)
def test_more_is_better(name: str) -> None:
    assert rules.direction(name) == "max"


@pytest.mark.parametrize("name", DOWN)
def test_less_is_better(name: str) -> None:
    assert rules.direction(name) == "min"


@pytest.mark.parametrize("name", OPEN)
def test_a_name_that_says_neither_or_both_says_nothing(name: str) -> None:
    assert rules.direction(name) is None


@given(st.text(max_size=30))
def test_a_direction_is_never_an_error(name: str) -> None:
    assert rules.direction(name) in ("max", "min", None)


# ---- what errors show


@given(st.text() | st.binary() | st.integers() | st.lists(st.text()))
def test_what_is_shown_is_short_and_on_one_line(value: object) -> None:
    assert rules.shown(value).isprintable()
    assert len(rules.shown(value)) <= 60


@pytest.mark.parametrize("given", [True, False])
def test_a_truth_is_no_time(given: bool) -> None:
    with pytest.raises(UsageError, match="is not a time"):
        rules.check_time(given)
