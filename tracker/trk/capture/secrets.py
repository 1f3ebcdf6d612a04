"""What looks like a secret, and masking it: in a command line, in text, in an address.

A secret is known by its own shape (a GitHub token is one wherever it stands) or by the name before it
(`--password x`, `token=…`, `"api_key": "…"`). When in doubt, more is masked than need be, and the name stays readable.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence

MASK = "***"
MAX_COMMAND = 5000  # characters of a masked command line

# Shapes that nothing harmless has. What a group `keep` holds stays; the rest becomes MASK.
_SHAPES = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----END))*"
    r"(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----)?",
    r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",  # AWS
    r"\bgh[pousr]_[A-Za-z0-9]{30,}",  # GitHub
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"\bgl[a-z]{2,7}-[A-Za-z0-9_.-]{20,}",  # GitLab: personal, deploy, runner, job, trigger, agent, …
    r"\bGR1348941[A-Za-z0-9_-]{20,}",  # GitLab runners before 16
    r"\bsk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic, OpenRouter, LangFuse
    r"\b(?:hf|api_org)_[A-Za-z0-9]{30,}",  # Hugging Face
    r"\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}",  # Slack
    r"\bxapp-[A-Za-z0-9-]{10,}",
    r"(?P<keep_slack>https://hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9/_-]+",
    r"\bAIza[A-Za-z0-9_-]{35}",  # Google
    r"\bGOCSPX-[A-Za-z0-9_-]{20,}",
    r"\bya29\.[A-Za-z0-9_.-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?",  # JWT
    r"\beyJhcGlf[A-Za-z0-9+/_-]{20,}={0,2}",  # Neptune: base64 of {"api_…
    r"\bwandb_v1_[A-Za-z0-9_]{20,}",  # Weights & Biases
    r"\blocal-(?:[A-Za-z0-9_-]{1,40}-)?[0-9a-f]{40}\b",
    r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}",  # Stripe
    r"\bdapi[0-9a-f]{32}",  # Databricks
    r"\bnpm_[A-Za-z0-9]{30,}",
    r"\bpypi-[A-Za-z0-9_-]{50,}",
    r"\bdckr_pat_[A-Za-z0-9_-]{20,}",
    r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}",  # SendGrid
    r"\bdop_v1_[0-9a-f]{60,}",  # DigitalOcean
    r"\b(?:gsk_|r8_|xai-|pplx-|nvapi-)[A-Za-z0-9_-]{30,}",  # Groq, Replicate, xAI, Perplexity, NVIDIA
    r"\bhv[sbr]\.[A-Za-z0-9_-]{20,}",  # Vault
    r"\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_-]{40,}",  # Terraform
    r"\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}\b",  # Grafana
    r"\bATATT3[A-Za-z0-9_=-]{60,}",  # Atlassian
    r"\bshp(?:at|ca|pa|ss)_[0-9a-f]{32}\b",  # Shopify
    r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b",  # Telegram
    r"(?P<keep_hook>https://(?:discord(?:app)?\.com/api/webhooks/\d+|[\w-]{1,63}\.webhook\.office\.com/webhookb2)/)"
    r"[\w/@-]+",
    r"(?P<keep_login>\blogin\s+)[0-9a-f]{40}\b",  # wandb login
    # curl's -u me:password; docker's -u 1000:1000 is none.
    r"(?P<keep_user>(?<![\w-])(?:-u|--user)[ =][\w.@+-]{1,100}:)(?!\d{1,10}(?![^\s\"']))[^\s\"']+",
    r"(?P<keep_netrc>\blogin\s+\S{1,200}\s+password\s+)\S+",  # as in .netrc
    r"\blin_api_[A-Za-z0-9]{32,}",  # Linear
    r"\bntn_[A-Za-z0-9]{40,}",  # Notion
    r"\bdp\.(?:pt|st|ct|sa)\.[A-Za-z0-9._-]{40,}",  # Doppler
    r"\b(?:sbp_|pul-)[0-9a-f]{40}\b",  # Supabase, Pulumi
    r"\bNRAK-[A-Z0-9]{27}\b",  # New Relic
    r"\btskey-[a-z]{3,8}-[A-Za-z0-9-]{20,}",  # Tailscale
    r"\bkey-[0-9a-f]{32}\b",  # Mailgun
    r"\bsq0(?:csp|atp|idp)-[A-Za-z0-9_-]{22,}",  # Square
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}",
    r"(?P<keep_sas>[?&]sig=)[A-Za-z0-9%+/_-]{20,}={0,2}",  # what Azure signs addresses with
    r"\b(?P<keep_scheme>(?i:Bearer|Basic)\s+)[A-Za-z0-9._~+/-]{16,}={0,2}",
    # user:password@ in an address; a password may hold / or @ though it should not, but :8080/ is a port.
    r"(?P<keep_url>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?:[^\s/@:\"'<>]*:(?!\d{1,5}[/?#])[^\s\"'<>]{1,300}@|[^\s/?#\"'<>]*@)",
)
_KEEPS = ("keep_slack", "keep_hook", "keep_sas", "keep_login", "keep_user", "keep_netrc", "keep_scheme", "keep_url")
_SHAPE = re.compile("|".join(_SHAPES))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names whose value is always a secret, whatever else they say, and the last words that make them something else.
_STRONG = _words(
    "password passwords passwd pwd passphrase passcode secret secrets apikey apikeys credential credentials "
    "authorization cookie jwt bearer accesskey secretkey privatekey clientsecret apitoken accesstoken authtoken"
)
_STRONG_ENDS = ("password", "passwd", "apikey")  # PGPASSWORD
_NOT_A_SECRET = _words(
    "file files path dir folder env var name names field length len min max size type policy prompt stdin manager "
    "store provider url uri host arn required enabled"
)
# Names whose value is a secret when they end so.
_WEAK = _words("token auth pat key pass pw sas signature")
_KEY_OF = _words(
    "api access secret private auth account client signing encryption ssh wandb mlflow openai anthropic azure google "
    "gemini cohere mistral hf huggingface comet neptune aws service subscription license deploy master session"
)
_TOKEN_OF_TEXT = _words(
    "pad eos bos unk sep cls mask special image audio video stop start end next prompt new last first per"
)
_HARMLESS = _words("true false none null yes no on off")

_NAME = r"[A-Za-z][\w.-]{0,99}"
# A name and what stands between it and its value: `name=`, `"name": `, `--name `.
_NAMED = re.compile(
    rf"(?<![\w.-])(?:(?P<flag>--?{_NAME})[ \t]+(?![-=:])|"
    rf"(?P<name>-{{0,2}}{_NAME})(?:\\?[\"'])?[ \t]*(?P<sep>=>|[=:]{{1,2}})[ \t]*)"
)
_UNIT = r"(?:\"(?:[^\"\\\n]|\\.)*\"?|'(?:[^'\\\n]|\\.)*'?|\$\([^)\n]*\)?|\\.|[^\s\"'&;|\\]+)"
# As a shell reads it, quoted pieces next to each other are one value; `"x","y"` are two.
_VALUE = re.compile(rf"(?:(?i:bearer|basic|token|digest)[ \t]+)?{_UNIT}(?:(?![,:}}\])]){_UNIT})*")
_WHOLE_LINE = re.compile(r"[^\"'\n]+")  # of a header: `Cookie: a=b; c=d`
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?%?,?")
_KEY = re.compile(r"[\"']?(?=[^\s0-9]{0,199}[0-9])[A-Za-z0-9+/=_.-]{20,200}[\"']?(?![\w/])")
_RANDOM = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9+/=_.-]{20,}")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_ASSIGNED = re.compile(rf"([-+]{{0,2}}{_NAME})=")
_FLAG_NAME = re.compile(rf"--?{_NAME}")
_FLAG = re.compile(r"--[a-z][a-z0-9_.-]*(?:=.*)?", re.DOTALL)
_PLAIN = re.compile(r"(?:[\w@%+=:,./-]|\*\*\*)+", re.ASCII)


def mask(text: str) -> str:
    """The text with everything that looks like a secret replaced by `***`."""
    return _mask_named(_SHAPE.sub(_mask_shape, text))


def mask_command(command: Sequence[str]) -> str:
    """A command line as one would type it (quoted for a shell), masked, at most MAX_COMMAND characters long."""
    parts: list[str] = []
    length = 0
    for value in masked_words(command):
        parts.append(value if _PLAIN.fullmatch(value) else shlex.quote(value))
        length += len(parts[-1]) + 1
        if length > MAX_COMMAND:
            break
    line = " ".join(parts)
    return line if len(line) <= MAX_COMMAND else line[: MAX_COMMAND - 1] + "…"


def masked_words(command: Sequence[str]) -> Iterator[str]:
    """The words of a command line, each masked by what it is and by the flag before it."""
    name = ""
    for argument in command:
        value = _mask_value(name, argument) if name else _mask_argument(argument)
        yield value
        name = "" if name and value != argument else _flag_name(argument)


def is_secret_name(name: str) -> bool:
    """Whether a variable, flag or field of that name holds a secret: `DB_PASSWORD`, `--hf-token`, `apiKey`."""
    return _strength(name) > 0


def looks_secret(name: str, text: str) -> bool:
    """Whether a value looks like a secret, by itself or because of its name."""
    return mask(text) != text or mask(f"{name}={text}") != f"{name}={text}"


def _strength(name: str) -> int:
    """2 when the value is a secret whatever it looks like, 1 when it is one unless it looks harmless, else 0."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return 0
    last = words[-1]
    if not _STRONG.isdisjoint(words) or any(word.endswith(_STRONG_ENDS) for word in words):
        return 0 if last in _NOT_A_SECRET else 2
    before = words[-2] if len(words) > 1 else ""
    if last == "key":
        return 2 if before in _KEY_OF else 0
    if last in _WEAK:
        return 0 if last == "token" and before in _TOKEN_OF_TEXT else 1
    return 0


def _mask_shape(found: re.Match[str]) -> str:
    return next((found[keep] for keep in _KEEPS if found[keep]), "") + MASK + ("@" if found["keep_url"] else "")


def _mask_named(text: str) -> str:
    """Mask the values that stand after a name that tells: `token=x`, `"secret": "x"`, `--password x`."""
    kept: list[str] = []
    copied, place = 0, 0
    while (named := _NAMED.search(text, place)) is not None:
        place = named.end()
        value = _value_after(named, text)
        if value is not None:
            kept += (text[copied : named.end()], MASK)
            copied = place = value.end()
    return "".join((*kept, text[copied:]))


def _value_after(named: re.Match[str], text: str) -> re.Match[str] | None:
    """The secret that the name announces, or None when there is none to mask."""
    name = named["flag"] or named["name"]
    strength = _strength(name)
    if name.lower().endswith(("authorization", "cookie")) and named["sep"] == ":":
        return _WHOLE_LINE.match(text, named.end())
    if strength == 0:  # decided before the value is sought: seeking one after every name of a long word is quadratic
        return _KEY.match(text, named.end()) if _is_key_like(name) else None
    value = _VALUE.match(text, named.end())
    if value is None or value[0] == MASK or _bare(value[0]).lower() in _HARMLESS:
        return None
    if strength == 1 and (_NUMBER.fullmatch(value[0]) or (named["sep"] == ":" and len(_bare(value[0])) < 8)):
        return None  # "tokens per auth: 12", "pass: done": prose rather than a secret
    return value


def _bare(value: str) -> str:
    return value.strip("\"'\\,")


def _is_key_like(name: str) -> bool:
    """Whether a key may follow (`--key x`, `wandb login x`): one if it looks random, while `--key 64` is none."""
    return name.lower().endswith("key") or name == "login"


def _flag_name(argument: str) -> str:
    """The argument if the next one may be its value; else empty."""
    return argument if argument == "login" or _FLAG_NAME.fullmatch(argument) else ""


def _mask_value(flag: str, value: str) -> str:
    """The argument after a flag, masked if the flag or the value's own shape says so."""
    if flag in ("-u", "--user"):
        return _mask_user(value)
    if value.lower() in _HARMLESS or _FLAG.fullmatch(value):
        return _mask_argument(value)  # the flag before it took no value
    if is_secret_name(flag) or (_is_key_like(flag) and _RANDOM.fullmatch(value)):
        return MASK
    return _mask_argument(value)


def _mask_argument(argument: str) -> str:
    """An argument by itself: of `name=value` the whole value, spaces, `;` and all, goes with a telling name."""
    place = 0
    while (named := _ASSIGNED.match(argument, place)) is not None:  # again in the value: --set=db.password=x
        place = named.end()
        if named[1] == "--user":
            return argument[:place] + _mask_user(argument[place:])
        if is_secret_name(named[1]) and argument[place:].lower() not in _HARMLESS:
            return mask(argument[:place]) + MASK
    return mask(argument)


def _mask_user(value: str) -> str:
    """`name:password`, as curl takes it, masked; docker's `1000:1000` holds no password."""
    name, colon, password = value.partition(":")
    return f"{name}:{MASK}" if password and not (name + password).isdigit() else mask(name) + colon + password
