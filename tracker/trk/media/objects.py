"""Objects of Python that are drawn or shown: figures of matplotlib and Plotly, images as arrays or of Pillow."""

from __future__ import annotations

from typing import Any

from trk.errors import UsageError
from trk.media import files, values
from trk.media.log import Given, given

_ENDINGS = ("png", "svg", "pdf", "jpg", "jpeg")


def figure(value: Any, name: str | None) -> Given:
    """A figure: a path, bytes, matplotlib's (drawn as its name's ending says, else PNG) or Plotly's (as JSON).

    Raises UsageError for anything else.
    """
    _check_name(name)
    if hasattr(value, "savefig"):
        return Given(None, _drawn(value, name), "the figure")
    if hasattr(value, "to_json") and hasattr(value, "to_plotly_json"):
        return Given(None, str(value.to_json()).encode(), "the figure")
    if isinstance(value, str) and "<" not in value and not value.lstrip().startswith("{"):
        return Given(value)
    return given(value, "the figure")


def _check_name(name: str | None) -> None:
    """Its ending is looked at before the name is checked as a whole."""
    if not isinstance(name, (str, type(None))):
        raise UsageError(f"name must be text, not {type(name).__name__}")


def _drawn(drawing: Any, name: str | None) -> bytes:
    from io import BytesIO

    ending = files.ending(name or "")[1:]
    buffer = BytesIO()
    drawing.savefig(buffer, format=ending if ending in _ENDINGS else "png")
    return buffer.getvalue()


def image(value: Any) -> Given:
    """An image: a path, bytes, an open file, Pillow's, or an array of shape (height, width[, 1, 3 or 4]).

    Numbers of an array, and of Pillow's modes I and F, are 0 to 255 as integers, 0 to 1 as floats. Raises UsageError
    for anything else.
    """
    if isinstance(value, str):
        return Given(value)
    if hasattr(value, "save") and hasattr(value, "convert"):
        return Given(None, _png(value), "the image")
    if hasattr(value, "__array__") or _is_tensor(value):
        return Given(None, _png(_of_array(value)), "the image")
    return given(value, "the image")


def _is_tensor(value: Any) -> bool:
    """Files have a `detach` too."""
    return hasattr(value, "detach") and hasattr(value, "cpu")


# Pillow's modes that PNG has not, and the one that keeps what they show.
_SHOWN = {
    "CMYK": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "RGBX": "RGB", "RGBa": "RGBA", "PA": "RGBA", "La": "LA",
}  # fmt: skip


def _png(picture: Any) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    try:
        mode = getattr(picture, "mode", "")
        if mode in ("I", "F"):  # wide numbers: made narrow, they would be cut off
            picture = _of_array(picture, f"an image of mode {mode}")
        elif mode in _SHOWN:
            picture = picture.convert(_SHOWN[mode])
        picture.save(buffer, format="PNG")
    except UsageError:
        raise
    except (OSError, SystemError, ValueError) as error:  # a file that is cut short; an image without a pixel
        raise UsageError(f"the image can't be written as PNG: {error}") from None
    return buffer.getvalue()


def _of_array(value: Any, what: str = "") -> Any:
    """Pillow's image of an array. `what` is what a message calls it, else by its type of numbers."""
    try:
        import numpy
        from PIL import Image
    except ImportError:
        needs = f"{what or 'an image from an array'} needs numpy and pillow"
        raise UsageError(needs, hint="pip install 'trk-ml[plot]'") from None
    array = numpy.asarray(value.detach().cpu() if _is_tensor(value) else value)
    if array.dtype.kind not in "buif":
        raise UsageError(f"an image's array holds numbers, not {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise UsageError(f"an image's array has the shape (height, width[, 1, 3 or 4]), not {array.shape}")
    if array.dtype == bool:
        array = array.astype(float)
    low, high = float(array.min()), float(array.max())
    top = 1 if array.dtype.kind == "f" else 255
    if not (low >= 0 and high <= top):
        what = what or f"an image's array of {array.dtype}"
        raise UsageError(f"{what} holds 0 to {top}, not {low:g} to {high:g}", hint="scale it before")
    scaled = numpy.rint(array * 255) if array.dtype.kind == "f" else array
    return Image.fromarray(scaled.astype(numpy.uint8))


def document(value: Any, name: str | None) -> tuple[Given, str | None]:
    """(what to log, its ending unless a name says it): a mapping or list as JSON, or as YAML when the name ends so.

    A path is a file. Values become what JSON has as those of tables do. Raises UsageError naming the place.
    """
    _check_name(name)
    if isinstance(value, str):
        return Given(value), None
    if hasattr(value, "__fspath__") or isinstance(value, (bytes, bytearray, memoryview)):
        return given(value, "the document"), None
    ending = files.ending(name or "")
    if ending in (".yaml", ".yml"):
        return Given(None, _yaml(_plain(value, values.YAML)), "the document"), ending
    return Given(None, _json(_plain(value, values.JSON)), "the document"), ".json"


def _plain(value: Any, what: int) -> Any:
    """The document as `values.plain` makes it. Raises UsageError that names the place."""
    try:
        return values.plain(value, what)
    except values.NotJson as error:
        named = 0 < len(error.path) < values.MAX_LEVELS
        between = "" if error.message.startswith("is ") else ":"
        message = f"{error.place() if named else 'the document'}{between} {error.message}"
        raise UsageError(message, hint=error.hint) from None


def _json(value: Any) -> bytes:
    import json

    text = json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    return (text + "\n").encode()


def _yaml(value: Any) -> bytes:
    import yaml

    try:
        return yaml.safe_dump(value, allow_unicode=True, sort_keys=False).encode()
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"the document is not YAML: {' '.join(str(error).split())}") from None
