"""What dialogues talk about and in which order: replies embedded (TF-IDF, truncated SVD),
clustered (k-means), and the transitions between clusters, of the corpus and of generated
dialogues alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.examples import read_corpus, read_responses, take_replies
from analysis.plots.style import NothingToPlot, make_figure
from analysis.ranking import find_best
from analysis.records import BASE_ID, SweepRecords

if TYPE_CHECKING:
    import plotly.graph_objects as go

FEWEST_REPLIES = 50
CORPUS, FIRST, UNTUNED = "the corpus", "the first in rank", "the untuned model"
Dialogues = Sequence[Sequence[str]]  # the replies of each dialogue, in order
END = "(end)"


@dataclass(frozen=True, kw_only=True)
class Topics:
    names: tuple[str, ...]  # of the clusters: their three weightiest words
    labels: Mapping[str, tuple[tuple[int, ...], ...]]  # source -> dialogue -> cluster of each reply


def find_topics(sources: Mapping[str, Dialogues], *, clusters: int = 8, seed: int = 0) -> Topics:
    """Clusters the replies of all sources together; the same input gives the same clusters. Raises
    NothingToPlot where they have too few words in common."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    texts = [text for dialogues in sources.values() for replies in dialogues for text in replies]
    vectoriser = TfidfVectorizer(token_pattern=r"\[[\w ]+\]|\w+", stop_words="english", min_df=2)
    try:
        weights = vectoriser.fit_transform(texts)
    except ValueError as error:  # no word is left
        raise NothingToPlot("the replies have no words in common") from error
    if min(weights.shape) < clusters:
        raise NothingToPlot(f"the replies have fewer than {clusters} words in common")
    dimensions = min(32, min(weights.shape) - 1)
    vectors = TruncatedSVD(dimensions, random_state=seed).fit_transform(weights)
    found = KMeans(clusters, n_init=4, random_state=seed).fit_predict(normalize(vectors))
    words = vectoriser.get_feature_names_out()
    means = [np.asarray(weights[found == k].mean(axis=0)).ravel() for k in range(clusters)]
    names = tuple(" ".join(words[i] for i in np.argsort(-mean)[:3]) for mean in means)
    labels, start = {}, 0
    for source, dialogues in sources.items():
        sizes = [len(replies) for replies in dialogues]
        ends = start + np.cumsum(sizes)
        labels[source] = tuple(
            tuple(int(k) for k in found[end - n : end]) for n, end in zip(sizes, ends, strict=True)
        )
        start += sum(sizes)
    return Topics(names=names, labels=labels)


def find_topics_of(records: SweepRecords) -> Topics:
    """Of what the corpus, the first in rank and the untuned model say in the same dialogues, as far
    as their replies are at hand. Raises NothingToPlot where there are too few."""
    best = find_best(records)
    generated = read_responses(records, best.trial.id) if best else {}
    if best is None or sum(map(len, generated.values())) < FEWEST_REPLIES:
        raise NothingToPlot(f"needs {FEWEST_REPLIES} replies of the first in rank")
    corpus, lexical = read_corpus(best.trial), best.trial.config.get("response") == "lexicalised"
    sources = {
        CORPUS: [
            [turn.response if lexical else turn.delexicalised for turn in corpus[name].turns]
            for name in generated
            if name in corpus
        ],
        FIRST: take_replies(generated),
        UNTUNED: take_replies(read_responses(records, BASE_ID)),
    }
    return find_topics({name: dialogues for name, dialogues in sources.items() if dialogues})


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


def read_shares(topics: Topics) -> str:
    """How the sources' replies divide, in two sentences."""
    shares = measure_shares(topics)
    source, *others = shares
    often = max(shares[source], key=lambda name: shares[source][name])
    told = [f"{other} in {shares[other][often]:.0f} %" for other in others]
    first = _begin(f"{source} speaks of “{often}” in {shares[source][often]:.0f} % of its replies")
    if not others:
        return f"{first}. There is nothing to compare it with."
    gaps = [(abs(shares[o][n] - shares[source][n]), n, o) for o in others for n in topics.names]
    _, name, other = max(gaps)
    return (
        f"{first}, {' and '.join(told)}. Furthest apart is “{name}”: {source} "
        f"{shares[source][name]:.0f} %, {other} {shares[other][name]:.0f} %."
    )


def read_transitions(topics: Topics, source: str) -> str:
    """What follows what, in two sentences."""
    counts, names = count_transitions(topics, source), [*topics.names, END]
    flat = [k for dialogue in topics.labels[source] for k in dialogue]
    start = int(np.bincount(flat, minlength=len(topics.names)).argmax())
    end = int(counts[start].argmax())
    first = _begin(
        f"{source} most often speaks of “{names[start]}”, and then of “{names[end]}” "
        f"({100 * counts[start, end]:.0f} %)."
    )
    others = [name for name in topics.labels if name != source]
    apart = [f"{compare_transitions(topics, source, o):.2f} from {o}" for o in others]
    if not apart:
        return f"{first} There is nothing to compare it with."
    return (
        f"{first} What follows a reply is {' and '.join(apart)}, where 0 is the same and 1 has "
        "nothing in common."
    )


def _begin(sentence: str) -> str:
    return f"{sentence[0].upper()}{sentence[1:]}"
