"""What is shown of the results: tables on the terminal, and docs/performance.md with its plots."""

from __future__ import annotations

from pathlib import Path

from benchmark.data import ENGINES
from benchmark.dialler import CONNECTIONS, OPERATIONS_A_SECOND
from benchmark.felt import ALONE, DIALLED, SERVICE
from benchmark.felt import BULK as BULK_BESIDE_DIALLER
from benchmark.machine import cores
from benchmark.plots import plot
from benchmark.results import Results, Table
from benchmark.throughput import BULK, EIGHT_CLIENTS

TEMPLATE = Path(__file__).with_name("performance.md")


def print_report(results: Results) -> None:
    tables: dict[str, Table] = {
        "The machine": results.machine_table(),
        "What the dialler feels": results.dialler_table(),
        "Leads per second": results.throughput_table(),
        "Clients at once (InnoDB, fresh leads)": results.clients_table(),
        "The statements of a batch (InnoDB)": results.anatomy_table(),
        "Growth (InnoDB, fresh leads, one client)": results.growth_table(),
        "Goals": results.goals_table(),
    }
    for title, table in tables.items():
        print(f"\n== {title}\n\n{table.text()}")


def write_report(results: Results, folder: Path, seconds: float) -> None:
    """Write performance.md, dialler.svg, percentiles.svg, throughput.svg and growth.svg."""
    sizes, fresh = results.sizes, results.anatomy["fresh"]
    indexes = 13
    page = TEMPLATE.read_text(encoding="utf-8").format(
        minutes=round(seconds / 60),
        memory=sizes.buffer_pool // 1024 + 1,
        rounds=sizes.rounds,
        rounds_elsewhere=sizes.rounds_elsewhere,
        machine=results.machine_table().markdown(),
        goals=results.goals_table().markdown(),
        leads=sizes.leads,
        elsewhere=sizes.leads_elsewhere,
        row_by_row=sizes.leads_row_by_row,
        throughput=results.throughput_table().markdown(),
        clients=results.clients_table().markdown(),
        cores=cores(),
        server_ms=results.throughput.server_cpu_seconds_a_batch(EIGHT_CLIENTS).median * 1_000,
        most=results.most_that_the_cores_allow(),
        most_by_bulk=results.most_that_the_cores_allow() / results.throughput.rate("InnoDB", "fresh", BULK).median,
        dialler=results.dialler_table().markdown(),
        operations=OPERATIONS_A_SECOND,
        connections=CONNECTIONS,
        dialled=DIALLED,
        rounds_dialler=sizes.rounds_dialler,
        seconds_dialler=sizes.seconds_dialler,
        **{
            f"{engine.lower()}_{short}": text
            for engine in ENGINES
            for short, text in (
                ("p99", f"{results.dialler.percentile(engine, True, SERVICE, 99).median:.0f}"),
                ("alone", f"{results.dialler.percentile(engine, True, ALONE, 99).median:.0f}"),
                ("bulk", f"{results.dialler.percentile(engine, True, BULK_BESIDE_DIALLER, 99).median:.0f}"),
                ("minutes_agents", f"{1_000_000 / results.dialler.rate(engine, True, SERVICE).median / 60:.0f}"),
                ("minutes_nobody", f"{1_000_000 / results.dialler.rate(engine, False, SERVICE).median / 60:.0f}"),
            )
        },
        limit_ms=results.limit_milliseconds(),
        insert_ms=fresh["insert-ignore"] * 1_000,
        update_ms=fresh["update-join"] * 1_000,
        delete_ms=fresh["compare-delete"] * 1_000,
        commit_ms=fresh["commit"] * 1_000,
        share=(fresh["insert-ignore"] + fresh["compare-delete"])
        / sum(fresh[name] for name in ("begin", "insert-ignore", "update-join", "compare-delete", "commit")),
        indexes=indexes,
        index_entries=500 * indexes,
        anatomy=results.anatomy_table().markdown(),
        cpu_ms=results.throughput.cpu_seconds_a_batch("fresh").median * 1_000,
        pages_read=results.growth.pages_read,
        growth=results.growth_table().markdown(),
    )
    (folder / TEMPLATE.name).write_text(page, encoding="utf-8")
    plot(results, folder)
