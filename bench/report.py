"""From rounds to a report: medians, ratios and verdicts as one value for JSON, and that value as Markdown."""

import datetime
import math
import os
import platform
import statistics
import subprocess
from pathlib import Path

import servers

FAULTS = ("lost", "repeated", "disordered", "stalls")
SHARES = ("server_cpu_share", "generator_cpu_share", "generator_wait_share", "bytes_per_delivery")


# --- The run and its machine ---


def first_match(path, key):
    """What stands behind `key:` in one of the kernel's tables."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def first_line(command):
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.partition("\n")[0].strip()


def of_run(options, versions, processors, descriptors, compiler):
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "processor": first_match("/proc/cpuinfo", "model name") or platform.machine(),
            "processors": os.cpu_count(),
            "memory": first_match("/proc/meminfo", "MemTotal"),
            "kernel": platform.release(),
            "files_per_process": descriptors,
        },
        "versions": {**versions, "compiler": first_line([compiler, "--version"]), "python": platform.python_version()},
        "placement": (
            f"server on processor {processors[0]}, load generator on {processors[1]}; "
            "a server with two loops or workers on both"
        ),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "herald_args": options.herald_args,
        "load_before": os.getloadavg(),
        "load_after": os.getloadavg(),
        "scenarios": [],
    }


# --- A scenario ---


def of_scenario(scenario, contestants):
    return {
        "name": scenario.name,
        "title": scenario.title,
        "group": scenario.group,
        "mode": scenario.mode,
        "load": scenario.load,
        "sizes": scenario.sizes,
        "figures": [of_figure(figure, contestants) for figure in scenario.figures],
        "contestants": [of_contestant(contestant) for contestant in contestants],
    }


def median_of(rounds, member):
    values = [item[member] for item in rounds if item.get(member) is not None]
    return statistics.median(values) if values else None


def kernel_share(rounds):
    """The kernel's share of the server's processor time."""
    system = sum(item.get("server_system_seconds", 0) for item in rounds)
    user = sum(item.get("server_user_seconds", 0) for item in rounds)
    return system / (system + user) if system + user > 0 else None


def faults_of(rounds):
    """Sums over the rounds of what the generator counted; nothing where it counts nothing."""
    return {name: sum(item[name] for item in rounds) for name in FAULTS if rounds and name in rounds[0]}


def of_contestant(contestant):
    """A failed one keeps its rounds for who looks into the JSON, and has no medians."""
    rounds = [] if contestant.failed else contestant.rounds
    return {
        "name": contestant.name,
        "title": contestant.title,
        "server": contestant.server.name,
        "variant": contestant.variant.name if contestant.variant else None,
        "on_both_processors": contestant.server.is_on_both(contestant.variant),
        "failed": contestant.failed or None,
        **{name: median_of(rounds, name) for name in SHARES},
        "kernel_share": kernel_share(rounds),
        "faults": faults_of(rounds),
        "saturated": any(item.get("saturated", False) for item in rounds),
        "rounds": contestant.rounds,
    }


def of_figure(figure, contestants):
    values = {}
    for contestant in contestants:
        found = [] if contestant.failed else [item[figure.member] for item in contestant.rounds]
        if found:
            values[contestant.name] = {
                "median": statistics.median(found),
                "lowest": min(found),
                "highest": max(found),
            }
    first = contestants[0].name if contestants and contestants[0].variant else ""
    for name, value in values.items():
        for key, of in (("floor", "floor"), ("nchan", "nchan"), ("first", first if name != first else "")):
            base = values.get(of, {}).get("median")
            value[f"to_{key}"] = value["median"] / base if base else None
    target = figure.target
    return {
        "member": figure.member,
        "title": figure.title,
        "unit": figure.unit,
        "more_is_better": figure.more_is_better,
        "target": {"bound": target.bound, "of": target.of} if target else None,
        "first": first,
        "values": values,
        "verdicts": [verdict(figure, item, values) for item in judged(contestants)] if target else [],
    }


def judged(contestants):
    """Herald; of its variants not the first, which the others are compared with."""
    ours = [contestant for contestant in contestants if contestant.server.name == "herald"]
    return [item for item in ours[1:] if item.variant.is_judged] if ours and ours[0].variant else ours


def verdict(figure, contestant, values):
    """Reached, short, or why it cannot be said. Who lost, repeated or mixed up events has reached nothing."""
    target = figure.target
    base = values.get(target.of, {}).get("median") if target.of else 1
    own = values.get(contestant.name, {}).get("median")
    if contestant.failed:
        word, value = "failed", None
    elif own is None or not base:
        word, value = "not measured", None
    else:
        value = own / base
        is_reached = value >= target.bound if figure.more_is_better else value <= target.bound
        word = "reached" if is_reached and not any(faults_of(contestant.rounds).values()) else "short"
    return {"contestant": contestant.name, "value": value, "verdict": word}


def is_faulty(run):
    return any(
        contestant["failed"] or any(contestant["faults"].values())
        for scenario in run["scenarios"]
        for contestant in scenario["contestants"]
    )


# --- Numbers as text ---


def digits(value):
    """Three that count."""
    if value == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def number(value, unit):
    """A figure without its unit: 2.27 M, 161 k, 480, 0.42%."""
    if unit == "of a core":
        return f"{value:.2%}"
    for factor, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= factor * 10 or (factor == 1e6 and abs(value) >= factor * 0.9995):
            return digits(value / factor) + letter
    return digits(value)


def ratio(value):
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def target_text(figure):
    target = figure["target"]
    if not target:
        return ""
    sign = "≥" if figure["more_is_better"] else "≤"
    if target["of"]:
        return f"{sign} {target['bound']:.2f} × {target['of']}"
    return f"{sign} {number(target['bound'], figure['unit'])}"


def verdict_text(figure, contestant):
    """The verdict; of a variant that has nothing to reach, how it stands to the first."""
    to_first = figure["values"].get(contestant, {}).get("to_first")
    if not figure["target"] and to_first is not None:
        return f"{to_first:.2f} × {figure['first']}"
    for item in figure["verdicts"]:
        if item["contestant"] == contestant:
            exact = f"{item['value']:.3f}: " if item["value"] is not None and figure["target"]["of"] else ""
            return exact + item["verdict"]
    return ""


def fault_text(contestant):
    faults = contestant["faults"]
    parts = [", ".join(f"{faults[name]:,}" for name in ("lost", "repeated", "disordered"))] if "lost" in faults else []
    return "; ".join(parts + ([f"{faults['stalls']} stalls"] if faults.get("stalls") else []))


def generator_text(contestant):
    shares = [contestant[f"generator_{name}_share"] for name in ("cpu", "wait")]
    text = ", ".join(f"{share:.0%}" for share in shares if share is not None)
    return text + (" SATURATED" if contestant["saturated"] else "")


# --- Markdown ---


def row(cells):
    return "| " + " | ".join(cells) + " |"


def table(titles, is_text, rows):
    """is_text: the columns that are set to the left."""
    rule = ["---" if index in is_text else "---:" for index in range(len(titles))]
    return "\n".join([row(titles), row(rule), *(row(cells) for cells in rows)])


def figure_title(figure):
    return f"{figure['title']}, {figure['unit']}" if figure["title"] else figure["unit"]


def median_cell(figure, contestant):
    """A contestant's median, `failed`, or nothing if it had no part."""
    if contestant is None:
        return ""
    if contestant["failed"]:
        return "failed"
    return number(figure["values"][contestant["name"]]["median"], figure["unit"])


def result_rows(scenario, names):
    """A row for each of Herald's contestants, or one without Herald."""
    by_server = {item["server"]: item for item in scenario["contestants"] if item["server"] != "herald"}
    ours = [item for item in scenario["contestants"] if item["server"] == "herald"] or [None]
    for figure in scenario["figures"]:
        for contestant in ours:
            own = figure["values"].get(contestant["name"], {}) if contestant else {}
            title = scenario["title"]
            if contestant and contestant["variant"]:
                title += f": {contestant['variant']}"
            cells = [f"`{scenario['name']}`", title, figure_title(figure)]
            for name in names:
                cells.append(median_cell(figure, contestant if name == "herald" else by_server.get(name)))
            cells += [ratio(own.get("to_floor")), ratio(own.get("to_nchan"))]
            name = contestant["name"] if contestant else ""
            said = verdict_text(figure, name)
            is_base = bool(contestant and contestant["variant"] and not said)
            yield cells + ["" if is_base else target_text(figure), said]


def results(run):
    names = [name for name in servers.KNOWN if name in run["versions"]]
    titles = ["Scenario", "", "Figure", *(servers.KNOWN[name].title for name in names)]
    titles += ["Herald ÷ floor", "Herald ÷ Nchan", "Must reach", "It is"]
    rows = [cells for scenario in run["scenarios"] for cells in result_rows(scenario, names)]
    return table(titles, {0, 1, 2, len(titles) - 2, len(titles) - 1}, rows)


def round_rows(scenario):
    for contestant in scenario["contestants"]:
        if contestant["failed"]:
            continue
        for index, figure in enumerate(scenario["figures"]):
            value = figure["values"][contestant["name"]]
            unit = figure["unit"]
            span = f"{number(value['lowest'], unit)} to {number(value['highest'], unit)}"
            cells = [f"`{scenario['name']}`", contestant["title"], figure_title(figure), number(value["median"], unit)]
            cells += [span, ratio(value["to_floor"]), ratio(value["to_nchan"])]
            yield cells + (about_run(contestant) if index == 0 else [""] * 5)


def about_run(contestant):
    def share(name):
        return "" if contestant[name] is None else f"{contestant[name]:.0%}"

    length = contestant["bytes_per_delivery"]
    return [
        share("server_cpu_share") + (" on two" if contestant["on_both_processors"] else ""),
        share("kernel_share"),
        "" if length is None else f"{length:.0f}",
        fault_text(contestant),
        generator_text(contestant),
    ]


def rounds(run):
    titles = ["Scenario", "Server", "Figure", "Median", "Lowest to highest", "÷ floor", "÷ Nchan", "Server ran"]
    titles += ["In the kernel", "Bytes each", "Lost, repeated, disordered", "Generator ran, waited"]
    rows = [cells for scenario in run["scenarios"] for cells in round_rows(scenario)]
    return table(titles, {0, 1, 2}, rows)


def failures(run):
    return [
        f"- `{scenario['name']}`, {contestant['title']}: {contestant['failed']}"
        for scenario in run["scenarios"]
        for contestant in scenario["contestants"]
        if contestant["failed"]
    ]


def rounds_text(run):
    return f"medians of {run['rounds']} rounds" if run["rounds"] > 1 else "one round"


def head(run):
    machine = run["machine"]
    versions = "; ".join(f"{name}: {version}" for name, version in run["versions"].items())
    before, after = (", ".join(f"{value:.2f}" for value in run[key]) for key in ("load_before", "load_after"))
    return (
        f"{run['date']}, {machine['processors']} × {machine['processor']}, memory {machine['memory']}, "
        f"kernel {machine['kernel']}.\n"
        f"{versions}.\n"
        f"Placement: {run['placement']}. {rounds_text(run).capitalize()}. "
        f"The machine's load was {before} before and {after} after."
    )


def markdown(run):
    parts = [head(run), results(run), "Every contestant:", rounds(run)]
    failed = failures(run)
    if failed:
        parts += ["Failed, and so without numbers:", "\n".join(failed)]
    return "\n\n".join(parts)
