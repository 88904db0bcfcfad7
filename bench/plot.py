"""The run as a plot: for each figure a group of bars, each contestant's median against one reference.

The reference is what must be reached where that is a plain number, else the floor, else Nchan, else the first variant.
Figures with the same kind of reference share a panel and its axis. A bar longer than the axis is cut, and says so.
"""

from xml.sax.saxutils import escape

import report

WIDTH = 1080
LABEL_WIDTH = 400
BAR_WIDTH = 470
BAR_HEIGHT = 13
BAR_GAP = 3
GROUP_GAP = 12
HEAD_HEIGHT = 64
PANEL_HEAD_HEIGHT = 46
MARGIN = 20
AXIS_MAX = 3.0

COLOURS = {"floor": "#8a8f98", "nchan": "#9cc3e6", "nchan2": "#5b93c7", "herald": "#d2552d"}
VARIANT_COLOUR = "#eeb49f"
INK = "#1d2126"
PAPER = "#ffffff"
FAINT = "#d8dbe0"


def colour(contestant, is_first):
    return VARIANT_COLOUR if contestant["variant"] and is_first else COLOURS[contestant["server"]]


def reference(figure, contestants):
    """What the bars are divided by: its name in a panel's title, and its value."""
    target = figure["target"]
    if target and not target["of"]:
        return "what must be reached", target["bound"]
    variants = [item["name"] for item in contestants if item["variant"]]
    bases = [("floor", "the floor"), ("nchan", "Nchan"), *((name, "the first variant") for name in variants[:1])]
    for name, title in bases:
        value = figure["values"].get(name)
        if value and value["median"]:
            return title, value["median"]
    return None


def bar_groups(run):
    """Panels in the order of their first figures: title → groups of bars."""
    panels = {}
    for scenario in run["scenarios"]:
        for figure in scenario["figures"]:
            against = reference(figure, scenario["contestants"])
            if not against:
                continue
            direction = "longer" if figure["more_is_better"] else "shorter"
            title = f"Divided by {against[0]}: {direction} is better"
            group = bars(scenario, figure, against[1])
            if group["bars"]:
                panels.setdefault(title, []).append(group)
    return panels


def bars(scenario, figure, base):
    target = figure["target"]
    bound = (target["bound"] if target["of"] else 1) if target else None
    found = []
    for index, contestant in enumerate(scenario["contestants"]):
        value = figure["values"].get(contestant["name"])
        if value:
            who = contestant["variant"] or contestant["title"]
            found.append(
                {
                    "colour": colour(contestant, index == 0),
                    "length": value["median"] / base,
                    "lowest": value["lowest"] / base,
                    "highest": value["highest"] / base,
                    "text": f"{who} {report.number(value['median'], figure['unit'])} ({value['median'] / base:.2f})",
                }
            )
    return {"title": scenario["title"], "figure": report.figure_title(figure), "bound": bound, "bars": found}


def text(x, y, content, size=12, anchor="start", weight="normal"):
    """In ink, with a rim of paper, so that it can be read on a line."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="{INK}" stroke="{PAPER}" stroke-width="3" paint-order="stroke">{escape(content)}</text>'
    )


def rectangle(x, y, width, height, fill):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{height:.1f}" fill="{fill}"/>'


def line(x1, y1, x2, y2, stroke, width=1.0, dashes=""):
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" '
        f'stroke-width="{width}"{dashed}/>'
    )


def group_height(group):
    return max(2 * 15, len(group["bars"]) * (BAR_HEIGHT + BAR_GAP)) + GROUP_GAP


def draw_bar(bar, y, scale, axis_max):
    """The bar, and the label that goes above everything."""
    left = MARGIN + LABEL_WIDTH
    length = min(bar["length"], axis_max)
    parts = [rectangle(left, y, length * scale, BAR_HEIGHT, bar["colour"])]
    end = left + length * scale
    if bar["length"] > axis_max:
        # Two white strokes: the bar goes on.
        for back in (16, 10):
            parts.append(line(end - back, y + BAR_HEIGHT, end - back + 5, y, PAPER, 2.5))
    else:
        low, high = (left + min(bar[name], axis_max) * scale for name in ("lowest", "highest"))
        parts.append(line(low, y + BAR_HEIGHT / 2, high, y + BAR_HEIGHT / 2, INK, 1.0))
        end = max(end, high)
    return parts, text(end + 5, y + BAR_HEIGHT - 2.5, bar["text"], 10.5)


def draw_group(group, y, scale, axis_max):
    left = MARGIN + LABEL_WIDTH
    parts = [text(left - 10, y + 11, group["title"], 12, "end"), text(left - 10, y + 25, group["figure"], 10.5, "end")]
    labels = []
    at = y
    for bar in group["bars"]:
        drawn, label = draw_bar(bar, at, scale, axis_max)
        parts += drawn
        labels.append(label)
        at += BAR_HEIGHT + BAR_GAP
    if group["bound"] is not None and group["bound"] <= axis_max:
        x = left + group["bound"] * scale
        parts.append(line(x, y - 3, x, at, INK, 1.5, "3 2"))
    return parts + labels


def draw_panel(title, groups, y):
    longest = max(bar["highest"] for group in groups for bar in group["bars"])
    bounds = [group["bound"] for group in groups if group["bound"] is not None]
    axis_max = min(max(1.0, longest, *bounds), AXIS_MAX)
    scale = BAR_WIDTH / axis_max
    left = MARGIN + LABEL_WIDTH
    bottom = y + PANEL_HEAD_HEIGHT + sum(group_height(group) for group in groups)
    parts = [text(MARGIN, y + 18, title, 14, weight="bold")]
    step = 0.25 if axis_max <= 1.5 else 0.5
    for index in range(int(axis_max / step) + 1):
        x = left + index * step * scale
        parts.append(line(x, y + 36, x, bottom - GROUP_GAP / 2, FAINT))
        parts.append(text(x, y + 32, f"{index * step:g}", 10, "middle"))
    at = y + PANEL_HEAD_HEIGHT
    for group in groups:
        parts += draw_group(group, at, scale, axis_max)
        at += group_height(group)
    return parts, bottom


def draw_legend(y):
    parts = []
    x = MARGIN
    for name, title in (("floor", "floor"), ("nchan", "Nchan"), ("nchan2", "Nchan, 2 workers"), ("herald", "Herald")):
        parts += [rectangle(x, y, 12, 12, COLOURS[name]), text(x + 17, y + 10.5, title)]
        x += 40 + 7 * len(title)
    parts += [line(x + 5, y - 2, x + 5, y + 14, INK, 1.5, "3 2"), text(x + 14, y + 10.5, "what Herald must reach")]
    return parts + [line(x + 165, y + 6, x + 185, y + 6, INK), text(x + 190, y + 10.5, "lowest to highest round")]


def svg(run):
    head = f"Herald, {run['date']}: {report.rounds_text(run)}, {run['machine']['processor']}"
    parts = [text(MARGIN, MARGIN + 8, head, 15, weight="bold"), *draw_legend(MARGIN + 22)]
    y = MARGIN + HEAD_HEIGHT
    for title, groups in bar_groups(run).items():
        drawn, y = draw_panel(title, groups, y)
        parts += drawn
        y += 14
    y += MARGIN
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y:.0f}" viewBox="0 0 {WIDTH} {y:.0f}" '
        'font-family="Helvetica, Arial, sans-serif" role="img">'
    )
    title = f"<title>{escape(head)}</title>"
    return "\n".join([opening, title, rectangle(0, 0, WIDTH, y, PAPER), *parts, "</svg>"])
