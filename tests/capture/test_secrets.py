"""Real-looking secrets in every place a command line, text or address can hold them: none survives."""

import random
import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import costs_at_most
from trk.addresses import without_userinfo
from trk.capture.secrets import MASK, MAX_COMMAND, is_secret_name, mask, mask_command

DICE = random.Random(20)
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def made(length: int, alphabet: str = ALNUM) -> str:
    return "".join(DICE.choice(alphabet) for _ in range(length))


# Put together here, so that no scanner of secrets takes this file for a leak.
SHAPED = {
    "aws": "AK" + "IA" + made(16, string.ascii_uppercase + "234567"),
    "aws session": "AS" + "IA" + made(16, string.ascii_uppercase + "234567"),
    "github classic": "gh" + "p_" + made(36),
    "github app": "gh" + "s_" + made(36),
    "github fine": "github" + "_pat_" + made(22) + "_" + made(59),
    "gitlab": "gl" + "pat-" + made(20),
    "gitlab routable": "gl" + "pat-" + made(27) + ".01." + made(9, HEX),
    "gitlab deploy": "gl" + "dt-" + made(20),
    "openai": "s" + "k-" + made(48),
    "openai project": "s" + "k-proj-" + made(60) + "_" + made(40) + "-" + made(20),
    "anthropic": "s" + "k-ant-api03-" + made(93) + "AA",
    "hugging face": "h" + "f_" + made(34),
    "slack bot": "xo" + "xb-" + made(12, string.digits) + "-" + made(24),
    "slack app": "xa" + "pp-1-" + made(11, string.ascii_uppercase) + "-" + made(20, HEX),
    "google": "AI" + "za" + made(35),
    "google oauth": "ya" + "29." + made(60),
    "jwt": "ey" + "J" + made(33) + ".ey" + "J" + made(80) + "." + made(43),
    "wandb new": "wandb" + "_v1_" + made(60),
    "stripe": "s" + "k_live_" + made(24),
    "databricks": "da" + "pi" + made(32, HEX),
    "npm": "np" + "m_" + made(36),
    "pypi": "py" + "pi-AgEIcHlwaS5vcmc" + made(120),
    "neptune": "ey" + "JhcGlfYWRkcmVzcyI6" + made(80),
    "sendgrid": "S" + "G." + made(22) + "." + made(43),
    "groq": "gs" + "k_" + made(52),
    "replicate": "r" + "8_" + made(37),
    "xai": "xa" + "i-" + made(80),
    "perplexity": "pp" + "lx-" + made(48),
    "nvidia": "nv" + "api-" + made(60),
    "vault": "hv" + "s." + made(90),
    "terraform": made(14) + ".atlas" + "v1." + made(67),
    "grafana": "gl" + "sa_" + made(32) + "_" + made(8, HEX),
    "atlassian": "ATA" + "TT3xFfGF0" + made(180),
    "shopify": "shp" + "at_" + made(32, HEX),
    "telegram": made(10, "123456789") + ":A" + "A" + made(33),
    "linear": "lin" + "_api_" + made(40),
    "notion": "nt" + "n_" + made(46),
    "doppler": "dp" + ".pt." + made(43),
    "supabase": "sb" + "p_" + made(40, HEX),
    "pulumi": "pu" + "l-" + made(40, HEX),
    "new relic": "NR" + "AK-" + made(27, string.ascii_uppercase),
    "tailscale": "ts" + "key-auth-" + made(17) + "-" + made(32),
    "mailgun": "ke" + "y-" + made(32, HEX),
    "square": "sq" + "0csp-" + made(43),
    "age": "AGE-SECRET" + "-KEY-1" + made(58, string.ascii_uppercase + string.digits),
}
WANDB_KEY = made(40, HEX)
PLAIN = "Hunter2-" + made(9)  # a password has no shape of its own: only its name tells

IN_ARGUMENTS = [
    ("{0}",),
    ("--anything", "{0}"),
    ("--anything={0}",),
    ("x={0}",),
    ("bash", "-c", "export X={0}; python train.py --lr 0.1"),
    ("--json", '{{"x": "{0}", "lr": 1}}'),
    ("https://example.org/api?x={0}&y=1",),
    ("first line\n{0}\nlast line",),
]
BY_NAME = [
    ("--password", "{0}"),
    ("--password={0}",),
    ("--db-password", "{0}"),
    ("-password", "{0}"),
    ("--hf-token", "{0}"),
    ("--token={0}",),
    ("--api-key", "{0}"),
    ("--apiKey={0}",),
    ("--wandb_api_key", "{0}"),
    ("--client-secret", "{0}"),
    ("token={0}",),
    ("model.auth.token={0}",),
    ("+logger.wandb.api_key={0}",),
    ("--set=db.password={0}",),
    ("HF_TOKEN={0}", "python"),
    ("env", "AWS_SECRET_ACCESS_KEY={0}", "python"),
    ("-e", "MLFLOW_TRACKING_PASSWORD={0}"),
    ("--env=WANDB_API_KEY={0}",),
    ("-H", "Authorization: Bearer {0}"),
    ("-H", "Authorization: Basic {0}"),
    ("-H", "X-Api-Key: {0}"),
    ("-H", "PRIVATE-TOKEN: {0}"),
    ("--cookie", "session={0}"),
    ("-H", "Cookie: a=b; session={0}; c=d"),
    ("-u", "me:{0}"),
    ("--user=me:{0}",),
    ("postgresql://me:{0}@db.example.org:5432/mlflow",),
    ("--uri=https://me:{0}@example.org/x",),
    ("https://example.org/x?access_token={0}&page=2",),
    ("--config", '{{"lr": 1, "password": "{0}", "x": 2}}'),
    ("--config", "{{'secret':'{0}','x':2}}"),
    ("--config", '{{\\"token\\":\\"{0}\\",\\"x\\":2}}'),
    ("sh", "-c", "mysql --password {0} db"),
    ("sh", "-c", "mysql --password='{0}' db"),
    ("sh", "-c", "PGPASSWORD={0} psql; echo done"),
    ("Server=db;Password={0};Database=x",),
]


@pytest.mark.parametrize("kind", SHAPED)
@pytest.mark.parametrize("form", IN_ARGUMENTS)
def test_what_has_a_shape_is_masked_wherever_it_stands(kind: str, form: tuple[str, ...]) -> None:
    secret = SHAPED[kind]
    line = mask_command(["python", *(word.format(secret) for word in form)])
    assert secret not in line
    assert secret[-8:] not in line  # not its end either
    assert MASK in line


@pytest.mark.parametrize("secret", [PLAIN, WANDB_KEY, "p@ss/w0rd-x-" + made(4), *list(SHAPED.values())[:4]])
@pytest.mark.parametrize("form", BY_NAME, ids=" ".join)
def test_what_a_name_announces_is_masked_whatever_it_is(secret: str, form: tuple[str, ...]) -> None:
    line = mask_command(["python", "train.py", *(word.format(secret) for word in form), "--lr", "0.1"])
    assert secret not in line
    assert secret[-6:] not in line
    assert line.startswith("python train.py ")
    assert line.endswith(" --lr 0.1")


@pytest.mark.parametrize("secret", [PLAIN, WANDB_KEY, SHAPED["github classic"]])
def test_a_token_for_a_user_name_is_masked(secret: str) -> None:
    assert (
        mask_command(["git", "clone", f"https://{secret}@example.org/x.git"])
        == "git clone https://***@example.org/x.git"
    )


@pytest.mark.parametrize("form", [("--key", "{0}"), ("--wandb-key={0}",), ("wandb", "login", "{0}"), ("key={0}",)])
def test_a_wandb_key_after_a_key_like_flag_is_masked(form: tuple[str, ...]) -> None:
    assert WANDB_KEY not in mask_command([word.format(WANDB_KEY) for word in form])


@pytest.mark.parametrize("secret", ["two words and ; more", "semi;colon", "quote'd", 'dou"ble', "dol$lar", "-dash"])
@pytest.mark.parametrize("form", [("--password", "{0}"), ("--password={0}",), ("DB_PASSWORD={0}",)])
def test_a_password_of_any_characters_goes_as_a_whole(secret: str, form: tuple[str, ...]) -> None:
    line = mask_command(["x", *(word.format(secret) for word in form)])
    assert shlex.split(line)[-1].endswith(MASK)
    assert not any(part in line for part in (secret[-4:], secret[:4]))


@pytest.mark.parametrize(
    "form", ["$ wandb login {0}", "machine h login me password {0}", "machine h\n login me\n password {0}"]
)
def test_what_a_login_prints_is_masked(form: str) -> None:
    assert mask(form.format(WANDB_KEY) + "\nnext") == form.format(MASK) + "\nnext"


def test_a_user_with_a_password_is_masked_in_text_and_one_with_a_group_stays() -> None:
    assert mask(f"+ curl -u me:{PLAIN} -sf x") == "+ curl -u me:*** -sf x"
    assert mask(f"curl --user=me:{PLAIN}") == "curl --user=me:***"
    assert mask("docker run -u 1000:1000 x --user=0:0") == "docker run -u 1000:1000 x --user=0:0"


def test_addresses_that_are_keys_by_themselves_keep_what_they_are_of() -> None:
    secret = made(43)
    assert mask(f"https://x.blob.core.windows.net/c?sv=2022&sig={secret}%3D&se=1") == (
        "https://x.blob.core.windows.net/c?sv=2022&sig=***&se=1"
    )
    assert mask(f"https://discord.com/api/webhooks/123/{secret}") == "https://discord.com/api/webhooks/123/***"
    assert mask(f"https://a.webhook.office.com/webhookb2/{secret}@b/IncomingWebhook/c") == (
        "https://a.webhook.office.com/webhookb2/***"
    )


def test_a_private_key_is_masked_as_a_whole() -> None:
    body = "\n".join(made(64) for _ in range(4))
    begin, end = (f"-----{word} RSA PRIVATE" + " KEY-----" for word in ("BEGIN", "END"))
    masked = mask(f"before\n{begin}\n{body}\n{end}\nafter private_key: {begin}\n{body}\n{end}")
    assert not any(line in masked for line in body.splitlines())
    assert masked.startswith(f"before\n{MASK}\nafter ")


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --lr 0.1 --epochs=20 --tokenizer bert-base --max-tokens 512",
        "torchrun --nproc_per_node=8 train.py model.hidden=64 --author me",
        "python -u train.py --key-dim 64 --num_keys 8 --key 3 --pad-token PAD --password-file /run/p",
        "python train.py --use-auth-token true --secret-name db --passes 3",
        "mlflow ui --backend-store-uri sqlite:////home/me/mlflow.db --port 5000",
        "curl http://localhost:8080/users/@me https://example.org/a@b",
        "git checkout 0123456789abcdef0123456789abcdef01234567",
        "docker run -u 1000:1000 -v /a:/b image:latest",
        "python s3://bucket/x.py gs://b/y --monkey 1 --signature-version",
    ],
)
def test_what_is_no_secret_stays(command: str) -> None:
    assert mask_command(shlex.split(command)) == command


@pytest.mark.parametrize(
    "text",
    [
        "loss per token: 3.2",
        "first pass: done",
        "epoch 3: loss=0.25 f1=0.9",
        "Special token: PAD",
        "password: None",
        "tokens: 1234567890",
        '{"key": "f1", "value": 0.9}',
    ],
)
def test_prose_stays(text: str) -> None:
    assert mask(text) == text


def test_the_rest_of_a_line_stays_readable() -> None:
    assert mask('{"password":"x","lr":1}') == '{"password":***,"lr":1}'
    assert mask("https://x/y?token=abc&z=1") == "https://x/y?token=***&z=1"
    assert mask("export T_TOKEN=abc;python x.py") == "export T_TOKEN=***;python x.py"
    assert mask_command(["a b", "--password", "x", "$HOME"]) == "'a b' --password *** '$HOME'"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://me:pw@example.org/x", "https://example.org/x"),
        ("https://t0ken@example.org:8080/x", "https://example.org:8080/x"),
        ("postgres://u:p/s@h/db", "postgres://h/db"),
        ("postgres://u:p@s@h/db", "postgres://h/db"),
        ("http://host:8080/users/@me", "http://host:8080/users/@me"),
        ("sqlite:////a/b@c.db", "sqlite:////a/b@c.db"),
        ("https://h/x?a=1;token=SECRET", "https://h/x?a=1;token=***"),
        ("https://h/d;password=SEC;x=1", "https://h/d;password=***;x=1"),
        ("https://h/x?pass=a&pw=b&jwt=c&code=d&access=e&sas=f", "https://h/x?pass=***&pw=***&jwt=***&code=***&access=***&sas=***"),
        ("https://h/x?accession=NM_1&encoder=z", "https://h/x?accession=NM_1&encoder=z"),
        ("databricks", "databricks"),
    ],
)  # fmt: skip
def test_addresses_lose_user_and_password_and_nothing_else(address: str, public: str) -> None:
    assert without_userinfo(address) == public


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "DB_PASSWORD",
        "PASSWORD_PROD",
        "api_key",
        "apiKey",
        "APIKEY",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "HF_TOKEN",
        "hfToken",
        "SLURM_JWT",
        "--client-secret",
        "X-Api-Key",
        "GH_PAT",
        "VAULT_SECRET_ID",
        "PGPASSWORD",
        "MYSQL_PWD",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "LR",
        "tokenizer",
        "max_tokens",
        "TOKENIZERS_PARALLELISM",
        "pad_token",
        "key",
        "keyboard",
        "PASSWORD_FILE",
        "secret_name",
        "author",
        "SLURM_JOB_ID",
        "path",
        "monkey",
        "compass",
    ],
)
def test_names_of_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_a_long_command_line_is_cut_after_masking() -> None:
    secret = SHAPED["github classic"]
    padding = "x" * (MAX_COMMAND - 15)
    line = mask_command(["python", padding, secret, *["y"] * 100_000])
    assert len(line) == MAX_COMMAND
    assert secret[:10] not in line


def test_masking_is_linear_in_hostile_text() -> None:
    with costs_at_most(10):
        for text in ("a" * 100_000, "token=" * 20_000, "a://" * 30_000, '"' * 100_000, "--a " * 30_000, "=" * 100_000):
            mask(text)
            mask_command([text])
        mask("eyJ" * 30_000 + "." * 30_000 + "\\" * 30_000 + "-----BEGIN PRIVATE KEY-----" * 1000)
        mask("a:" * 50_000 + " " * 100_000 + "local-" * 10_000 + "xoxb." * 10_000 + "A" * 100_000)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=8))
def test_any_command_line_can_be_masked_and_masking_again_changes_nothing_of_its_words(command: list[str]) -> None:
    line = mask_command(command)
    assert len(line) <= MAX_COMMAND
    assert mask(mask(line)) == mask(line)


@given(st.from_regex(r"[A-Za-z0-9!#$%^*()+.~-]{9,30}", fullmatch=True))
def test_no_password_survives_any_of_the_forms(password: str) -> None:
    secret = "Zq" + password
    for form in (("--password", "{0}"), ("--password={0}",), ("p.password={0}",), ("https://u:{0}@h/x",)):
        assert secret not in mask_command([word.format(secret) for word in form])
