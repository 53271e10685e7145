# SPDX-License-Identifier: BSD-2-Clause
"""The curves as data, and as pictures that gnuplot draws of it.

A file of data holds the lines of one picture one after another, two empty lines between them, which
is what gnuplot calls an index. The pictures have no background of their own, and colours of middle
brightness: they are readable on white and on black. There is nothing in them that changes when they
are drawn again from the same data.
"""
import os
import shutil
import subprocess

KERNEL, OWN, TEXT, GRID = "#d9662b", "#3f8fd2", "#7d8590", "#7d8590"
# The first line of a file is drawn full where it is the only one, and else dashed.
FULL, DASHED = "1", "(9,5)"


class CantDraw(Exception):
    """What is missing, in one line."""


def find_gnuplot():
    if not shutil.which("gnuplot"):
        raise CantDraw("needs gnuplot: apt-get install -y --no-install-recommends gnuplot-nox")


# ---- Data ----


def write(path, fields, lines):
    """lines: [(label, [a row of numbers])]"""
    with open(path, "w", encoding="utf-8") as stream:
        for label, rows in lines:
            stream.write("# %s\n# %s\n" % (label, "\t".join(fields)))
            for row in rows:
                stream.write("\t".join("%.4g" % v if v < 1000 else "%d" % v for v in row) + "\n")
            stream.write("\n\n")


def read(path):
    """As write() got it, the rows as dictionaries."""
    lines, fields = [], None
    with open(path, encoding="utf-8") as stream:
        for text in stream:
            cells = text.rstrip("\n").split("\t")
            if text.startswith("# ") and len(cells) == 1:
                lines.append((cells[0][2:], []))
            elif text.startswith("# "):
                fields = [cells[0][2:]] + cells[1:]
            elif text.strip():
                lines[-1][1].append(dict(zip(fields, map(float, cells))))
    return [line for line in lines if line[1]]


# ---- Pictures ----

STYLE = """
set terminal svg size 760,420 noenhanced font "sans-serif,13" linewidth 1
set encoding utf8
set output "{out}"
set title "{title}" textcolor rgb "{text}"
set border 3 linecolor rgb "{grid}"
set grid xtics ytics back linecolor rgb "{grid}" linewidth 0.3
set tics nomirror textcolor rgb "{text}"
set mytics default
set xlabel "{xlabel}" textcolor rgb "{text}"
set ylabel "{ylabel}" textcolor rgb "{text}"
set key tmargin left vertical maxrows 2 Left reverse textcolor rgb "{text}" samplen 2.5
set logscale x
set xtics ({xtics})
set xrange [{xmin}:{xmax}]
"""

NS_TICS = [(10, "10 ns"), (100, "100 ns"), (1e3, "1 µs"), (1e4, "10 µs"), (1e5, "100 µs")]
NS_TICS += [(1e6, "1 ms"), (1e7, "10 ms")]
MB_TICS = [(n, "%d MB" % n) for n in (1, 2, 5, 10, 20, 50, 100, 200, 500)]

TITLES = {
    "rate": ("What a sample costs, by how many are taken", "samples per second"),
    "depth": ("What a sample costs, by the depth of the stack", "Python frames"),
    "stacks": ("What a sample costs, by how many different stacks there are", "different stacks"),
    "threads": ("What a sample costs, by the threads of the process", "threads"),
    "processes": ("What a sample costs, by the Python processes of the host", "processes"),
}


def tics(pairs):
    return ", ".join('"%s" %g' % (text, at) for at, text in pairs)


def axis(tics_, values):
    """A log axis from a tic below all values to one above them."""
    low = max([at for at, _ in tics_ if at <= min(values)] or [tics_[0][0]])
    high = min([at for at, _ in tics_ if at >= max(values)] or [tics_[-1][0]])
    return "set logscale y\nset ytics (%s)\nset yrange [%g:%g]\n" % (tics(tics_), low * 0.999, high)


def plot(parts):
    return "plot " + ", \\\n  ".join(parts) + "\n"


def part(path, index, column, title, colour, dash):
    return (
        '"%s" index %d using 1:%d with linespoints linecolor rgb "%s" linewidth 2.5'
        ' dashtype %s pointtype 7 pointsize 0.6 title "%s"'
        % (path, index, column, colour, dash, title)
    )


def head(svg, title, xlabel, ylabel, xs):
    xtics = tics((x, "{:,.0f}".format(x)) for x in sorted(set(xs)))
    return STYLE.format(
        out=svg,
        title=title,
        xlabel=xlabel,
        ylabel=ylabel,
        text=TEXT,
        grid=GRID,
        xtics=xtics,
        xmin=min(xs) * 0.8,
        xmax=max(xs) * 1.25,
    )


def cost_picture(name, path, svg):
    lines = read(path)
    parts, values = [], []
    for i, (label, rows) in enumerate(lines):
        dash = FULL if i == len(lines) - 1 else DASHED
        behind = ": " + label if len(lines) > 1 else ""
        parts.append(part(path, i, 2, "in the kernel" + behind, KERNEL, dash))
        parts.append(part(path, i, 3, "krait itself" + behind, OWN, dash))
        values += [row[key] for row in rows for key in ("kernel_ns", "own_ns")]
    xs = [row["n"] for _, rows in lines for row in rows]
    title, xlabel = TITLES[name]
    return head(svg, title, xlabel, "CPU time per sample", xs) + axis(NS_TICS, values) + plot(parts)


def memory_picture(folder, svg):
    parts, xs, values = [], [], []
    for name, what, colour in (("processes", "busy processes", KERNEL), ("stacks", "stacks", OWN)):
        path = os.path.join(folder, name + ".tsv")
        rows = read(path)
        index = len(rows) - 1
        parts.append(part(path, index, 8, "resident, by " + what, colour, FULL))
        parts.append(part(path, index, 9, "BPF maps, by " + what, colour, DASHED))
        xs += [row["n"] for row in rows[index][1]]
        values += [row[key] for row in rows[index][1] for key in ("rss_mb", "maps_mb")]
    title = "The memory that krait takes"
    top = head(svg, title, "processes, or different stacks", "memory", xs)
    return top + axis(MB_TICS, values) + plot(parts)


def run_gnuplot(script):
    run = subprocess.run(
        ["gnuplot"], input=script, stderr=subprocess.PIPE, universal_newlines=True
    )
    if run.returncode:
        raise CantDraw("gnuplot: " + run.stderr.strip())


def draw(folder):
    """Every picture of which there is data."""
    have = [name for name in TITLES if os.path.exists(os.path.join(folder, name + ".tsv"))]
    for name in have:
        path = os.path.join(folder, name + ".tsv")
        if read(path):
            run_gnuplot(cost_picture(name, path, os.path.join(folder, name + ".svg")))
    if {"processes", "stacks"} <= set(have):
        run_gnuplot(memory_picture(folder, os.path.join(folder, "memory.svg")))
