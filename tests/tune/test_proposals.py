"""Proposals are a function of the history, new each time, and learn from what is known."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.space import Space
from tune.search.proposals import BEST, LATEST, Tried, _select, propose

SPACE = Space(
    name="x",
    question="?",
    searched={
        "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
        "lora_rank": IntDistribution(1, 64, log=True),
    },
)


def run(space: Space, n: int, judge) -> list[Tried]:
    history: list[Tried] = []
    for number in range(n):
        params = propose(space, history, 0, number)
        if params is None:
            break
        history.append(judge(params))
    return history


def complete(params: dict) -> Tried:
    import math

    score = -abs(math.log10(params["learning_rate"]) + 3)
    return Tried(params=params, state="COMPLETE", steps={100: score})


def test_a_proposal_is_a_function_of_what_is_known() -> None:
    history = run(SPACE, 12, complete)
    assert propose(SPACE, history, 0, 12) == propose(SPACE, list(history), 0, 12)
    assert propose(SPACE, history, 0, 12) != propose(SPACE, history, 1, 12)


def test_the_sampler_learns() -> None:
    late = [abs(t.steps[100]) for t in run(SPACE, 40, complete)[25:]]
    assert sum(late) / len(late) < 0.7  # decades from the best; 1.3 at random


def test_infeasible_regions_are_avoided() -> None:
    def judge(params: dict) -> Tried:
        if params["learning_rate"] > 1e-3:
            return Tried(params=params, state="FAIL", infeasible=True)
        return Tried(params=params, state="COMPLETE", steps={100: 1.0})  # nothing else to learn

    late = run(SPACE, 40, judge)[20:]
    assert sum(t.infeasible for t in late) < 9  # 12 at random


def test_running_waiting_and_failed_trials_are_no_obstacle() -> None:
    history = run(SPACE, 10, complete)
    history += [
        Tried(params={"learning_rate": 0.1, "lora_rank": 3}, state="RUNNING", steps={10: 1.0}),
        Tried(params={"learning_rate": 0.2, "lora_rank": 3}, state="PRUNED", steps={10: 1.0}),
        Tried(params={"learning_rate": 0.3, "lora_rank": 3}, state="FAIL"),
    ]
    assert propose(SPACE, history, 0, 13) is not None


def test_a_finite_space_ends_after_its_last_point() -> None:
    space = Space(
        name="x",
        question="?",
        searched={
            "lora_modules": CategoricalDistribution(("qv", "ffn", "attention")),
            "lora_rank": IntDistribution(1, 3),
        },
        first=({"lora_modules": "ffn"},),
    )
    history = run(space, 20, lambda p: Tried(params=p, state="COMPLETE", steps={1: 0.0}))
    assert history[0].params["lora_modules"] == "ffn"
    assert len(history) == 9 == len({tuple(t.params.items()) for t in history})


def test_a_long_history_is_learnt_from_its_latest_and_its_best() -> None:
    old = [Tried(params={}, state="PRUNED", steps={400: float(i % 7)}) for i in range(500)]
    best = Tried(params={}, state="COMPLETE", steps={400: 0.0, 1600: 1.0})
    running = Tried(params={}, state="RUNNING")
    history = [best, running, *old]
    kept = _select(history)
    assert len(kept) == LATEST + BEST + 1 and kept[:2] == [best, running]
    assert kept[-LATEST:] == history[-LATEST:]
    assert all(t.steps == {400: 6.0} for t in kept[2:-LATEST])
    assert _select(history[:LATEST]) == history[:LATEST]
