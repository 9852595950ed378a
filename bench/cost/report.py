"""Tables, for the terminal and for the docs."""

import dataclasses
import datetime
import os
import pathlib
import platform
import re
import subprocess
import textwrap

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/cost.md"
BEGIN, END = "<!-- Written by `cargo xtask bench --write-docs`. -->", "<!-- End of what the command wrote. -->"


@dataclasses.dataclass(frozen=True)
class Table:
    title: str
    about: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    def text(self):
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        first, *others = widths
        lines = (
            "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
            for row in (self.header, *self.rows)
        )
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def markdown(self):
        header, *rows = (f"| {' | '.join(cells)} |" for cells in (self.header, *self.rows))
        lines = [header, f"|---|{'--:|' * (len(self.header) - 1)}", *rows]
        return "\n\n".join([f"## {self.title}", wrapped(self.about), "\n".join(lines)])


def times(ratio):
    return f"{ratio:.2f} x"


def wrapped(text):
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def machine(envoy):
    """What was measured, where and when."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    version = subprocess.run([envoy, "--version"], capture_output=True, text=True, check=True).stdout
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": model[1].strip() if model else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "envoy": re.search(r"/(\d+\.\d+\.\d+)/", version)[1],
        "commit": commit.stdout.strip() or "unknown",
        "load average": round(os.getloadavg()[0], 1),
    }


def write_docs(about, options, tables):
    """Writes the tables into the page, between its marks. With `--only`, the other tables stay, and these say when they
    were measured."""
    words = ["--write-docs", *["--quick"] * options.quick, *(f"--only {part}" for part in options.only or ())]
    command = f"`cargo xtask bench {' '.join(words)}`"
    where = wrapped(
        f"Measured by {command} on {about['date']} at commit `{about['commit']}`: Envoy {about['envoy']}, "
        f"{about['cpu']}, {about['cores']} cores, {about['kernel']}, load average {about['load average']} at the start."
    )
    before, rest = PAGE.read_text().split(BEGIN)
    there, after = rest.split(END)
    if options.only:
        top, *sections = re.split(r"^(?=## )", there.strip(), flags=re.MULTILINE)
        written = {title(section): section.strip() for section in sections}
        written |= {table.title: f"{table.markdown()}\n\n{where}" for table in tables}
    else:
        top, written = where, {table.title: table.markdown() for table in tables}
    PAGE.write_text(before + "\n\n".join([BEGIN, top.strip(), *written.values(), END]) + after)


def title(section):
    return section.splitlines()[0].removeprefix("## ")
