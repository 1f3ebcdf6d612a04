"""What a content is, by its first bytes: images, figures, HTML, text."""

from __future__ import annotations

from trk.errors import UsageError

HEAD = 65_536  # bytes that are looked at

_IMAGES = (
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
)
_SAME = {".jpeg": ".jpg", ".tiff": ".tif", ".htm": ".html"}
FIGURES = (".png", ".svg", ".pdf", ".json", ".html", ".jpg")


def image(head: bytes, where: str) -> str:
    """The ending of an image of this kind: .png, .jpg, .gif, .webp, .bmp, .tif, .svg. Raises UsageError for others."""
    _check_there(head, where)
    for sign, ending in _IMAGES:
        if head.startswith(sign):
            return ending
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if _is_svg(head):
        return ".svg"
    raise UsageError(f"{where} is not an image (PNG, JPEG, GIF, WebP, BMP, TIFF, SVG)")


def figure(head: bytes, where: str) -> str:
    """The ending of a figure of this kind: one of FIGURES. Raises UsageError for others."""
    _check_there(head, where)
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if head.startswith(_IMAGES[0][0]):
        return ".png"
    if head.startswith(_IMAGES[1][0]):
        return ".jpg"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return ".json"
    if _is_svg(head):
        return ".svg"
    if _has_tag(head):
        return ".html"
    raise UsageError(f"{where} is not a figure (PNG, JPEG, SVG, PDF, Plotly's JSON, HTML)")


def check_html(head: bytes, where: str) -> None:
    """Raise UsageError for what has no tag of HTML in its first bytes."""
    _check_there(head, where)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        head = head.replace(b"\x00", b"")  # UTF-16: looked at as if it were ASCII
    if b"\x00" in head or not _has_tag(head):
        raise UsageError(f"{where} is not HTML: there is no tag in it", hint="trk log-text, or trk log-artifact")


def check_text(head: bytes, where: str) -> None:
    """Raise UsageError for what is not UTF-8 text, as far as the first bytes tell."""
    from codecs import getincrementaldecoder

    _check_there(head, where)
    if b"\x00" in head:
        raise UsageError(f"{where} is not text: there is a NUL byte in it", hint="trk log-artifact")
    try:
        getincrementaldecoder("utf-8")().decode(head, len(head) < HEAD)  # the last letter may be cut
    except UnicodeDecodeError as error:
        raise UsageError(f"{where} is not UTF-8 (byte {error.start})", hint="trk log-artifact") from None


def check_ending(given: str, found: str, where: str, what: str) -> None:
    """Raise UsageError when a name's ending says another kind than the content has."""
    if _SAME.get(given, given) != found:
        raise UsageError(
            f"{where} is {found[1:].upper()}, and its name ends in {given}", hint=f"name the {what} {found}"
        )


def _check_there(head: bytes, where: str) -> None:
    if not head.strip():
        raise UsageError(f"{where} is empty")


def _is_svg(head: bytes) -> bool:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return text.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")) and b"<svg" in text


def _has_tag(head: bytes) -> bool:
    """Whether there is a `<` with a letter, `!`, `?` or `/` after it."""
    at = head.find(b"<")
    while at != -1:
        after = head[at + 1 : at + 2]
        if after.isalpha() or after in (b"!", b"?", b"/"):
            return True
        at = head.find(b"<", at + 1)
    return False


# Types of artifacts by the ending of their first file, when none is given.
_TYPES = {
    "model": ".onnx .pkl .joblib .pickle .gguf .mlmodel .h5 .keras .pb .tflite",
    "checkpoint": ".ckpt .ckp .checkpoint",
    "weights": ".pt .pth .safetensors .bin .npz",
    "dataset": ".csv .tsv .parquet .jsonl .ndjson .arrow .feather .npy .tfrecord .hdf5",
    "image": ".png .jpg .jpeg .gif .webp .bmp .tif .tiff",
    "audio": ".wav .mp3 .flac .ogg .m4a",
    "video": ".mp4 .mov .avi .webm .mkv",
    "viz": ".svg .html .htm",
    "report": ".pdf .md .docx .tex",
    "config": ".json .yaml .yml .toml .ini .cfg",
    "code": ".py .ipynb .sh .r .jl .cpp .cu .c .h .rs .go .js .ts",
}
TYPES = (*_TYPES, "sample", "custom")


def type_of(ending: str) -> str:
    """The type of an artifact by the ending of its file; "custom" when it says nothing."""
    return next((type_ for type_, endings in _TYPES.items() if ending and ending in endings.split()), "custom")
