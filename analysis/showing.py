"""A sweep in a notebook: figures that a mouse can explore, each with the two sentences that read
it."""

from collections.abc import Sequence
from typing import Any

from analysis.examples import choose_examples
from analysis.figures import CATALOGUE, Plot
from analysis.plots.style import NothingToPlot
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.topics import (
    find_topics_of,
    measure_shares,
    plot_transitions,
    read_shares,
    read_transitions,
)
from trainable.trial import ConfigError, nearest

COMPARED = 3  # trials whose dialogues stand side by side
WRAPPED: dict[str, Any] = {"text-align": "left", "white-space": "normal", "vertical-align": "top"}


def show_figures(records: SweepRecords, names: Sequence[str]) -> None:
    """Those figures of the report, in that order; all of them where none is named. One that would
    show nothing says why. Raises ConfigError on an unknown name."""
    plots = {plot.id: plot for plot in CATALOGUE}
    for name in names:
        if name not in plots:
            listed = ", ".join(plots)
            raise ConfigError(
                f"no figure is called {name!r}{nearest(name, plots)}: there are {listed}"
            )
    for name in names or plots:
        show_plot(plots[name], records)


def show_plot(plot: Plot, records: SweepRecords) -> None:
    try:
        figure = plot.draw(records)
    except NothingToPlot as reason:
        show_text(f"**{plot.title}**: not drawn, {reason}.")
        return
    show_text(f"**{plot.title}.** {plot.caption}")
    show_figure(figure)
    show_text(plot.read(figure, records))


def show_topics(records: SweepRecords) -> None:
    """What the corpus, the first in rank and the untuned model speak of, and in which order."""
    import pandas as pd
    from IPython.display import display

    try:
        topics = find_topics_of(records)
    except NothingToPlot as reason:
        show_text(f"**Topics**: not found, {reason}.")
        return
    display(pd.DataFrame(measure_shares(topics)))
    show_text(read_shares(topics))
    for source in topics.labels:
        show_figure(plot_transitions(topics, source))
        show_text(read_transitions(topics, source))


def show_dialogues(records: SweepRecords, count: int) -> None:
    """The same dialogues from the first three in rank, those with different outcomes first."""
    import pandas as pd
    from IPython.display import display

    best = [e.trial for e in rank_trials(records) if not e.trial.is_base][:COMPARED]
    examples = choose_examples({t.id: (records, t) for t in best}, count=count)
    if not examples:
        show_text("**Dialogues**: the first in rank left no replies behind.")
    for example in examples:
        outcomes = [f"{trial}: {outcome}" for trial, outcome in example.outcomes.items() if outcome]
        show_text(f"**{example.dialogue}.** {'; '.join(outcomes) or 'No outcome is known.'}")
        rows = [
            {"user": e.user, "corpus": e.gold, **{r.trial: r.text for r in e.replies}}
            for e in example.exchanges
        ]
        style = pd.DataFrame(rows).style.set_uuid(example.dialogue)
        display(style.set_properties(**WRAPPED).hide())


def show_figure(figure: Any) -> None:
    """By plotly itself, as suits JupyterLab, VS Code or Colab; nothing outside of a notebook."""
    from IPython.display import display

    display(figure)


def show_text(markdown: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(markdown))
