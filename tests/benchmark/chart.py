"""The medians as an SVG picture for the README: a band for each workload and latency, a column for each scenario.

Bars of one band have one scale. It is a picture of its own without scripts or fonts; its colours are those of the report
page, light or dark as the reader's system is.
"""

from xml.sax.saxutils import escape

from . import engines, table
from .runs import Runs, Spread

LABELS, COLUMN, BAR, GAP = 314, 114, 12, 5
HEAD, TITLE, MARGIN = 66, 30, 16
VALUE = 42
"""Room for a number behind the longest bar."""

STYLE = """
  :root { --page: #ffffff; --ink: #1f2328; --muted: #59636e; --hair: #d1d9e0; --ours: #2b6cb0; --theirs: #b4bdc7; --between: #1f2328; }
  @media (prefers-color-scheme: dark) {
    :root { --page: #0d1117; --ink: #e6edf3; --muted: #9da7b3; --hair: #303944; --ours: #5a9fe8; --theirs: #515c68; --between: #e6edf3; }
  }
  text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: var(--ink); }
  .page { fill: var(--page); } .title { font-weight: 600; font-size: 13px; } .muted { fill: var(--muted); }
  .ours { fill: var(--ours); } .theirs { fill: var(--theirs); } .between { stroke: var(--between); stroke-width: 1; opacity: .55; }
  .hair { stroke: var(--hair); stroke-width: 1; } .bold { font-weight: 600; } .end { text-anchor: end; }
"""


def svg(runs: Runs, titles: dict[str, str]) -> str:
    """The whole picture."""
    scenarios = runs.values("scenario")
    width = MARGIN + LABELS + COLUMN * len(scenarios) + MARGIN
    rounds = len(runs.values("round"))
    what = "Seconds from an empty engine to the pushed image" + (
        f"; medians of {rounds} rounds, a line from the fastest to the slowest" if rounds > 1 else ""
    )
    body = [label(MARGIN, MARGIN + 12, what, "muted")]
    body += [label(MARGIN + LABELS + COLUMN * column, MARGIN + 36, scenario, "bold") for column, scenario in enumerate(scenarios)]
    top = HEAD
    for workload in runs.values("workload"):
        for round_trip_ms in runs.values("round_trip_ms"):
            band, height = draw_band(runs, titles, workload, round_trip_ms, top, width)
            body += band
            top += height
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + MARGIN}" viewBox="0 0 {width} {top + MARGIN}" role="img">'
    name = "<title>Seconds to build and push, by workload, scenario and way to build</title>"
    page = f'<rect class="page" width="{width}" height="{top + MARGIN}" rx="6"/>'
    return "\n".join([head, name, f"<style>{STYLE}</style>", page, *body, "</svg>"]) + "\n"


def draw_band(
    runs: Runs, titles: dict[str, str], workload: str, round_trip_ms: float, top: int, width: int
) -> tuple[list[str], int]:
    """The bars of a workload at a latency, and their height; nothing where nothing was built."""
    of = {"workload": workload, "round_trip_ms": round_trip_ms}
    lines = runs.lines(**of)
    if not lines:
        return [], 0
    longest = max(run.seconds for run in runs.chosen(**of))
    scale = (COLUMN - VALUE) / longest
    drawn = [
        f'<line class="hair" x1="{MARGIN}" x2="{width - MARGIN}" y1="{top}" y2="{top}"/>',
        label(MARGIN, top + 20, table.title(workload, round_trip_ms), "title"),
    ]
    y, last = top + TITLE, lines[0][1]
    for contender, engine in lines:
        # Engines stand apart: within one, contenders are compared.
        y, last = y + (GAP if engine != last else 0), engine
        ours = contender == "layerlift"
        drawn.append(label(MARGIN, y + BAR - 2, titles.get(contender, contender), "bold" if ours else ""))
        drawn.append(label(MARGIN + LABELS - 12, y + BAR - 2, engines.SHORT[engine], "muted end"))
        for column, scenario in enumerate(runs.values("scenario")):
            took = runs.spread("seconds", scenario=scenario, contender=contender, engine=engine, **of)
            if took:
                drawn += bar(MARGIN + LABELS + COLUMN * column, y, took, scale, ours)
        y += BAR + GAP
    return drawn, y + GAP - top


def bar(x: float, y: float, took: Spread, scale: float, ours: bool) -> list[str]:
    """The median as a bar, from the least to the most as a line in it, and the median as a number."""
    length = max(1.0, took.median * scale)
    kind = "ours" if ours else "theirs"
    drawn = [f'<rect class="{kind}" x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2"/>']
    middle = y + BAR / 2
    if took.count > 1:
        drawn.append(
            f'<line class="between" x1="{x + took.least * scale:.1f}" x2="{x + took.most * scale:.1f}" y1="{middle}" y2="{middle}"/>'
        )
    digits = 1 if took.median < 99.95 else 0
    drawn.append(
        label(x + max(length, took.most * scale) + 4, y + BAR - 2, f"{took.median:.{digits}f}", "bold" if ours else "muted")
    )
    return drawn


def label(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
