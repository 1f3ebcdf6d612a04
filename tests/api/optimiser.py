"""A program as gepa's users have it: it looks for a better prompt, and tells a tracker how that goes.

python optimiser.py own|attached PROJECT [DIE]
"""

import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from trk import create_experiment_tracker  # it was: from gepa.logging.experiment_tracker import …

ITERATIONS, WORKERS = 6, 3


def evaluate(tracker, prompt, iteration, task):
    score = random.Random(f"{prompt}{task}").random()
    tracker.log_metrics({f"task/{task}/score": score, "task/reason": "a text"}, step=iteration)
    return score


def optimise(tracker):
    tracker.log_config({"model": "some/model", "budget": 100, "seed": None, "tasks": ["a", "b"]})
    prompt, tree = "You are a helpful assistant. " * 400, []
    with ThreadPoolExecutor(WORKERS) as pool:
        for iteration in range(ITERATIONS):
            prompt += f"Rule {iteration}. "
            tasks = [pool.submit(evaluate, tracker, prompt, iteration, task) for task in range(WORKERS)]
            scores = [task.result() for task in tasks]
            tree.append(sum(scores) / len(scores))
            tracker.log_metrics({"val/score": tree[-1], "iteration/size": len(prompt)}, step=iteration)
            known = {f"task {task}": score for task, score in enumerate(scores[: 1 + iteration // 3])}
            tracker.log_table("candidates", ["iteration", "prompt", *known], [[iteration, prompt, *known.values()]])
            tracker.log_html("<ul>" + "".join(f"<li>{score}" for score in tree) + "</ul>", key="candidate_tree")
            tracker.log_summary({"best/prompt": prompt, "best/score": max(tree), "best/trace": {"scores": scores}})
            if sys.argv[3:] and iteration == ITERATIONS - 2:
                os.kill(os.getpid(), signal.SIGKILL)


def main():
    mode, project = sys.argv[1:3]
    common = {"use_wandb": True, "use_mlflow": True, "key_prefix": "gepa/", "wandb_step_metric": "gepa/iteration"}
    if mode == "own":
        tracker = create_experiment_tracker(
            wandb_init_kwargs={"project": project}, mlflow_experiment_name=project, **common
        )
        with tracker:
            optimise(tracker)
        assert tracker.failures == [], tracker.failures
        return
    import mlflow
    import wandb

    mlflow.set_experiment(project)
    with mlflow.start_run(), wandb.init(project=project) as run:
        run.log({"host/loss": 1.0})
        with create_experiment_tracker(wandb_attach_existing=True, mlflow_attach_existing=True, **common) as tracker:
            optimise(tracker)
        run.log({"host/loss": 0.5})
        mlflow.log_metric("host/loss", 0.5)
        assert tracker.failures == [], tracker.failures


if __name__ == "__main__":
    main()
