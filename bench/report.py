#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Report on the samples of ./lab bench: the goals that were reached, and all other series.

    report.py [--partial] IN OUT

IN/bench.tsv has one sample per line, with tabs between the fields: WHAT/SIDE/X UNIT VALUE. X is a
number (bytes, importers, buffers), 0 if there is none. The k-th sample of a series is that of round
k. IN/bench-machine.tsv has lines of KEY and VALUE.

The tables go to standard output; bench.json and the data of the plots (PLOT.dat) go to OUT. A
missed goal is a result, not an error: the exit status is 1 if samples are malformed, or if expected
ones are missing. --partial allows missing ones.
"""
import json
import math
import operator
import re
import sys
from collections import namedtuple
from pathlib import Path
from statistics import median, quantiles

RELATIONS = {'<=': operator.le, '<': operator.lt, '>=': operator.ge}

# Without "theirs", the goal applies to the median of "ours".
Goal = namedtuple('Goal', 'id text against ours theirs relation goal')
GOALS = [Goal(*g) for g in (
    ('P1', 'map a 256 MiB BAR buffer into an IOAS', 'map 256 MiB of memory', 'map/bar/268435456', 'map/memory/268435456', '<=', 0.05),
    ('P2', 'register a 64 MiB BAR buffer as an MR', '64 MiB of memory on rxe',
     'register/pb-bar/67108864', 'register/rxe-memory/67108864', '<=', 0.1),
    ('P3a', 'first touch of a 256 MiB BAR mmap', 'stock vfio-pci', 'touch/dma-buf/268435456', 'touch/vfio-pci/268435456', '<=', 1),
    ('P3b', 'page faults of that touch', None, 'faults/dma-buf/268435456', None, '<=', 128),
    ('P4a', 'write bandwidth at 64 KiB', 'rxe', 'bandwidth/pb/65536', 'bandwidth/rxe/65536', '>=', 20),
    ('P4b', 'write bandwidth at 1 MiB', 'memcpy', 'bandwidth/pb/1048576', 'bandwidth/memcpy/1048576', '>=', 0.6),
    ('P5a', 'write latency of 8 bytes', 'rxe', 'latency/pb/8', 'latency/rxe/8', '<=', 0.25),
    ('P5b', 'its 99th percentile', 'rxe', 'latency-p99/pb/8', 'latency-p99/rxe/8', '<=', 0.25),
    ('P6a', 'write bandwidth to a BAR at 64 KiB', 'to memory', 'bandwidth/pb-bar/65536', 'bandwidth/pb/65536', '>=', 0.9),
    ('P6b', 'write bandwidth to a BAR at 1 MiB', 'to memory', 'bandwidth/pb-bar/1048576', 'bandwidth/pb/1048576', '>=', 0.9),
    ('P7a', 'revoke for good, 1 importer', 'decoding off, vfio-pci', 'revoke/peerbar/1', 'revoke/vfio-pci/1', '<=', 1.5),
    ('P7b', 'revoke for good, 10 importers', 'decoding off, vfio-pci', 'revoke/peerbar/10', 'revoke/vfio-pci/10', '<=', 1.5),
    ('P7c', 'revoke for good, 100 importers', 'decoding off, vfio-pci', 'revoke/peerbar/100', 'revoke/vfio-pci/100', '<=', 1.5),
    ('P7d', 'revoke for good, 100 importers', '10 importers', 'revoke/peerbar/100', 'revoke/peerbar/10', '<=', 10),
    ('P8', 'export, query, map, unmap by libpeerbar', 'the raw ioctls', 'path/library/0', 'path/raw/0', '<=', 1.02),
    ('P9a', 'query a buffer, of 10,000', 'of 10', 'query/peerbar/10000', 'query/peerbar/10', '<=', 1.2),
    ('P9b', 'revoke a buffer, of 10,000', 'of 10', 'revoke-one/peerbar/10000', 'revoke-one/peerbar/10', '<=', 1.2),
    ('P9c', 'list 10,000 buffers', 'list 10', 'list/peerbar/10000', 'list/peerbar/10', '<=', 1000),
    ('P10a', 'a hit in the cache of MRs', 'a registration', 'cache/hit/0', 'cache/registration/0', '<=', 0.001),
    ('P10b', 'instructions of a hit', None, 'instructions/hit/0', None, '<', 200),
    ('P11a', 'write bandwidth at 64 KiB, on demand', 'pinned', 'bandwidth/followed/65536', 'bandwidth/pinned/65536', '>=', 0.95),
    ('P11b', 'write bandwidth at 1 MiB, on demand', 'pinned', 'bandwidth/followed/1048576', 'bandwidth/pinned/1048576', '>=', 0.95),
    ('P12', 'first access after a move of 64 MiB', 'registering it', 'after-move/access/67108864', 'after-move/registration/67108864', '<=', 1),
    ('P13', 'map a bridged buffer of 256 MiB, 128 segments', 'map 256 MiB of memory',
     'map/bridged/268435456', 'map/memory/268435456', '<=', 0.2),
    ('W1a', 'wire: write bandwidth, 64 KiB, 1 QP', 'rxe', 'wire-write-1/pb/65536', 'wire-write-1/rxe/65536', '>=', 3),
    ('W1b', 'wire: write bandwidth, 64 KiB, 16 QPs', 'rxe', 'wire-write-16/pb/65536', 'wire-write-16/rxe/65536', '>=', 3),
    ('W1c', 'wire: write bandwidth, 1 MiB, 1 QP', 'rxe', 'wire-write-1/pb/1048576', 'wire-write-1/rxe/1048576', '>=', 3),
    ('W1d', 'wire: write bandwidth, 1 MiB, 16 QPs', 'rxe', 'wire-write-16/pb/1048576', 'wire-write-16/rxe/1048576', '>=', 3),
    ('W2a', 'wire: read bandwidth, 64 KiB, 1 QP', 'rxe', 'wire-read-1/pb/65536', 'wire-read-1/rxe/65536', '>=', 3),
    ('W2b', 'wire: read bandwidth, 64 KiB, 16 QPs', 'rxe', 'wire-read-16/pb/65536', 'wire-read-16/rxe/65536', '>=', 3),
    ('W2c', 'wire: read bandwidth, 1 MiB, 1 QP', 'rxe', 'wire-read-1/pb/1048576', 'wire-read-1/rxe/1048576', '>=', 3),
    ('W2d', 'wire: read bandwidth, 1 MiB, 16 QPs', 'rxe', 'wire-read-16/pb/1048576', 'wire-read-16/rxe/1048576', '>=', 3),
    ('W3a', 'wire: send bandwidth, 64 KiB, 1 QP', 'rxe', 'wire-send-1/pb/65536', 'wire-send-1/rxe/65536', '>=', 3),
    ('W3b', 'wire: send bandwidth, 64 KiB, 16 QPs', 'rxe', 'wire-send-16/pb/65536', 'wire-send-16/rxe/65536', '>=', 3),
    ('W3c', 'wire: send bandwidth, 1 MiB, 1 QP', 'rxe', 'wire-send-1/pb/1048576', 'wire-send-1/rxe/1048576', '>=', 3),
    ('W3d', 'wire: send bandwidth, 1 MiB, 16 QPs', 'rxe', 'wire-send-16/pb/1048576', 'wire-send-16/rxe/1048576', '>=', 3),
    ('W4a', 'wire: write latency of 8 bytes, median', 'rxe', 'wire-write-lat/pb/8', 'wire-write-lat/rxe/8', '<=', 0.6),
    ('W4b', 'wire: write latency of 8 bytes, 99th percentile', 'rxe', 'wire-write-lat-p99/pb/8', 'wire-write-lat-p99/rxe/8', '<=', 0.6),
    ('W4c', 'wire: read latency of 8 bytes, median', 'rxe', 'wire-read-lat/pb/8', 'wire-read-lat/rxe/8', '<=', 0.6),
    ('W4d', 'wire: read latency of 8 bytes, 99th percentile', 'rxe', 'wire-read-lat-p99/pb/8', 'wire-read-lat-p99/rxe/8', '<=', 0.6),
    ('W4e', 'wire: send latency of 8 bytes, median', 'rxe', 'wire-send-lat/pb/8', 'wire-send-lat/rxe/8', '<=', 0.6),
    ('W4f', 'wire: send latency of 8 bytes, 99th percentile', 'rxe', 'wire-send-lat-p99/pb/8', 'wire-send-lat-p99/rxe/8', '<=', 0.6),
    ('W5', 'wire: messages of 64 bytes, 16 QPs', 'rxe', 'wire-messages/pb/64', 'wire-messages/rxe/64', '>=', 3),
    ('W6a', 'wire: write bandwidth to a BAR, 64 KiB', 'to memory', 'wire-to/bar/65536', 'wire-to/memory/65536', '>=', 0.9),
    ('W6b', 'wire: write bandwidth to a BAR, 1 MiB', 'to memory', 'wire-to/bar/1048576', 'wire-to/memory/1048576', '>=', 0.9),
    ('W7a', 'wire: write bandwidth, 64 KiB, 1% loss', 'rxe', 'wire-loss/pb/65536', 'wire-loss/rxe/65536', '>=', 3),
    ('W7b', 'wire: write bandwidth, 1 MiB, 1% loss', 'rxe', 'wire-loss/pb/1048576', 'wire-loss/rxe/1048576', '>=', 3),
    ('W8a', 'wire: write bandwidth, 64 KiB, 1 QP', 'UDP', 'wire-write-1/pb/65536', 'wire-udp/pb/4096', '>=', 0.8),
    ('W8b', 'wire: write bandwidth, 64 KiB, 16 QPs', 'UDP', 'wire-write-16/pb/65536', 'wire-udp/pb/4096', '>=', 0.8),
    ('W8c', 'wire: write bandwidth, 1 MiB, 1 QP', 'UDP', 'wire-write-1/pb/1048576', 'wire-udp/pb/4096', '>=', 0.8),
    ('W8d', 'wire: write bandwidth, 1 MiB, 16 QPs', 'UDP', 'wire-write-16/pb/1048576', 'wire-udp/pb/4096', '>=', 0.8),
    ('W9', 'wire: processor time of a byte, writes of 1 MiB', 'rxe', 'wire-cost/pb/1048576', 'wire-cost/rxe/1048576', '<=', 0.5),
)]

# The series of a complete run. rxe is slow: only its series that goals need are measured.
EXPECTED = (
    ('map', 'bar memory', '2097152 16777216 67108864 268435456'),
    ('map', 'bridged', '268435456'),
    ('register', 'pb-bar pb-memory rxe-memory', '2097152 16777216 67108864'),
    ('touch', 'dma-buf vfio-pci', '268435456'),
    ('faults', 'dma-buf vfio-pci', '268435456'),
    ('bandwidth', 'pb pb-bar memcpy', '64 1024 4096 16384 65536 262144 1048576'),
    ('bandwidth', 'rxe', '65536'),
    ('bandwidth', 'pinned followed', '65536 1048576'),
    ('after-move', 'access registration', '67108864'),
    ('latency', 'pb pb-bar rxe', '8'),
    ('latency-p99', 'pb rxe', '8'),
    ('revoke', 'peerbar vfio-pci', '0 1 10 100'),
    ('revoke-mr', 'peerbar vfio-pci', '0 1 10 100'),
    ('path', 'library raw', '0'),
    ('query', 'peerbar', '10 100 1000 10000'),
    ('revoke-one', 'peerbar', '10 100 1000 10000'),
    ('list', 'peerbar', '10 100 1000 10000'),
    ('cache', 'hit registration', '0'),
    ('instructions', 'hit', '0'),
    ('wire-write-1 wire-write-16 wire-read-1 wire-read-16 wire-send-1 wire-send-16 wire-loss', 'pb rxe', '65536 1048576'),
    ('wire-write-lat wire-write-lat-p99 wire-read-lat wire-read-lat-p99 wire-send-lat wire-send-lat-p99', 'pb rxe', '8'),
    ('wire-messages', 'pb rxe', '64'),
    ('wire-to', 'bar memory', '65536 1048576'),
    ('wire-udp', 'pb', '4096'),
    ('wire-cost', 'pb rxe', '1048576'),
)

# Line plots over X, with their series.
LINE_PLOTS = {
    'map': ['map'],
    'register': ['register'],
    'bandwidth': ['bandwidth'],
    'revoke': ['revoke', 'revoke-mr'],
    'buffers': ['query', 'revoke-one', 'list'],
}

TITLES = {
    'map/bar': 'BAR of vfio-pci',
    'map/bar-peerbar': 'BAR of peerbar-vfio-pci',
    'map/bridged': 'bridged, 128 segments',
    'map/memory': 'memory',
    'map/memory-4k': 'memory in small pages',
    'register/pb-bar': 'BAR, peerbar',
    'register/pb-memory': 'memory, peerbar',
    'register/pb-bar-vfio-pci': 'BAR of stock vfio-pci, peerbar',
    'register/rxe-memory': 'memory, rxe',
    'register/rxe-memory-4k': 'memory in small pages, rxe',
    'bandwidth/pb': 'to memory, peerbar',
    'bandwidth/pb-bar': 'to a BAR, peerbar',
    'bandwidth/rxe': 'to memory, rxe',
    'bandwidth/memcpy': 'memcpy',
    'bandwidth/pinned': 'to a buffer that can move, pinned',
    'bandwidth/followed': 'to a buffer that can move, on demand',
    'after-move/access': 'first access after a move',
    'after-move/registration': 'registration',
    'latency/pb': 'to memory, peerbar',
    'latency/pb-bar': 'to a BAR, peerbar',
    'latency/rxe': 'to memory, rxe',
    'revoke/peerbar': 'iommufd, peerbar',
    'revoke/vfio-pci': 'iommufd, stock vfio-pci',
    'revoke-mr/peerbar': 'MRs, peerbar',
    'revoke-mr/vfio-pci': 'MRs, stock vfio-pci',
    'query/peerbar': 'query one',
    'revoke-one/peerbar': 'revoke one',
    'list/peerbar': 'list all',
}

TIMES = {'s': 1e9, 'ms': 1e6, 'us': 1e3, 'ns': 1}
SIZES = {'MiB': 1 << 20, 'KiB': 1 << 10, 'bytes': 1}


def fail(sentence):
    sys.exit(f'bench-report: {sentence}')


class Summary:
    """Median, quartiles (low and high) and extremes of some samples."""

    def __init__(self, samples):
        self.median, self.min, self.max = median(samples), min(samples), max(samples)
        if len(samples) > 1:
            self.low, _, self.high = quantiles(samples, n=4, method='inclusive')
        else:
            self.low = self.high = samples[0]


class Series:
    def __init__(self, name, unit):
        self.name, self.unit, self.samples, self.in_goal = name, unit, [], False
        self.what, self.side, x = name.split('/')
        self.x = int(x)

    @property
    def key(self):
        return f'{self.what}/{self.side}'


class Result:
    """The result of a goal: the ratio of the medians, and the quartiles of the rounds' ratios."""

    def __init__(self, goal, series):
        self.goal, self.ours, self.theirs = goal, series[goal.ours], series.get(goal.theirs)
        spread = self.ours.summary
        self.value = spread.median
        self.ours.in_goal = True
        if self.theirs:
            ours, theirs = self.ours, self.theirs
            theirs.in_goal = True
            if ours.unit != theirs.unit:
                fail(f'{goal.id}: {ours.name} is in {ours.unit}, and {theirs.name} in {theirs.unit}')
            if len(ours.samples) != len(theirs.samples):
                fail(f'{goal.id}: there are {len(ours.samples)} samples of {ours.name}, and {len(theirs.samples)} of {theirs.name}; '
                     'a round has one of each')
            if 0 in theirs.samples:
                fail(f'{goal.id}: in round {theirs.samples.index(0) + 1} {theirs.name} is 0, so there is no ratio to it')
            spread = Summary([a / b for a, b in zip(ours.samples, theirs.samples)])
            self.value = ours.summary.median / theirs.summary.median
        self.low, self.high = spread.low, spread.high
        self.held = RELATIONS[goal.relation](self.value, goal.goal)

    def better(self, value):
        """Return how many times better than the goal a value is."""
        return value / self.goal.goal if self.goal.relation == '>=' else self.goal.goal / value


def read_lines(path, nr_fields, form):
    """Yield the position and the fields of each line."""
    try:
        lines = path.read_text().splitlines(keepends=True)
    except OSError as e:
        fail(f'cannot open {path}: {e.strerror}')
    for number, line in enumerate(lines, 1):
        at = f'{path.name}, line {number}'
        # A truncated line may still end in a valid number.
        if not line.endswith('\n'):
            fail(f'{at}: the end of the line is missing')
        fields = line[:-1].split('\t')
        if len(fields) != nr_fields:
            fail(f'{at}: it has to be {form}, with tabs')
        yield at, fields


def read_samples(path):
    """Return the series by name, in order of appearance of what and side, then by X."""
    series = {}
    for at, (name, unit, text) in read_lines(path, 3, 'WHAT/SIDE/X, UNIT and VALUE'):
        if not unit:
            fail(f'{at}: the unit is missing')
        if re.search('[ |]', unit):
            fail(f"{at}: '{unit}' is no unit: it has to be one word")
        # float() accepts more than decimal numbers.
        if not re.fullmatch(r'\d[\d.]*(e[+-]?\d+)?', text, re.I) or text.count('.') > 1 or not math.isfinite(float(text)):
            fail(f"{at}: '{text}' is no value: it has to be a number, and not a negative one")
        if not re.fullmatch(r'[a-z0-9-]+/[a-z0-9-]+/\d+', name) or int(name.rsplit('/', 1)[1]) >= 1 << 64:
            fail(f"{at}: '{name}' is no series: its name has to be WHAT/SIDE/NUMBER")
        s = series.setdefault(name, Series(name, unit))
        if s.unit != unit:
            fail(f'{at}: {name} is in {unit} here, and was in {s.unit} before')
        s.samples.append(float(text))
    if not series:
        fail(f'{path.name} has no samples')
    whats = list(dict.fromkeys(s.what for s in series.values()))
    sides = list(dict.fromkeys(s.key for s in series.values()))
    for s in series.values():
        s.summary = Summary(s.samples)
    return {s.name: s for s in sorted(series.values(), key=lambda s: (whats.index(s.what), sides.index(s.key), s.x))}


def read_machine(path):
    facts = {}
    for at, (key, value) in read_lines(path, 2, 'KEY and VALUE'):
        if not key:
            fail(f'{at}: the key is missing')
        facts[key] = value
    return facts


# ---- tables: Markdown, padded to be readable as plain text

def print_table(rows):
    width = [max(map(len, column)) for column in zip(*rows)]
    for i, row in enumerate(rows):
        print('| ' + ' | '.join(cell.ljust(w) for cell, w in zip(row, width)) + ' |')
        if not i:
            print('|' + '|'.join('-' * (w + 2) for w in width) + '|')


def number_text(v):
    """Return the number with three significant digits, but without rounding its integer part."""
    if v >= 100 or v == round(v):
        return f'{v:.0f}'
    return f'{v:.1f}' if v >= 10 else f'{v:.2f}' if v >= 1 else f'{v:.3g}'


def shown_unit(unit, value):
    """Return the unit in which to show a value, and its size in the series' own unit."""
    if unit in TIMES:
        shown = next((t for t in TIMES if value * TIMES[unit] >= TIMES[t]), 'ns')
        return shown, TIMES[shown] / TIMES[unit]
    if unit == 'bytes':
        shown = next((s for s in SIZES if value >= 10 * SIZES[s]), 'bytes')
        return shown, SIZES[shown]
    return unit, 1


def summary_text(series):
    s = series.summary
    unit, factor = shown_unit(series.unit, s.median)
    return f'{number_text(s.median / factor)} {unit} ({number_text(s.low / factor)}-{number_text(s.high / factor)})'


def x_text(series, all_series):
    """Return 2097152 as "2 MiB", 10000 as "10000"; empty for a series that has no X."""
    x = series.x
    if not x and not any(s.key == series.key and s.x for s in all_series.values()):
        return ''
    for unit in ('MiB', 'KiB'):
        if x and x % SIZES[unit] == 0:
            return f'{x // SIZES[unit]} {unit}'
    return str(x)


def print_tables(series, results):
    rows = [['id', 'measure', 'against', 'the measure', 'the other', 'ratio', 'goal', 'result']]
    for r in results:
        g = r.goal
        # Four digits, so that a near miss does not look like the goal.
        rows.append([g.id, g.text, g.against or '', summary_text(r.ours), summary_text(r.theirs) if r.theirs else '',
                     f'{r.value:.4g} ({r.low:.4g}-{r.high:.4g})' if r.theirs else '', f'{g.relation} {g.goal:g}',
                     'held' if r.held else 'MISSED'])
    print_table(rows)
    print("\nMedians, with quartiles in brackets. The ratio is that of the medians, its quartiles are those of the rounds' ratios.")
    computed = {r.goal.id for r in results}
    absent = [g.id for g in GOALS if g.id not in computed]
    if absent:
        print('\n' + ('Left out, for want of samples: ' if results else 'No goal can be computed, for want of samples: ') +
              ', '.join(absent) + '.')
    rows = [[s.what, s.side, x_text(s, series), summary_text(s)] for s in series.values() if not s.in_goal]
    if rows:
        print()
        print_table([['series', 'side', 'at', 'median (quartiles)']] + rows)
    missed = [r.goal.id for r in results if not r.held]
    print(f'\n{len(results) - len(missed)} of {len(results)} goals reached' + (f'; missed: {", ".join(missed)}' if missed else ''))


# ---- bench.json

def short(v):
    """Return a number with at most ten digits, as an int if it is integer."""
    v = float(f'{v:.10g}')
    return int(v) if v.is_integer() else v


def write_json(out, machine, series, results):
    top = {'machine': machine, 'goals': [], 'series': {}}
    for r in results:
        g = r.goal
        top['goals'].append({
            'id': g.id, 'text': g.text, 'against': g.against, 'ours': g.ours, 'theirs': g.theirs,
            'ratio' if g.theirs else 'value': short(r.value), 'low': short(r.low), 'high': short(r.high),
            'relation': g.relation, 'goal': g.goal, 'held': r.held})
    for s in series.values():
        q = s.summary
        top['series'][s.name] = {
            'unit': s.unit, 'n': len(s.samples), 'median': short(q.median), 'quartiles': [short(q.low), short(q.high)],
            'min': short(q.min), 'max': short(q.max), 'samples': [short(v) for v in s.samples]}
    (out / 'bench.json').write_text(json.dumps(top, indent=2, separators=(',', ':')) + '\n')


# ---- data of the plots

def point(series):
    """Return a data point. Times are in seconds: gnuplot chooses the prefix."""
    factor = TIMES[series.unit] / 1e9 if series.unit in TIMES else 1
    s = series.summary
    return f'{s.median * factor:.9g} {s.low * factor:.9g} {s.high * factor:.9g}'


def title(key):
    return TITLES.get(key, key.replace('/', ', '))


def write_data(out, plot, text):
    """Write the data of a plot, unless it is empty: a plot without data is not drawn."""
    if text:
        (out / f'{plot}.dat').write_text(text + '\n')


def write_plots(out, series, results):
    for plot, whats in LINE_PLOTS.items():
        lines = {}  # one block for each line, its title first
        for what in whats:
            for s in series.values():
                if s.what == what:
                    lines.setdefault(s.key, [f'"{title(s.key)}"']).append(f'{s.x} {point(s)}')
        write_data(out, plot, '\n\n\n'.join('\n'.join(line) for line in lines.values()))
    write_data(out, 'latency', '\n'.join(
        f'"{title("latency/" + s.side)}, {s.x} bytes: {"99th percentile" if s.what == "latency-p99" else "median"}" '
        f'{int(s.what == "latency-p99")} {point(s)}' for s in series.values() if s.what in ('latency', 'latency-p99')))
    write_data(out, 'memory', '\n'.join(
        f'"{", ".join(filter(None, (s.side, x_text(s, series))))}" 0 {point(s)}' for s in series.values() if s.what == 'memory'))
    bars = []
    for r in results:
        low, high = sorted((r.low, r.high), key=lambda v: v if r.goal.relation == '>=' else -v)
        # An infinite ratio cannot be plotted.
        if r.value and r.low:
            bars.append(f'"{r.goal.id}  {r.goal.text}" {int(not r.held)} '
                        f'{r.better(r.value):.9g} {r.better(low):.9g} {r.better(high):.9g}')
    write_data(out, 'goals', '\n'.join(bars))


def missing(series):
    return [name for whats, sides, xs in EXPECTED for what in whats.split() for side in sides.split() for x in xs.split()
            if (name := f'{what}/{side}/{x}') not in series]


def main():
    args = sys.argv[1:]
    partial = args[:1] == ['--partial']
    args = args[partial:]
    if len(args) != 2:
        print('usage: report.py [--partial] IN OUT', file=sys.stderr)
        return 2
    source, out = map(Path, args)
    series = read_samples(source / 'bench.tsv')
    machine = read_machine(source / 'bench-machine.tsv')
    results = [Result(g, series) for g in GOALS if g.ours in series and (not g.theirs or g.theirs in series)]
    print_tables(series, results)
    sys.stdout.flush()
    write_json(out, machine, series, results)
    write_plots(out, series, results)
    absent = [] if partial else missing(series)
    for name in absent:
        print(f'bench-report: there are no samples of {name}', file=sys.stderr)
    return 1 if absent else 0


if __name__ == '__main__':
    sys.exit(main())
