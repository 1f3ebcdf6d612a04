"""Which names, numbers, values and times every backend accepts; the only parser of numbers.

Nothing here imports: the log commands come through this module, and `re` alone would double their cost.
Limits are those of MLflow 3 (`mlflow/utils/validation.py`), the narrowest of the backends.
"""

from __future__ import annotations

from trk.errors import UsageError

MAX_NAME = 250  # characters in a metric, param, tag, run or experiment name
MAX_NUMBER = 400  # characters of a number's text: beyond the longest exact decimal anyone prints
MAX_TEXT = 10_000_000  # characters of a param, tag or summary text
MAX_PATH = 1000  # characters of a path inside a run
MAX_PART = 250  # bytes of one name in it: file systems take 255
MAX_STEP = 2**63 - 1
_EXACT = 2**53  # up to here a float holds each whole number
MAX_TIME_MS = 4_102_444_800_000  # 2100-01-01: what lies beyond is a unit mistaken, not a time
SECONDS_BELOW = 100_000_000_000  # as seconds the year 5138, as milliseconds 1973: nothing real is near
HUGE = 1.797e308  # MLflow stores infinity as ±1.797e308; from here on a value is never ranked

RESERVED_METRICS = ("trk/step", "trk/n", "_step", "_runtime", "_timestamp", "_wandb")
RESERVED_PARAMS = ("_wandb", "wandb_version")  # W&B keeps words of its own in a run's config
# Tags that are not a user's: trk keeps a run's identity in its own, and MLflow acts on its (`mlflow.runName` renames).
RESERVED_TAGS = ("trk.", "mlflow.")

UP = frozenset(
    "acc accuracy ap auc auprc auroc bleu chrf correct coverage dice ev exact f1 f1score f2 fscore gain gini hit hits "  # noqa: SIM905 - a table of words
    "iou jaccard kappa map map50 mcc miou mrr ndcg pass pearson precision psnr purity r2 recall return returns reward "
    "rewards rocauc rouge score sensitivity silhouette spearman specificity ssim success throughput win winrate "
    "wins".split()
)
DOWN = frozenset(
    "brier cer crossentropy deviance distance divergence duration ece energy err error errors fid fnr fpr hinge kl "  # noqa: SIM905
    "latency logloss loss losses mae mape medae mse msle nll perplexity ppl regret residual rmse rmsle runtime smape "
    "ter wer".split()
)

RESERVED_FOLDER = "trk"  # in a run's artifacts: what trk itself keeps there

_HEX = frozenset("0123456789abcdefABCDEF")
_NAME_EXTRA = frozenset("_-. :/")
_NO_NUMBERS = "cSUOMm"  # numpy's complex numbers, texts, objects and times: float() takes a part of them, or their days
_NUMBER_CHARS = frozenset("0123456789+-.eE")
_SPECIAL = {"nan": "nan", "inf": "inf", "infinity": "inf"}
# What turns text round or hides it; a terminal or a page would show another name than was logged.
_INVISIBLE = frozenset(
    "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff\u2028\u2029"
)


_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, bidi marks, half characters, line separators


def shown(text: object) -> str:
    """The text as an error message may show it: quoted, on one line, at most 60 characters."""
    try:
        quoted = repr(text)
    except ValueError:
        return "a number of thousands of digits"  # Python does not print those
    if not quoted.isprintable():  # an array's lines, or what a terminal would obey
        quoted = ascii(" ".join(quoted.split()))[1:-1]
    return quoted if len(quoted) <= 60 else quoted[:56] + "…" + quoted[-1]


def escape(text: str, keep: str = "") -> str:
    """The text with what could act on a terminal shown instead: `\\x1b`, `\\n`, `\\u202e`; `keep` stays as it is."""
    if text.isprintable():
        return text
    return "".join(char if char in keep or not acts(char) else ascii(char)[1:-1] for char in text)


def acts(char: str) -> bool:
    """Whether a character moves, hides or turns round what stands near it."""
    if char.isprintable():
        return False
    from unicodedata import category

    return category(char) in _ACTING


def check_name(name: str, what: str = "name") -> str:
    """A metric, param or tag name: letters, digits and `_ - . space : /`, at most 250, no `..`, no leading `/`.

    Raises UsageError naming the value and the rule.
    """
    if type(name) is not str:
        name = _plain(name, what)
    if not name:
        raise UsageError(f"{what} is empty")
    if len(name) > MAX_NAME:
        raise UsageError(f"{what} {shown(name)} has {len(name)} characters; at most {MAX_NAME} are allowed")
    if not name.isalnum():  # most names pass here without a loop
        for char in name:
            if not (char.isalnum() or char in _NAME_EXTRA):
                raise UsageError(
                    f"{what} {shown(name)} has the character {char!a}; letters, digits and _ - . space : / are allowed"
                )
        _check_path_like(name, what)
    return name


def _plain(text: object, what: str) -> str:
    """The text of a numpy string or an enum's member as plain text."""
    if not isinstance(text, str):
        raise UsageError(f"{what} must be text, not {type(text).__name__}")
    return str.__str__(text)


def _check_path_like(name: str, what: str) -> None:
    """MLflow keeps a name as a path: what a path would fold together or climb out with is refused."""
    if name[0] == " " or name[-1] == " ":
        raise UsageError(f"{what} {shown(name)} begins or ends with a space")
    if "/" in name or "." in name:
        if name[0] == "/":
            raise UsageError(f"{what} {shown(name)} begins with /")
        if any(part in ("", ".", "..") for part in name.split("/")) or name.startswith(".."):
            raise UsageError(f"{what} {shown(name)} is not a plain path: no empty part, no . and no ..")


def check_artifact_path(path: str, what: str = "path") -> str:
    """A place inside a run: names with / between them, at most 1,000 characters, nothing that climbs out.

    What MLflow's server would take apart as an address is refused too (tried: it loses such files or finds them under
    another name): `#`, `?`, `%20`, and a word before a colon. Raises UsageError naming the path and the rule.
    """
    if type(path) is not str:
        path = _plain(path, what)
    if not path or len(path) > MAX_PATH:
        raise UsageError(f"{what} {shown(path)} has {len(path)} characters; 1 to {MAX_PATH} are allowed")
    if not path.isprintable() or not _INVISIBLE.isdisjoint(path):
        raise UsageError(f"{what} {shown(path)} has characters that can't be seen, or that are no text")
    for char in "\\#?":
        if char in path:
            raise UsageError(f"{what} {shown(path)} has the character {char}, which no artifact path may have")
    for part in path.split("/"):
        _check_part(part, path, what)
    if path == RESERVED_FOLDER or path.startswith(RESERVED_FOLDER + "/"):
        raise UsageError(f"{what} {shown(path)} is reserved: the folder {RESERVED_FOLDER} is trk's own in every run")
    return path


def _check_part(part: str, path: str, what: str) -> None:
    """One name of a path."""
    if part in ("", ".", ".."):
        raise UsageError(f"{what} {shown(path)} is not a plain path: no empty part, no . and no ..")
    if part[0] == " " or part[-1] == " ":
        raise UsageError(f"{what} {shown(path)} has a name that begins or ends with a space")
    if len(part.encode()) > MAX_PART:
        raise UsageError(f"{what} {shown(path)} has a name of more than {MAX_PART} bytes")
    for piece in part.split("%")[1:]:
        if len(piece) > 1 and _HEX.issuperset(piece[:2]):
            raise UsageError(f"{what} {shown(path)} has %{piece[:2]}, which servers take for another character")
    scheme, colon, _ = part.partition(":")
    if colon and scheme[:1].isalpha() and scheme.isascii() and scheme.replace("-", "").replace("+", "").isalnum():
        raise UsageError(f"{what} {shown(path)} has {scheme}: in it, which servers take for the begin of an address")


def check_metric_name(name: str) -> str:
    """A metric name: `check_name`, and not one that W&B or trk uses for itself."""
    name = check_name(name, "metric name")
    if name in RESERVED_METRICS or name.startswith("trk/"):
        raise UsageError(f"metric name {shown(name)} is reserved: trk and W&B use it for their own axes")
    return name


def check_summary_name(name: str) -> str:
    """The name of a summary value: `check_name`, and not one that W&B or trk uses for itself."""
    name = check_name(name, "summary name")
    if name in RESERVED_METRICS or name.startswith("trk/"):
        raise UsageError(f"summary name {shown(name)} is reserved: trk and W&B use it for their own notes")
    return name


def check_param_name(name: str) -> str:
    """A param's name: `check_name`, and not one that W&B uses for itself in a config."""
    name = check_name(name, "param name")
    if name in RESERVED_PARAMS:
        raise UsageError(f"param name {shown(name)} is reserved: W&B uses it for itself in a run's config")
    return name


def check_tag_name(name: str) -> str:
    """A tag name: `check_name`, and not under `trk.` or `mlflow.`, whose tags mean something to trk and MLflow."""
    name = check_name(name, "tag name")
    if name.startswith(RESERVED_TAGS):
        raise UsageError(f"tag name {shown(name)} is reserved: tags under trk. and mlflow. act on the run itself")
    return name


def check_title(title: str, what: str) -> str:
    """A run's or experiment's name: any visible text on one line, at most 250 characters, not beginning with @.

    Raises UsageError.
    """
    title = check_text(title, what)
    if not title.strip():
        raise UsageError(f"{what} is empty")
    if len(title) > MAX_NAME:
        raise UsageError(f"{what} {shown(title)} has {len(title)} characters; at most {MAX_NAME} are allowed")
    for char in title:
        if char in _INVISIBLE or not (char.isprintable() or char == " "):
            raise UsageError(f"{what} {shown(title)} has the invisible character {char!a}")
    if title[0] == "@":
        raise UsageError(f"{what} {shown(title)} begins with @, which names runs such as @last")
    return title


def check_text(text: str, what: str) -> str:
    """Free text, such as a param's or tag's value: valid Unicode without NUL, at most ten million characters."""
    if type(text) is not str:
        text = _plain(text, what)
    if len(text) > MAX_TEXT:
        raise UsageError(f"{what} has {len(text)} characters; at most {MAX_TEXT} are allowed")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UsageError(f"{what} {ascii(text)[:60]} is not valid UTF-8") from None
    if "\0" in text:
        raise UsageError(f"{what} contains a NUL character")
    return text


def parse_number(text: str, what: str = "value") -> float:
    """The number a text stands for: `0.5`, `1e-3`, `-.5`, `nan`, `inf`; nothing looser.

    Raises UsageError for anything else, and for digits that no double can hold (`1e999`).
    """
    sign, bare = (text[0], text[1:]) if text[:1] in ("-", "+") else ("", text)
    special = _SPECIAL.get(bare.lower()) if bare.isascii() else None
    if special is not None:
        return float(sign + special)
    if not text or len(text) > MAX_NUMBER or not _NUMBER_CHARS.issuperset(text):
        raise UsageError(f"{what} {shown(text)} is not a number (such as 0.5, -1e-3, nan, inf)")
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"{what} {shown(text)} is not a number (such as 0.5, -1e-3, nan, inf)") from None
    if number - number != 0:
        raise UsageError(f"{what} {shown(text)} is larger than a double can hold; say inf if that is meant")
    return number


def to_number(value: object, what: str = "value") -> float:
    """A Python, numpy or tensor scalar as a float. Raises UsageError for text, None, containers and overflow."""
    if type(value) is float:
        return value
    if isinstance(value, (int, float)):
        return _as_float(value, what)
    if (
        value is None
        or isinstance(value, (str, bytes, bytearray, complex))
        or getattr(value, "ndim", 0) != 0
        or getattr(getattr(value, "dtype", None), "kind", "f") in _NO_NUMBERS
    ):
        raise UsageError(f"{what} must be one number, not {shown(value)}")
    if hasattr(value, "item"):  # float() of a tensor that has a gradient warns
        value = value.item()
    return _as_float(value, what)


def _as_float(value: object, what: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever it is, float() judges it
        if number - number == 0 or number != number or number == value:
            return number
    except (TypeError, ValueError):
        raise UsageError(f"{what} must be one number, not {shown(value)}") from None
    except OverflowError:
        pass
    # Decimal and numpy's long doubles become infinite without a word.
    raise UsageError(f"{what} is larger than a double can hold; say inf if that is meant")


def parse_step(text: str) -> int:
    """A step's text as an integer from -2^63 to 2^63 - 1. Raises UsageError."""
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
        raise UsageError(f"step {shown(text)} is not a whole number")
    return check_step(int(text))


def check_step(step: object) -> int:
    """A step as an int within 64 bits. Raises UsageError."""
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise UsageError(f"step must be a whole number, not {shown(step)}")
    try:
        number = int(step.__index__())
    except TypeError:  # arrays have the method, and not the number
        raise UsageError(f"step must be a whole number, not {shown(step)}") from None
    if not -MAX_STEP - 1 <= number <= MAX_STEP:
        raise UsageError(f"step {shown(number)} does not fit 64 bits")
    return number


def whole_step(step: object) -> int:
    """A step as check_step takes it, or a float that is one, as JSON and tables may write it. Raises UsageError."""
    is_exact = isinstance(step, float) and step.is_integer() and abs(step) <= _EXACT
    return check_step(int(step) if is_exact else step)  # type: ignore[call-overload]  # is_exact: a float


def parse_time(text: str) -> int:
    """A time's text as milliseconds since 1970: ISO 8601 (UTC when it names no zone), or s or ms since the epoch.

    Raises UsageError; the years 1970 to 2099 are taken.
    """
    is_date = len(text) == 8 and text.isdigit()  # 20261121 is a day, not a second of 1970
    if text and not is_date and _NUMBER_CHARS.issuperset(text):
        try:
            return check_time(parse_number(text, "timestamp"))
        except UsageError:
            if text.count("-") < 2 and not text.isdigit():
                raise
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"timestamp {shown(text)} is neither ISO 8601 (2026-11-21T07:27:00Z) nor seconds or ms since 1970"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return _in_range((elapsed.days * 86_400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000, text)


def check_time(time: object) -> int:
    """A time as milliseconds since 1970: a number below 1e11 is seconds, else milliseconds; a datetime; or text.

    Raises UsageError. Text is as in `parse_time`; a datetime without a zone is local time, as everywhere in Python.
    """
    if isinstance(time, str):
        return parse_time(time)
    if hasattr(time, "timestamp"):
        try:
            return _in_range(round(time.timestamp() * 1000), time)
        except (TypeError, ValueError, OverflowError, OSError):  # the year 1 in local time; pandas' "not a time"
            raise UsageError(f"timestamp {shown(time)} is outside the years 1970 to 2099") from None
    if isinstance(time, bool):
        raise UsageError(f"timestamp {shown(time)} is not a time")
    number = to_number(time, "timestamp")
    if number - number != 0:
        raise UsageError(f"timestamp {shown(time)} is not a time")
    return _in_range(round(number * 1000) if abs(number) < SECONDS_BELOW else round(number), time)


def _in_range(time_ms: int, given: object) -> int:
    if not 0 <= time_ms < MAX_TIME_MS:
        raise UsageError(f"timestamp {shown(given)} is outside the years 1970 to 2099")
    return time_ms


def is_ranked(value: float) -> bool:
    """Whether a value may be compared for best: not NaN, not infinite, not what MLflow makes of infinity."""
    return -HUGE < value < HUGE


def place(value: float) -> float:
    """A value's place among others of the same step and time: NaN counts as 0, as in MLflow's stores."""
    return value if value == value else 0.0


def direction(name: str) -> str | None:
    """`max` or `min` for a metric whose name says which is better; None when it says neither or both."""
    words = _words(name)
    up, down = not UP.isdisjoint(words), not DOWN.isdisjoint(words)
    if down and _plain_words(name)[-1:] in _HEADS:
        up = False  # what is lost of it: `dice_loss`, `accuracy_loss`
    if up == down:
        return None
    if _plain_words(name)[:1] in _NEGATED:
        up = not up  # scikit-learn's `neg_mean_squared_error`
    return "max" if up else "min"


_HEADS = (["loss"], ["losses"], ["error"], ["errors"])
_NEGATED = (["neg"], ["negative"])


def _plain_words(name: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in name.lower()).split()


def _words(name: str) -> list[str]:
    """The words of a metric name: `val/rocAuc_2` is val, roc, auc, rocauc, 2; `ndcg10` is ndcg10 and ndcg."""
    words: list[str] = []
    for part in "".join(char if char.isalnum() else " " for char in name).split():
        spaced = "".join(
            " " + char if char.isupper() and i and part[i - 1].islower() else char for i, char in enumerate(part)
        )
        words += [part.lower(), part.lower().rstrip("0123456789"), *spaced.lower().split()]
    return words + [before + after for before, after in zip(words, words[1:], strict=False)]  # noqa: RUF007 - cross_entropy; no import for it


_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def parse_duration(text: str, what: str = "duration") -> float:
    """A span of time in seconds: a number with s, m, h, d or w, such as 30d; or 0. Raises UsageError."""
    seconds = _SECONDS.get(text[-1:]) if text != "0" else 1
    try:
        number = parse_number(text if text == "0" else text[:-1])
    except UsageError:
        seconds, number = None, 0.0
    if seconds is None or not 0 <= number * seconds <= 1e11:
        raise UsageError(f"{what} {shown(text)} is no span of time", hint="such as 30d, 12h, 90m or 0")
    return number * seconds
