"""The plots in docs/."""

from __future__ import annotations

from pathlib import Path
from statistics import quantiles

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmark.contestants import service_name
from benchmark.data import ENGINES
from benchmark.felt import CONTESTANTS
from benchmark.results import Results
from benchmark.sizes import CLIENTS
from benchmark.spread import Spread
from benchmark.throughput import BULK, DOCUMENTED, LIMIT

BLUE, ORANGE, GREY, RED = "#1f5fa8", "#c8601a", "#666666", "#a01830"


def plot(results: Results, folder: Path) -> None:
    """Write dialler.svg, percentiles.svg, throughput.svg and growth.svg."""
    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 10})
    plot_dialler(results, folder / "dialler.svg")
    plot_percentiles(results, folder / "percentiles.svg")
    plot_throughput(results, folder / "throughput.svg")
    plot_growth(results, folder / "growth.svg")


def plot_dialler(results: Results, path: Path) -> None:
    """Plot the dialler's longest latency in each tenth of a second of the first round, beside each contestant."""
    figure, axes_of_engines = plt.subplots(1, len(ENGINES), figsize=(9, 3.8), layout="constrained", sharey=True)
    for engine, axes in zip(ENGINES, axes_of_engines, strict=True):
        decorate(axes, "Seconds", "Longest latency, ms", f"{engine}, agents logged in")
        for name, colour in zip(CONTESTANTS, (GREY, BLUE, ORANGE, RED), strict=True):
            longest: dict[float, float] = {}
            for due, latency in results.dialler.runs[engine, True, name][0].operations:
                moment = int(due * 10) / 10
                longest[moment] = max(longest.get(moment, 0), latency * 1_000)
            axes.plot(list(longest), list(longest.values()), color=colour, linewidth=1.2, label=name)
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def plot_percentiles(results: Results, path: Path) -> None:
    """Plot the percentiles of the dialler's latencies, all rounds together."""
    figure, axes_of_engines = plt.subplots(1, len(ENGINES), figsize=(9, 3.8), layout="constrained", sharey=True)
    for engine, axes in zip(ENGINES, axes_of_engines, strict=True):
        decorate(axes, "Percentile", "Latency, ms", f"{engine}, agents logged in")
        for name, colour in zip(CONTESTANTS, (GREY, BLUE, ORANGE, RED), strict=True):
            latencies = [latency * 1_000 for run in results.dialler.runs[engine, True, name] for _, latency in run.operations]
            axes.plot(range(1, 100), quantiles(latencies, n=100), color=colour, linewidth=1.4, label=name)
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def plot_throughput(results: Results, path: Path) -> None:
    figure, axes = new("Clients at once", "Leads archived per second", "Fresh leads, InnoDB, batches of 500")
    for (workers, counts), colour in zip(CLIENTS.items(), (BLUE, ORANGE), strict=True):
        rates = [results.throughput.rate("InnoDB", "fresh", service_name(clients, workers)) for clients in counts]
        line(axes, list(counts), rates, colour, f"service, {workers} worker{'s'[: workers - 1]}")
    for name, style in ((LIMIT, "-"), (BULK, "--"), (DOCUMENTED, ":")):
        rate = results.throughput.rate("InnoDB", "fresh", name).median
        label = name if name == LIMIT else f"{name} (compares nothing)"
        axes.axhline(rate, color=GREY, linestyle=style, linewidth=1.2, label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks(CLIENTS[1], [str(clients) for clients in CLIENTS[1]])
    finish(figure, axes, path)


def plot_growth(results: Results, path: Path) -> None:
    figure, axes = new("Rows in the archive", "Milliseconds for a batch of 500", "Fresh leads, InnoDB, one client")
    sizes = list(results.sizes.growth)
    line(axes, sizes, [results.growth.spread(rows).times(1_000) for rows in sizes], BLUE, "service, 1 client, 1 worker")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{rows:,}" for rows in sizes])
    axes.minorticks_off()
    finish(figure, axes, path)


def new(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    decorate(axes, x, y, title)
    return figure, axes


def decorate(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def line(axes: Axes, x: list[int], spreads: list[Spread], colour: str, label: str) -> None:
    medians = [spread.median for spread in spreads]
    errors = [
        [spread.median - spread.low for spread in spreads],
        [spread.high - spread.median for spread in spreads],
    ]
    axes.errorbar(x, medians, errors, color=colour, marker="o", markersize=4, capsize=3, linewidth=1.6, label=label)


def finish(figure: Figure, axes: Axes, path: Path) -> None:
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    # matplotlib ends lines with blanks.
    path.write_text("\n".join(text.rstrip() for text in path.read_text().splitlines()) + "\n")
