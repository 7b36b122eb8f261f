"""What dialogues talk about and in which order: replies embedded (TF-IDF, truncated SVD),
clustered (k-means), and the transitions between clusters, of the corpus and of generated
dialogues alike. Needs scikit-learn (extra: analysis); downloads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.plots.style import PALETTE, make_figure

if TYPE_CHECKING:
    import plotly.graph_objects as go

Dialogues = Sequence[Sequence[str]]  # the replies of each dialogue, in order
END = "(end)"


@dataclass(frozen=True, kw_only=True)
class Topics:
    names: tuple[str, ...]  # of the clusters: their three weightiest words
    labels: Mapping[str, tuple[tuple[int, ...], ...]]  # source -> dialogue -> cluster of each reply
    points: Mapping[str, NDArray[np.float64]]  # source -> (reply, 2), the first two dimensions


def find_topics(sources: Mapping[str, Dialogues], *, clusters: int = 8, seed: int = 0) -> Topics:
    """Clusters the replies of all sources together; the same input gives the same clusters."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = [text for dialogues in sources.values() for replies in dialogues for text in replies]
    vectoriser = TfidfVectorizer(token_pattern=r"\[[\w ]+\]|\w+", stop_words="english", min_df=2)
    weights = vectoriser.fit_transform(texts)
    dimensions = min(32, min(weights.shape) - 1)
    vectors = TruncatedSVD(dimensions, random_state=seed).fit_transform(weights)
    found = KMeans(clusters, n_init=4, random_state=seed).fit_predict(normalize(vectors))
    words = vectoriser.get_feature_names_out()
    means = [np.asarray(weights[found == k].mean(axis=0)).ravel() for k in range(clusters)]
    names = tuple(" ".join(words[i] for i in np.argsort(-mean)[:3]) for mean in means)
    labels, points, start = {}, {}, 0
    for source, dialogues in sources.items():
        sizes = [len(replies) for replies in dialogues]
        ends = start + np.cumsum(sizes)
        labels[source] = tuple(
            tuple(int(k) for k in found[end - n : end]) for n, end in zip(sizes, ends, strict=True)
        )
        points[source] = vectors[start : start + sum(sizes), :2]
        start += sum(sizes)
    return Topics(names=names, labels=labels, points=points)


def measure_shares(topics: Topics) -> dict[str, dict[str, float]]:
    """Source -> cluster -> share of its replies, in percent."""
    return {
        source: {
            name: round(100.0 * sum(d.count(k) for d in dialogues) / sum(map(len, dialogues)), 1)
            for k, name in enumerate(topics.names)
        }
        for source, dialogues in topics.labels.items()
    }


def count_transitions(topics: Topics, source: str) -> NDArray[np.float64]:
    """(cluster, cluster + end): how often one follows the other, each row summing to 1 (or 0)."""
    n = len(topics.names)
    counts = np.zeros((n, n + 1))
    for dialogue in topics.labels[source]:
        for now, following in zip(dialogue, (*dialogue[1:], n), strict=True):
            counts[now, following] += 1
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def compare_transitions(topics: Topics, one: str, other: str) -> float:
    """The mean total variation distance of what follows a reply, 0 (same) to 1, weighted by how
    often `one` has that cluster."""
    flat = [k for dialogue in topics.labels[one] for k in dialogue]
    sizes = np.bincount(flat, minlength=len(topics.names))
    gaps = np.abs(count_transitions(topics, one) - count_transitions(topics, other)).sum(axis=1) / 2
    return float((gaps * sizes).sum() / sizes.sum())


def plot_topics(topics: Topics, source: str) -> go.Figure:
    """A source's replies on the first two dimensions of their embedding, by cluster."""
    import plotly.graph_objects as go

    flat = np.array([k for dialogue in topics.labels[source] for k in dialogue])
    points = topics.points[source]
    traces = [
        go.Scatter(
            x=points[flat == k, 0].tolist(),
            y=points[flat == k, 1].tolist(),
            name=name,
            mode="markers",
            marker={"size": 5, "color": PALETTE[k % len(PALETTE)]},
        )
        for k, name in enumerate(topics.names)
    ]
    return make_figure(traces, x=f"{source}: first dimension", y="second dimension")


def plot_transitions(topics: Topics, source: str) -> go.Figure:
    """From which cluster (row) to which (column), as shares of the row."""
    import plotly.graph_objects as go

    heat = go.Heatmap(
        z=count_transitions(topics, source).tolist(),
        x=[*topics.names, END],
        y=list(topics.names),
        colorscale="Viridis",
    )
    return make_figure([heat], x=f"{source}: next reply")
