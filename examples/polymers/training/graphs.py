"""Polymers as the C++ featuriser reads them: tables, identifiers, and which rows are one chain.

The features come from the C++ featuriser, the same code that serves predictions, so that training and serving
can not drift apart.
"""

import csv
import functools
import json
import math
import subprocess
from dataclasses import dataclass

import numpy as np


@dataclass
class Graph:
    """One featurised molecule or endless chain; `identifiers` are (Morgan identifier, count) pairs, ascending."""

    smiles: str
    atom: np.ndarray
    bond: np.ndarray
    identifiers: list
    heavy_atoms: int


@dataclass
class Polymer:
    """One row of a table: its graph, a measured glass transition temperature in kelvin, the values of further labels, and where
    it stands. A value that the row lacks is NaN."""

    graph: Graph
    measured: float
    labels: list
    table: int
    part: str
    row: int


def run_graph_tool(tool, smiles, table):
    """Featurises a list of SMILES with the C++ program `polymers-graph`; one graph per line, in order. They are the rows of
    `table`, for what is said of a refused one."""
    answer = subprocess.run([tool], input="".join(line + "\n" for line in smiles), text=True,
                            stdout=subprocess.PIPE, check=True)
    lines = answer.stdout.splitlines()
    if len(lines) != len(smiles):
        raise SystemExit(f"{tool} answered {len(lines)} lines for {len(smiles)} SMILES")
    return [parse_graph(line, text, f"{table}: row {number}") for number, (line, text) in enumerate(zip(lines, smiles), 1)]


def parse_graph(line, smiles, place):
    """Reads one JSON line of the graph tool; a refused SMILES ends the run with its place and the tool's reason."""
    row = json.loads(line)
    if "error" in row:
        raise SystemExit(f"{place}: the graph tool refuses {smiles!r}: {row['error']}")
    if row["identifiers"] is None:
        raise SystemExit(f"{place}: the graph tool gives no identifiers for {smiles!r}: too many atoms")
    identifiers = [(int(identifier), int(count)) for identifier, count in row["identifiers"]]
    return Graph(smiles, np.asarray(row["atom"], np.int64), np.asarray(row["bond"], np.int64), identifiers,
                 int(row["heavy_atoms"]))


def read_table(path, number, tool, labels=()):
    """Reads a table (columns smiles, tg_k; a column set names parts of it) and featurises every repeat unit. With `labels`,
    further columns, a table and a row may lack some of the values, but not all."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets mark UTF-8
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SystemExit(f"{path}: cannot be read: {error}") from None
    columns = set(rows[0] if rows else {})
    missing = {"smiles"} - columns | ({"tg_k"} - columns if columns.isdisjoint(labels) else set())
    if missing:
        raise SystemExit(f"{path}: no column {', '.join(sorted(missing))}")
    graphs = run_graph_tool(tool, [smiles_of(path, line, row) for line, row in enumerate(rows, 1)], path)
    return [Polymer(graph, *values_of(path, line, row, labels), number, row.get("set") or "", line)
            for line, (row, graph) in enumerate(zip(rows, graphs), 1)]


def smiles_of(path, number, row):
    """The SMILES of a row of a table, which the graph tool reads from a line of its own."""
    text = row["smiles"]
    if text is None or "\n" in text:
        raise SystemExit(f"{path}: row {number}: smiles: expected one line of text, got {text!r}")
    return text


def values_of(path, number, row, labels):
    """The temperature and the further labels of a row of a table."""
    def place(name):
        return f"{path}: row {number}: {name}"
    if not labels:
        return kelvin(place("tg_k"), row["tg_k"]), []
    texts = {name: (row.get(name) or "").strip() for name in ("tg_k", *labels)}
    if not any(texts.values()):
        raise SystemExit(f"{place(', '.join(texts))}: expected at least one value, got none")
    measured = kelvin(place("tg_k"), texts["tg_k"]) if texts["tg_k"] else math.nan
    return measured, [number_of(place(name), texts[name]) if texts[name] else math.nan for name in labels]


def number_of(place, text, expected="a number", lowest=-math.inf):
    """A value of a table."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not lowest < value < math.inf:
        raise SystemExit(f"{place}: expected {expected}, got {text!r}")
    return value


def kelvin(place, text):
    """A temperature of a table."""
    return number_of(place, text, "a temperature in kelvin", 0)


def chain_key(graph):
    """What all spellings of one chain share, from whichever atom and over however many units they are written."""
    unit = functools.reduce(math.gcd, (count for _, count in graph.identifiers))
    return tuple((identifier, count // unit) for identifier, count in graph.identifiers)


def group_by_chain(graphs):
    """Numbers the chains: rows with the same number are the same chain."""
    numbers = {}
    return np.array([numbers.setdefault(chain_key(graph), len(numbers)) for graph in graphs])


def repeated_chains(polymers, groups):
    """The rows of every chain that occurs more than once, each by ascending value; those that differ most come first."""
    chains = {}
    for polymer, group in zip(polymers, groups):
        if not math.isnan(polymer.measured):
            chains.setdefault(group, []).append(polymer)
    repeated = [sorted(rows, key=lambda row: row.measured) for rows in chains.values() if len(rows) > 1]
    return sorted(repeated, key=lambda rows: rows[0].measured - rows[-1].measured)


def describe_contradictions(repeated, limit=30.0):
    """A sentence on chains that occur more than once: how many, and how many differ by more than `limit` kelvin."""
    spans = np.array([rows[-1].measured - rows[0].measured for rows in repeated] or [0.0])
    return (f"{len(repeated)} chains occur more than once; their values differ by {np.median(spans):.1f} K in the median, by "
            f"more than {limit:.0f} K in {int((spans > limit).sum())} of them, by {spans.max():.0f} K at most")


def list_contradictions(repeated, most=20):
    """Lines for whoever has the tables: the chains whose values differ most, with their lowest and highest row."""
    def place(polymer):
        return f"{polymer.measured:6.1f} K  table {polymer.table}, row {polymer.row}: {polymer.graph.smiles}"
    return "\n".join(f"  {rows[-1].measured - rows[0].measured:5.1f} K apart\n    {place(rows[0])}\n    {place(rows[-1])}"
                     for rows in repeated[:most] if rows[-1].measured > rows[0].measured)
