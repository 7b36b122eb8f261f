"""A sweep's answer in Python, read from its folder whenever it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from analysis.records import SweepRecords

NUMBERS = (
    *("value", "combined", "bleu", "inform", "success", "loss_nats", "nats_per_word"),
    *("n_dialogues", "train_s", "eval_s", "tokens_per_s", "peak_gib", "time_s"),
)


@dataclass(frozen=True, kw_only=True)
class Best:
    """The configuration that leads the leaderboard."""

    trial: str  # of the best of its seeds
    params: Mapping[str, Any]  # the searched fields
    config: Mapping[str, Any]  # every field of the trial
    score: float | None  # the mean over its seeds
    turns: int  # system turns it was trained on
    adapter: Path | None  # its last checkpoint, in peft's format; None: it has none


class SweepResult:
    """One sweep, running or ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def records(self) -> SweepRecords:
        """All that is recorded, as it is now. Raises ConfigError."""
        from analysis.records import read_sweep
        from trainable.storage.remote import fetch_events

        fetch_events(self.folder)
        return read_sweep(self.folder)

    @property
    def is_running(self) -> bool:
        """Whether trials lack an end or are still to come."""
        return self.records.is_running

    @property
    def best(self) -> Best | None:
        """None: no trial has been evaluated yet."""
        from analysis.choice import choose_best
        from trainable.storage.checkpoint import find_last_whole
        from trainable.storage.remote import fetch_checkpoints

        point = choose_best(self.records)
        if point is None:
            return None
        trial = point.trial
        last, _ = find_last_whole(fetch_checkpoints(self.folder, trial.id))
        return Best(
            trial=trial.id,
            params=dict(trial.params),
            config=dict(trial.config),
            score=point.value,
            turns=point.milestone_turns,
            adapter=None if last is None else last.path,
        )

    @property
    def leaderboard(self) -> pd.DataFrame:
        """One row a configuration, by rank; numbers are numbers."""
        import pandas as pd

        from analysis.ranking import rank_trials
        from analysis.rows import to_row

        rows = [to_row(entry) for entry in rank_trials(self.records)]
        return pd.DataFrame(rows).set_index("rank") if rows else pd.DataFrame()

    @property
    def curves(self) -> pd.DataFrame:
        """One row an evaluation, by trial and turns: scores, losses, seconds."""
        import pandas as pd

        rows = [
            {"trial": t.id, "turns": e.turns_seen, **{n: getattr(e, n) for n in NUMBERS}}
            for t in self.records.trials
            for e in t.evals
        ]
        frame = pd.DataFrame(rows, columns=["trial", "turns", *NUMBERS])
        return frame.astype(dict.fromkeys(NUMBERS, float))

    @property
    def summary(self) -> dict[str, Any]:
        """What `status --json` tells: how far the sweep is, and its verdict in words."""
        from tune.status import summarise

        return summarise(self.folder)

    @property
    def answer(self) -> list[str]:
        """What the sweep found, in the report's sentences, the verdict first."""
        from analysis.answers import answer
        from analysis.ranking import rank_trials

        records = self.records
        return answer(records, rank_trials(records))

    def show(self, *figures: str) -> None:
        """In a notebook: those figures of the report ("curves", "slices", ...), all of them where
        none is named, each with two sentences that read it. Raises ConfigError on an unknown
        name."""
        from analysis.showing import show_figures

        show_figures(self.records, figures)

    def show_dialogues(self, count: int = 2) -> None:
        """In a notebook: so many dialogues as the first three in rank continued them, then what
        the corpus, the first and the untuned model speak of, and in which order."""
        from analysis.showing import show_dialogues, show_topics

        records = self.records
        show_dialogues(records, count)
        show_topics(records)

    def report(self, output: str | Path | None = None) -> Path:
        """Writes the answer as one HTML page, and says where."""
        from analysis.report import write_report

        return write_report(self.folder, None if output is None else Path(output))

    def export(
        self, out: str | Path | None = None, repo: str | None = None, *flags: str
    ) -> list[dict[str, Any]]:
        """Takes the best adapter to a folder, to the Hub, or both, with flags of `export` besides
        ("--top=3", "--merged"). Raises ConfigError."""
        from tune.export.command import build_parser, export

        words = [str(self.folder.absolute()), *flags]
        words += [f"--out={out}"] if out is not None else []
        words += [f"--repo={repo}"] if repo is not None else []
        return list(export(build_parser().parse_args(words)).facts["exported"])

    def __repr__(self) -> str:
        best = self.best
        found = f"best {best.score} (trial {best.trial})" if best else "no score yet"
        return f"SweepResult({self.name!r}: {found})"

    def _repr_html_(self) -> str:
        """The leaderboard, for a notebook."""
        from analysis.ranking import rank_trials
        from analysis.rows import to_frame

        entries = rank_trials(self.records)
        return str(to_frame(entries).to_html()) if entries else repr(self)
