"""The W&B test server answers badly on command, and what the real SDK makes of it: what delivery has to count on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("wandb", reason="needs the wandb extra: the server is tested with the real SDK")
pytest.importorskip("graphql", reason="needs graphql-core, with which the server reads queries")

from helpers import until
from servers.wandb_child import Raised, SdkProcess
from servers.wandb_server import WandbServer

pytestmark = pytest.mark.usefixtures("answers_all")
QUICK = {"x_file_stream_retry_wait_min_seconds": 1, "x_file_stream_retry_wait_max_seconds": 1}  # 0.5 means 2 and 60
BOUND = {"finish_timeout": 2, "finish_timeout_raises": True}


def steps(server: WandbServer, run: str) -> list[int]:
    return [row["_step"] for row in server.run("tester", "digits", run).history]


@pytest.mark.parametrize(
    "how",
    [
        {"status": 500},
        {"status": 503},
        {"refuse": True},
        {"lose": True},
        {"cut": True},
        {"garbage": True},
        {"slow": 0.3},
    ],
    ids=lambda how: next(iter(how)) + str(how.get("status", "")),
)
def test_a_stream_answered_badly_once_is_whole_in_the_end(
    wandb_server: WandbServer, sdk: SdkProcess, how: dict[str, Any]
) -> None:
    name = "bad-" + "-".join(map(str, how)) + str(how.get("status", ""))
    fault = wandb_server.fail("file_stream", times=1, **how)
    sdk.do(f'run = init("{name}", settings={QUICK!r}); log(run, range(20)); run.finish()')
    assert fault.hits == 1
    assert steps(wandb_server, name) == list(range(20))
    assert wandb_server.run("tester", "digits", name).state == "finished"


def test_too_many_requests_are_waited_for_as_long_as_the_server_says(
    wandb_server: WandbServer, sdk: SdkProcess
) -> None:
    fault = wandb_server.fail("file_stream", status=429, retry_after=1.5, times=1)
    sdk.do('run = init("slow-down"); log(run, range(3)); run.finish()')
    refused, *later = [one for one in wandb_server.asked("file_stream") if "slow-down" in one.path]
    assert (fault.hits, refused.status) == (1, 429)
    assert later[0].at - refused.at >= 1.4
    assert steps(wandb_server, "slow-down") == [0, 1, 2]


def test_finish_gives_up_in_time_and_the_replay_makes_it_whole(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    fault = wandb_server.fail("file_stream", status=500)
    sdk.do(f'run = init("down", settings={BOUND | QUICK!r}); log(run, range(100))')
    with pytest.raises(Raised, match="TimeoutError: Timed out finishing run"):
        sdk.do("run.finish()")
    assert fault.hits > 1
    assert steps(wandb_server, "down") == []
    fault.remove()
    sdk.do('teardown(); run = init("down", resume="allow"); log(run, range(100)); run.finish()')
    assert steps(wandb_server, "down") == list(range(100))


def test_a_stream_refused_for_good_dies_without_a_word(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    """`finish` returns, nothing is raised and nothing is there: its return proves no delivery."""
    sdk.do('run = init("dead"); log(run, range(3))')
    until(lambda: len(steps(wandb_server, "dead")) == 3)
    fault = wandb_server.fail("file_stream", status=400, times=1)
    sdk.do("log(run, range(3, 6))")
    until(lambda: fault.hits == 1)
    sdk.do("log(run, range(6, 9)); run.finish()")
    assert steps(wandb_server, "dead") == [0, 1, 2]
    assert wandb_server.run("tester", "digits", "dead").state == "running"


def test_the_server_goes_away_and_comes_back_while_a_run_logs(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do(f'run = init("away", settings={QUICK!r}); log(run, range(5))')
    until(lambda: len(steps(wandb_server, "away")) == 5)
    wandb_server.stop()
    sdk.do("log(run, range(5, 10)); time.sleep(1.2); log(run, range(10, 15))")
    wandb_server.start()
    sdk.do("run.finish()")
    assert steps(wandb_server, "away") == list(range(15))


def test_without_the_start_time_in_the_config_a_resumed_run_is_doubled(
    wandb_server: WandbServer, sdk: SdkProcess
) -> None:
    sdk.do('run = init("old"); log(run, range(3)); run.finish()')
    wandb_server.fail("RunResumeStatus", without="wandbConfig")
    assert sdk.do('run = init("old", resume="allow"); result = run.resumed') is False
    sdk.do("log(run, range(3)); run.finish()")
    assert steps(wandb_server, "old") == [0, 1, 2, 0, 1, 2]


def test_an_answer_without_its_main_field_kills_the_core(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    sdk.do('run = init("crash"); log(run, [0])')
    wandb_server.fail("CreateRunFiles", without="createRunFiles", times=1)
    with pytest.raises(Raised, match=r"HandleAbandonedError|ConnectionResetError"):
        sdk.do("run.finish()")
    sdk.do('teardown(); run = init("crash", resume="allow"); log(run, range(2)); run.finish()')
    assert steps(wandb_server, "crash") == [0, 1]


def test_an_init_that_fails_says_why_and_leaves_its_id_in_use(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    fault = wandb_server.fail("graphql", status=500, message="out of order")
    with pytest.raises(Raised, match=r"CommError.*500: out of order"):
        sdk.do('init("refused", settings={"init_timeout": 1})')
    fault.remove()
    with pytest.raises(Raised, match="ServerResponseError: run ID refused is in use"):
        sdk.do('init("refused")')
    sdk.do('teardown(); init("refused").finish()')


def test_another_key_is_refused(wandb_server: WandbServer, sdk_process: Callable[..., SdkProcess]) -> None:
    stranger = sdk_process(WANDB_API_KEY="x" * 40)
    with pytest.raises(Raised, match="CommError: user is not logged in"):
        stranger.do('init("stranger")')
    with pytest.raises(Raised, match=r"AuthenticationError: .*user is not logged in"):
        stranger.do("wandb.Api()")
    assert "stranger" not in [run.id for run in wandb_server.runs()]
    assert {one.status for one in wandb_server.asked("UpsertBucket") if one.variables["name"] == "stranger"} == {401}


def test_an_artifact_that_could_not_be_put_raises_when_it_is_waited_for(
    wandb_server: WandbServer, sdk: SdkProcess
) -> None:
    wandb_server.fail("/artifact-files/", status=403)
    sdk.do("""
run = init("no-artifact")
made = wandb.Artifact("refused", type="dataset")
with made.new_file("x.txt") as file:
    file.write("x")
""")
    with pytest.raises(Raised, match="giving up"):
        sdk.do("run.log_artifact(made).wait()")
    sdk.do("run.finish()")
    assert wandb_server.run("tester", "digits", "no-artifact").artifacts == []


def test_a_saved_file_that_could_not_be_put_is_missing_without_a_word(
    wandb_server: WandbServer, sdk: SdkProcess
) -> None:
    wandb_server.fail("/storage/", status=403)
    sdk.do("""
open("kept.txt", "w").write("x")
run = init("no-file")
run.save("kept.txt", policy="now")
run.finish()
""")
    assert "kept.txt" not in wandb_server.run("tester", "digits", "no-file").files


def test_rows_that_the_sdk_drops_by_itself(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    """A step that is not larger than the last, and a row over 10 MB: no error, in no place."""
    sdk.do("""
run = init("dropped")
for step, value in ((5, "first"), (5, "same"), (3, "smaller"), (6, "x" * 11_000_000), (7, "last")):
    run.log({"text": value}, step=step, commit=True)
run.finish()
""")
    there = [(row["_step"], row["text"]) for row in wandb_server.run("tester", "digits", "dropped").history]
    assert there == [(5, "first"), (7, "last")]


def test_a_file_that_cannot_be_put_for_a_while_holds_finish_up(wandb_server: WandbServer, sdk: SdkProcess) -> None:
    fault = wandb_server.fail("/storage/", status=500)
    sdk.do(f"""
open("late.txt", "w").write("x")
run = init("late-file", settings={BOUND!r})
run.save("late.txt", policy="now")
log(run, [0])
""")
    with pytest.raises(Raised, match="TimeoutError: Timed out finishing run"):
        sdk.do("run.finish()")
    assert wandb_server.run("tester", "digits", "late-file").state == "running"
    fault.remove()
    sdk.do('run = init("late-file", resume="allow"); run.save("late.txt", policy="now"); run.finish()')
    there = wandb_server.run("tester", "digits", "late-file")
    assert (there.files["late.txt"], there.state, steps(wandb_server, "late-file")) == (b"x", "finished", [0])
