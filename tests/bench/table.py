"""The rows of the measurements, and how they are shown."""

import statistics


class Row:
    """One line. OURS and PEER are numbers in UNIT; BETTER is +1 when more is better, else -1.

    GOAL: ("ratio", x): ours is to be x times better than the peer's; ("value", x): ours itself;
    ("share", x): ours is to be at least that part of LIMIT; None: shown for what it is."""

    def __init__(self, group, name, unit, ours, peer=None, peer_name="", goal=None, better=1,
                 limit=None, note=""):
        self.group, self.name, self.unit = group, name, unit
        self.ours, self.peer, self.peer_name = ours, peer, peer_name
        self.goal, self.better, self.limit, self.note = goal, better, limit, note

    def ratio(self):
        if self.ours is None or not self.peer:
            return None
        return self.ours / self.peer if self.better > 0 else self.peer / max(self.ours, 1e-9)

    def met(self):
        """True, False, or None where there is no goal or nothing to hold against it."""
        if self.goal is None or self.ours is None:
            return None
        kind, wanted = self.goal
        if kind == "ratio":
            ratio = self.ratio()
            return None if ratio is None else ratio >= wanted
        if kind == "share":
            return self.ours / self.limit >= wanted if self.limit else None
        return self.ours >= wanted if self.better > 0 else self.ours <= wanted

    def goal_text(self):
        if self.goal is None:
            return ""
        kind, wanted = self.goal
        if kind == "ratio":
            return f"{wanted:g} ×"
        if kind == "share":
            return f"{100 * wanted:g} % of the limit"
        return ("≥ " if self.better > 0 else "≤ ") + number(wanted)

    def cells(self):
        ratio, met = self.ratio(), self.met()
        return [self.name, number(self.ours), self.unit, number(self.peer) if self.peer else "",
                f"{ratio:.2f} ×" if ratio is not None else
                f"{100 * self.ours / self.limit:.0f} %" if self.limit and self.ours else "",
                self.goal_text(), {True: "met", False: "under", None: ""}[met]]


def number(value):
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


HEADS = ["work", "ours", "unit", "peer", "ratio", "goal", ""]


def groups(rows):
    """[(name, [row])] in the order of their first rows."""
    found = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return list(found.items())


def text(rows):
    """For a terminal."""
    lines = []
    for group, members in groups(rows):
        cells = [row.cells() for row in members]
        widths = [max(len(line[i]) for line in cells + [HEADS]) for i in range(len(HEADS))]
        lines += ["", group]
        for line in [HEADS] + cells:
            lines.append("  " + "  ".join(
                cell.ljust(width) if i in (0, 2, 6) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths))).rstrip())
        lines += ["  " + note for note in notes(members)]
    return "\n".join(lines)


def markdown(rows):
    lines = []
    for group, members in groups(rows):
        lines += ["", f"## {group}", "", "| " + " | ".join(HEADS) + " |",
                  "|---|---:|---|---:|---:|---:|---|"]
        lines += ["| " + " | ".join(row.cells()) + " |" for row in members]
        if notes(members):
            lines += [""] + ["- " + note for note in notes(members)]
    return "\n".join(lines)


def notes(members):
    found = []
    for row in members:
        if row.note and row.note not in found:
            found.append(row.note)
    return found


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None
