// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Reads what ./lab bench measured, and tells which goals were reached.
 *
 *	bench-report [--partial] IN OUT
 *
 * IN/bench.tsv has a line for each sample, with tabs between its fields: WHAT/SIDE/X UNIT VALUE. X is a number (bytes, importers,
 * buffers), and 0 where there is none. The k-th sample of a series is that of round k. IN/bench-machine.tsv has lines of KEY and
 * VALUE.
 *
 * Tables go to standard output, bench.json and the data of the plots (PLOT.dat) to OUT. A goal that is missed is a result; the exit
 * status is 1 if samples are malformed, or if some that are expected are missing. With --partial these may be missing.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

/* ---- what is asked for ---- */

enum relation { AT_MOST, BELOW, AT_LEAST };

static const char *const relation_text[] = { "<=", "<", ">=" };

static const struct goal {
	const char *id, *text, *against;
	const char *ours, *theirs; /* without the latter the goal is for the median of the former */
	enum relation relation;
	double goal;
} goals[] = {
	{ "P1", "map a 256 MiB BAR buffer into an IOAS", "map 256 MiB of memory",
	  "map/bar/268435456", "map/memory/268435456", AT_MOST, 0.05 },
	{ "P2", "register a 64 MiB BAR buffer as an MR", "64 MiB of memory on rxe",
	  "register/pb-bar/67108864", "register/rxe-memory/67108864", AT_MOST, 0.1 },
	{ "P3a", "first touch of a 256 MiB BAR mmap", "stock vfio-pci",
	  "touch/dma-buf/268435456", "touch/vfio-pci/268435456", AT_MOST, 1 },
	{ "P3b", "page faults of that touch", NULL, "faults/dma-buf/268435456", NULL, AT_MOST, 128 },
	{ "P4a", "write bandwidth at 64 KiB", "rxe", "bandwidth/pb/65536", "bandwidth/rxe/65536", AT_LEAST, 20 },
	{ "P4b", "write bandwidth at 1 MiB", "memcpy", "bandwidth/pb/1048576", "bandwidth/memcpy/1048576", AT_LEAST, 0.6 },
	{ "P5a", "write latency of 8 bytes", "rxe", "latency/pb/8", "latency/rxe/8", AT_MOST, 0.25 },
	{ "P5b", "its 99th percentile", "rxe", "latency-p99/pb/8", "latency-p99/rxe/8", AT_MOST, 0.25 },
	{ "P6a", "write bandwidth to a BAR at 64 KiB", "to memory", "bandwidth/pb-bar/65536", "bandwidth/pb/65536", AT_LEAST, 0.9 },
	{ "P6b", "write bandwidth to a BAR at 1 MiB", "to memory", "bandwidth/pb-bar/1048576", "bandwidth/pb/1048576", AT_LEAST, 0.9 },
	{ "P7a", "revoke for good, 1 importer", "decoding off, vfio-pci", "revoke/peerbar/1", "revoke/vfio-pci/1", AT_MOST, 1.5 },
	{ "P7b", "revoke for good, 10 importers", "decoding off, vfio-pci", "revoke/peerbar/10", "revoke/vfio-pci/10", AT_MOST, 1.5 },
	{ "P7c", "revoke for good, 100 importers", "decoding off, vfio-pci", "revoke/peerbar/100", "revoke/vfio-pci/100", AT_MOST, 1.5 },
	{ "P7d", "revoke for good, 100 importers", "10 importers", "revoke/peerbar/100", "revoke/peerbar/10", AT_MOST, 10 },
	{ "P8", "export, query, map, unmap by libpeerbar", "the raw ioctls", "path/library/0", "path/raw/0", AT_MOST, 1.02 },
	{ "P9a", "query a buffer, of 10,000", "of 10", "query/peerbar/10000", "query/peerbar/10", AT_MOST, 1.2 },
	{ "P9b", "revoke a buffer, of 10,000", "of 10", "revoke-one/peerbar/10000", "revoke-one/peerbar/10", AT_MOST, 1.2 },
	{ "P9c", "list 10,000 buffers", "list 10", "list/peerbar/10000", "list/peerbar/10", AT_MOST, 1000 },
	{ "P10a", "a hit in the cache of MRs", "a registration", "cache/hit/0", "cache/registration/0", AT_MOST, 0.001 },
	{ "P10b", "instructions of a hit", NULL, "instructions/hit/0", NULL, BELOW, 200 },
};

#define NR_GOALS (sizeof(goals) / sizeof(*goals))

/* what came of them */
static struct result {
	const struct series *ours, *theirs;
	double value, low, high; /* the ratio of the medians, and the quartiles of the ratios of each round */
	bool computed, held;
} results[NR_GOALS];

/* the series that a whole run has; of rxe only those of goals, which is slow */
static const struct expected {
	const char *what, *sides, *xs;
} expected[] = {
	{ "map", "bar memory", "2097152 16777216 67108864 268435456" },
	{ "register", "pb-bar pb-memory rxe-memory", "2097152 16777216 67108864" },
	{ "touch", "dma-buf vfio-pci", "268435456" },
	{ "faults", "dma-buf vfio-pci", "268435456" },
	{ "bandwidth", "pb pb-bar memcpy", "64 1024 4096 16384 65536 262144 1048576" },
	{ "bandwidth", "rxe", "65536" },
	{ "latency", "pb pb-bar rxe", "8" },
	{ "latency-p99", "pb rxe", "8" },
	{ "revoke", "peerbar vfio-pci", "0 1 10 100" },
	{ "revoke-mr", "peerbar vfio-pci", "0 1 10 100" },
	{ "path", "library raw", "0" },
	{ "query", "peerbar", "10 100 1000 10000" },
	{ "revoke-one", "peerbar", "10 100 1000 10000" },
	{ "list", "peerbar", "10 100 1000 10000" },
	{ "cache", "hit registration", "0" },
	{ "instructions", "hit", "0" },
};

/* ---- small things ---- */

static void fail(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void fail(const char *fmt, ...)
{
	va_list ap;

	fputs("bench-report: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void *need(void *p)
{
	if (!p)
		fail("there is no memory");
	return p;
}

static char *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static char *text(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		need(NULL);
	va_end(ap);
	return s;
}

static FILE *open_file(const char *dir, const char *name, const char *mode)
{
	char *path = text("%s/%s", dir, name);
	FILE *f = fopen(path, mode);

	if (!f)
		fail("cannot open %s: %s", path, strerror(errno));
	free(path);
	return f;
}

static void close_written(FILE *f, const char *name)
{
	bool bad = ferror(f);

	if (fclose(f) || bad)
		fail("cannot write %s: %s", name, strerror(errno));
}

/* ---- samples ---- */

struct summary {
	double median, low, high, min, max; /* low and high are the quartiles */
};

static struct series {
	char *name, *what, *side, *unit;
	uint64_t x;
	double *samples;
	size_t n;
	size_t rank_of_what, rank_of_side; /* who came first */
	struct summary s;
	bool in_goal;
} *series;
static size_t nr_series;

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* at a fraction of sorted samples, between two of them if need be */
static double quantile(const double *sorted, size_t n, double fraction)
{
	double at = fraction * (double)(n - 1);
	size_t below = (size_t)at;

	if (below + 1 >= n)
		return sorted[n - 1];
	return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

static struct summary summarize(const double *samples, size_t n)
{
	double *sorted = need(calloc(n, sizeof(*sorted)));
	struct summary s;

	memcpy(sorted, samples, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	s = (struct summary){ quantile(sorted, n, 0.5), quantile(sorted, n, 0.25), quantile(sorted, n, 0.75), sorted[0], sorted[n - 1] };
	free(sorted);
	return s;
}

static struct series *find_series(const char *name)
{
	size_t i;

	for (i = 0; i < nr_series; i++) {
		if (!strcmp(series[i].name, name))
			return &series[i];
	}
	return NULL;
}

/* WORD/WORD/NUMBER */
static bool split_name(const char *name, struct series *s)
{
	static const char word[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	size_t what = strspn(name, word), side = name[what] == '/' ? strspn(name + what + 1, word) : 0;
	const char *rest = name + what + (side ? 1 + side : 0);
	char *end;

	if (!what || !side || rest[0] != '/' || !isdigit((unsigned char)rest[1]))
		return false;
	errno = 0;
	s->x = strtoull(rest + 1, &end, 10);
	if (*end || errno)
		return false;
	s->name = need(strdup(name));
	s->what = need(strndup(name, what));
	s->side = need(strndup(name + what + 1, side));
	return true;
}

static struct series *add_series(const char *name, const char *unit)
{
	struct series s = { .rank_of_what = nr_series, .rank_of_side = nr_series };
	size_t i;

	if (!split_name(name, &s))
		return NULL;
	s.unit = need(strdup(unit));
	for (i = nr_series; i--;) {
		if (strcmp(series[i].what, s.what))
			continue;
		s.rank_of_what = series[i].rank_of_what;
		if (!strcmp(series[i].side, s.side))
			s.rank_of_side = series[i].rank_of_side;
	}
	series = need(reallocarray(series, nr_series + 1, sizeof(*series)));
	series[nr_series] = s;
	return &series[nr_series++];
}

/* a decimal number and nothing else; strtod() takes more than that */
static bool parse_value(const char *value, double *result)
{
	char *end;

	if (!isdigit((unsigned char)*value) || value[strspn(value, "0123456789.eE+-")])
		return false;
	*result = strtod(value, &end);
	return !*end && isfinite(*result);
}

/* read_lines: give the fields of every line to a function, which returns what is wrong with them, or NULL */
static void read_lines(const char *dir, const char *name, int nr_fields, const char *what, const char *(*take)(char **fields))
{
	FILE *f = open_file(dir, name, "r");
	unsigned int number = 0;
	char *line = NULL, *fields[4], *rest;
	const char *wrong;
	size_t size = 0;
	ssize_t length;
	int n;

	while ((length = getline(&line, &size, f)) > 0) {
		number++;
		/* of a line that was cut off, even the value may look good */
		if (line[length - 1] != '\n')
			fail("%s, line %u: the end of the line is missing", name, number);
		line[length - 1] = '\0';
		n = 0;
		for (rest = line; rest && n < 4; n++)
			fields[n] = strsep(&rest, "\t");
		if (strlen(line) != strcspn(line, "\t") || n != nr_fields || rest)
			fail("%s, line %u: it has to be %s, with tabs", name, number, what);
		wrong = take(fields);
		if (wrong)
			fail("%s, line %u: %s", name, number, wrong);
	}
	if (ferror(f))
		fail("cannot read %s: %s", name, strerror(errno));
	free(line);
	fclose(f);
}

static const char *take_sample(char **fields)
{
	struct series *s = find_series(fields[0]);
	double value;

	if (!*fields[1])
		return "the unit is missing";
	if (strpbrk(fields[1], " |"))
		return text("'%s' is no unit: it has to be one word", fields[1]);
	if (!parse_value(fields[2], &value))
		return text("'%s' is no value: it has to be a number, and not a negative one", fields[2]);
	if (s && strcmp(s->unit, fields[1]))
		return text("%s is in %s here, and was in %s before", fields[0], fields[1], s->unit);
	if (!s)
		s = add_series(fields[0], fields[1]);
	if (!s)
		return text("'%s' is no series: its name has to be WHAT/SIDE/NUMBER", fields[0]);
	s->samples = need(reallocarray(s->samples, s->n + 1, sizeof(*s->samples)));
	s->samples[s->n++] = value;
	return NULL;
}

static struct json_object *machine;

static const char *take_fact(char **fields)
{
	if (!*fields[0])
		return "the key is missing";
	json_object_object_add(machine, fields[0], need(json_object_new_string(fields[1])));
	return NULL;
}

static int by_rank(const void *a, const void *b)
{
	const struct series *s = a, *t = b;

	if (s->rank_of_what != t->rank_of_what)
		return s->rank_of_what < t->rank_of_what ? -1 : 1;
	if (s->rank_of_side != t->rank_of_side)
		return s->rank_of_side < t->rank_of_side ? -1 : 1;
	return (s->x > t->x) - (s->x < t->x);
}

static void read_samples(const char *dir)
{
	size_t i;

	read_lines(dir, "bench.tsv", 3, "WHAT/SIDE/X, UNIT and VALUE", take_sample);
	if (!nr_series)
		fail("bench.tsv has no samples");
	machine = need(json_object_new_object());
	read_lines(dir, "bench-machine.tsv", 2, "KEY and VALUE", take_fact);
	qsort(series, nr_series, sizeof(*series), by_rank);
	for (i = 0; i < nr_series; i++)
		series[i].s = summarize(series[i].samples, series[i].n);
}

/* ---- goals ---- */

static bool reached(const struct goal *g, double value)
{
	switch (g->relation) {
	case AT_MOST:
		return value <= g->goal;
	case BELOW:
		return value < g->goal;
	default:
		return value >= g->goal;
	}
}

static void compute(const struct goal *g, struct result *r)
{
	struct series *ours = find_series(g->ours), *theirs = g->theirs ? find_series(g->theirs) : NULL;
	struct summary s;
	double *ratios;
	size_t i;

	if (!ours || (g->theirs && !theirs))
		return;
	r->ours = ours;
	r->theirs = theirs;
	ours->in_goal = true;
	if (theirs) {
		theirs->in_goal = true;
		if (strcmp(ours->unit, theirs->unit))
			fail("%s: %s is in %s, and %s in %s", g->id, g->ours, ours->unit, g->theirs, theirs->unit);
		if (ours->n != theirs->n)
			fail("%s: there are %zu samples of %s, and %zu of %s; a round has one of each", g->id, ours->n, g->ours, theirs->n,
			     g->theirs);
		for (i = 0; i < theirs->n; i++) {
			if (!theirs->samples[i])
				fail("%s: in round %zu %s is 0, so there is no ratio to it", g->id, i + 1, g->theirs);
		}
		ratios = need(calloc(ours->n, sizeof(*ratios)));
		for (i = 0; i < ours->n; i++)
			ratios[i] = ours->samples[i] / theirs->samples[i];
		s = summarize(ratios, ours->n);
		free(ratios);
		r->value = ours->s.median / theirs->s.median;
	} else {
		s = ours->s;
		r->value = s.median;
	}
	r->low = s.low;
	r->high = s.high;
	r->computed = true;
	r->held = reached(g, r->value);
}

/* the word after this one, of several with a space in between */
static const char *next_word(const char *word)
{
	word += strcspn(word, " ");
	return word + strspn(word, " ");
}

/* whether all that is expected is there; what is not is told */
static bool complete(void)
{
	const char *side, *x;
	bool all = true;
	char *name;
	size_t i;

	for (i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
		for (side = expected[i].sides; *side; side = next_word(side)) {
			for (x = expected[i].xs; *x; x = next_word(x)) {
				name = text("%s/%.*s/%.*s", expected[i].what, (int)strcspn(side, " "), side, (int)strcspn(x, " "), x);
				if (!find_series(name)) {
					fprintf(stderr, "bench-report: there are no samples of %s\n", name);
					all = false;
				}
				free(name);
			}
		}
	}
	return all;
}

/* ---- tables: Markdown, padded so that it can be read as it is ---- */

#define MAX_COLUMNS 8

struct table {
	int columns;
	size_t rows;
	char *(*cells)[MAX_COLUMNS];
};

/* the cells are the table's from now on */
static void add_row(struct table *t, ...)
{
	va_list ap;
	int i;

	t->cells = need(reallocarray(t->cells, t->rows + 1, sizeof(*t->cells)));
	va_start(ap, t);
	for (i = 0; i < t->columns; i++)
		t->cells[t->rows][i] = va_arg(ap, char *);
	va_end(ap);
	t->rows++;
}

static char *copy(const char *s)
{
	return need(strdup(s));
}

static void print_table(struct table *t)
{
	int width[MAX_COLUMNS] = { 0 }, i, j;
	size_t row;

	for (row = 0; row < t->rows; row++) {
		for (i = 0; i < t->columns; i++) {
			int w = (int)strlen(t->cells[row][i]);

			width[i] = w > width[i] ? w : width[i];
		}
	}
	for (row = 0; row < t->rows; row++) {
		for (i = 0; i < t->columns; i++) {
			printf("| %-*s ", width[i], t->cells[row][i]);
			free(t->cells[row][i]);
		}
		puts("|");
		if (row)
			continue;
		for (i = 0; i < t->columns; i++) {
			putchar('|');
			for (j = 0; j < width[i] + 2; j++)
				putchar('-');
		}
		puts("|");
	}
	free(t->cells);
}

/* three digits, as far as that is not more than there is */
static char *number_text(double v)
{
	return v >= 100 || v == rint(v) ? text("%.0f", v) : v >= 10 ? text("%.1f", v) : v >= 1 ? text("%.2f", v) : text("%.3g", v);
}

/* the unit in which a value is told, and how many of the series' own it has */
static const char *unit_for(const char *unit, double value, double *factor)
{
	static const struct {
		const char *unit;
		double size; /* ns, bytes */
	} times[] = { { "s", 1e9 }, { "ms", 1e6 }, { "us", 1e3 }, { "ns", 1 } },
	  sizes[] = { { "MiB", 1048576 }, { "KiB", 1024 }, { "bytes", 1 } };
	size_t i, own;

	for (own = 0; own < 4; own++) {
		if (strcmp(unit, times[own].unit))
			continue;
		for (i = 0; i < 3 && value * times[own].size < times[i].size; i++)
			;
		*factor = times[i].size / times[own].size;
		return times[i].unit;
	}
	if (!strcmp(unit, "bytes")) {
		for (i = 0; i < 2 && value < 10 * sizes[i].size; i++)
			;
		*factor = sizes[i].size;
		return sizes[i].unit;
	}
	*factor = 1;
	return unit;
}

/* "MEDIAN UNIT (LOW-HIGH)" */
static char *summary_text(const struct summary *s, const char *unit)
{
	double factor;
	const char *shown = unit_for(unit, s->median, &factor);
	char *median = number_text(s->median / factor), *low = number_text(s->low / factor), *high = number_text(s->high / factor);
	char *result = text("%s %s (%s-%s)", median, shown, low, high);

	free(median);
	free(low);
	free(high);
	return result;
}

/* four digits, so that what is just missed does not look like the goal */
static char *ratio_text(const struct result *r)
{
	return text("%.4g (%.4g-%.4g)", r->value, r->low, r->high);
}

/* 2097152 is 2 MiB, and 10000 is 10000 */
static char *x_text(uint64_t x)
{
	if (x && !(x % 1048576))
		return text("%" PRIu64 " MiB", x / 1048576);
	if (x && !(x % 1024))
		return text("%" PRIu64 " KiB", x / 1024);
	return text("%" PRIu64, x);
}

static void print_goals(void)
{
	struct table t = { .columns = 8 };
	const char *separator;
	bool any = false;
	size_t i;

	add_row(&t, copy("id"), copy("measure"), copy("against"), copy("the measure"), copy("the other"), copy("ratio"), copy("goal"),
		copy("result"));
	for (i = 0; i < NR_GOALS; i++) {
		const struct goal *g = &goals[i];
		const struct result *r = &results[i];

		if (!r->computed)
			continue;
		any = true;
		add_row(&t, copy(g->id), copy(g->text), copy(g->against ? g->against : ""), summary_text(&r->ours->s, r->ours->unit),
			r->theirs ? summary_text(&r->theirs->s, r->theirs->unit) : copy(""), r->theirs ? ratio_text(r) : copy(""),
			text("%s %g", relation_text[g->relation], g->goal), copy(r->held ? "held" : "MISSED"));
	}
	print_table(&t);
	puts("\nMedians, with quartiles in brackets. The ratio is that of the medians, its quartiles are those of the rounds' ratios.");
	separator = any ? "\nLeft out, for want of samples: " : "\nNo goal can be computed, for want of samples: ";
	for (i = 0; i < NR_GOALS; i++) {
		if (results[i].computed)
			continue;
		printf("%s%s", separator, goals[i].id);
		separator = ", ";
	}
	if (separator[0] == ',')
		puts(".");
}

/* what there is at one X only, which is 0, is at none */
static char *place_text(const struct series *s)
{
	bool more = s + 1 < series + nr_series && s[1].rank_of_side == s->rank_of_side;

	return s->x || more ? x_text(s->x) : copy("");
}

static void print_others(void)
{
	struct table t = { .columns = 4 };
	size_t i;

	add_row(&t, copy("series"), copy("side"), copy("at"), copy("median (quartiles)"));
	for (i = 0; i < nr_series; i++) {
		const struct series *s = &series[i];

		if (!s->in_goal)
			add_row(&t, copy(s->what), copy(s->side), place_text(s), summary_text(&s->s, s->unit));
	}
	if (t.rows == 1) {
		for (i = 0; i < 4; i++)
			free(t.cells[0][i]);
		free(t.cells);
		return;
	}
	puts("");
	print_table(&t);
}

static void print_verdict(void)
{
	size_t i, computed = 0, held = 0;
	const char *separator = "; missed: ";

	for (i = 0; i < NR_GOALS; i++) {
		computed += results[i].computed;
		held += results[i].held;
	}
	printf("\n%zu of %zu goals reached", held, computed);
	for (i = 0; i < NR_GOALS; i++) {
		if (!results[i].computed || results[i].held)
			continue;
		printf("%s%s", separator, goals[i].id);
		separator = ", ";
	}
	puts("");
}

/* ---- JSON ---- */

static void put(struct json_object *object, const char *key, struct json_object *value)
{
	if (json_object_object_add(object, key, value))
		need(NULL);
}

static void put_string(struct json_object *object, const char *key, const char *value)
{
	put(object, key, value ? need(json_object_new_string(value)) : NULL);
}

/* as short as it can be told; json-c's own has 17 digits */
static struct json_object *number_json(double v)
{
	char *s = text("%.10g", v);
	struct json_object *object = need(json_object_new_double_s(v, s));

	free(s);
	return object;
}

static struct json_object *goal_json(const struct goal *g, const struct result *r)
{
	struct json_object *object = need(json_object_new_object());

	put_string(object, "id", g->id);
	put_string(object, "text", g->text);
	put_string(object, "against", g->against);
	put_string(object, "ours", g->ours);
	put_string(object, "theirs", g->theirs);
	put(object, g->theirs ? "ratio" : "value", number_json(r->value));
	put(object, "low", number_json(r->low));
	put(object, "high", number_json(r->high));
	put_string(object, "relation", relation_text[g->relation]);
	put(object, "goal", number_json(g->goal));
	put(object, "held", need(json_object_new_boolean(r->held)));
	return object;
}

static struct json_object *series_json(const struct series *s)
{
	struct json_object *object = need(json_object_new_object()), *quartiles = need(json_object_new_array()),
			   *samples = need(json_object_new_array());
	size_t i;

	put_string(object, "unit", s->unit);
	put(object, "n", need(json_object_new_uint64(s->n)));
	put(object, "median", number_json(s->s.median));
	json_object_array_add(quartiles, number_json(s->s.low));
	json_object_array_add(quartiles, number_json(s->s.high));
	put(object, "quartiles", quartiles);
	put(object, "min", number_json(s->s.min));
	put(object, "max", number_json(s->s.max));
	for (i = 0; i < s->n; i++)
		json_object_array_add(samples, number_json(s->samples[i]));
	put(object, "samples", samples);
	return object;
}

static void write_json(const char *dir)
{
	struct json_object *top = need(json_object_new_object()), *list = need(json_object_new_array()),
			   *all = need(json_object_new_object());
	FILE *f = open_file(dir, "bench.json", "w");
	size_t i;

	put(top, "machine", machine);
	for (i = 0; i < NR_GOALS; i++) {
		if (results[i].computed)
			json_object_array_add(list, goal_json(&goals[i], &results[i]));
	}
	put(top, "goals", list);
	for (i = 0; i < nr_series; i++)
		put(all, series[i].name, series_json(&series[i]));
	put(top, "series", all);
	fprintf(f, "%s\n", json_object_to_json_string_ext(top, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	close_written(f, "bench.json");
	json_object_put(top);
}

/* ---- data of the plots ---- */

/* what has lines over X: a block for each line, its title first */
static const struct plot {
	const char *name;
	const char *whats[3];
} line_plots[] = {
	{ "map", { "map" } },
	{ "register", { "register" } },
	{ "bandwidth", { "bandwidth" } },
	{ "revoke", { "revoke", "revoke-mr" } },
	{ "buffers", { "query", "revoke-one", "list" } },
};

static const struct title {
	const char *what, *side, *title;
} titles[] = {
	{ "map", "bar", "BAR of vfio-pci" },
	{ "map", "bar-peerbar", "BAR of peerbar-vfio-pci" },
	{ "map", "memory", "memory" },
	{ "map", "memory-4k", "memory in small pages" },
	{ "register", "pb-bar", "BAR, peerbar" },
	{ "register", "pb-memory", "memory, peerbar" },
	{ "register", "pb-bar-vfio-pci", "BAR of stock vfio-pci, peerbar" },
	{ "register", "rxe-memory", "memory, rxe" },
	{ "register", "rxe-memory-4k", "memory in small pages, rxe" },
	{ "bandwidth", "pb", "to memory, peerbar" },
	{ "bandwidth", "pb-bar", "to a BAR, peerbar" },
	{ "bandwidth", "rxe", "to memory, rxe" },
	{ "bandwidth", "memcpy", "memcpy" },
	{ "latency", "pb", "to memory, peerbar" },
	{ "latency", "pb-bar", "to a BAR, peerbar" },
	{ "latency", "rxe", "to memory, rxe" },
	{ "revoke", "peerbar", "iommufd, peerbar" },
	{ "revoke", "vfio-pci", "iommufd, stock vfio-pci" },
	{ "revoke-mr", "peerbar", "MRs, peerbar" },
	{ "revoke-mr", "vfio-pci", "MRs, stock vfio-pci" },
	{ "query", "peerbar", "query one" },
	{ "revoke-one", "peerbar", "revoke one" },
	{ "list", "peerbar", "list all" },
};

static char *title_of(const char *what, const char *side)
{
	size_t i;

	for (i = 0; i < sizeof(titles) / sizeof(*titles); i++) {
		if (!strcmp(titles[i].what, what) && !strcmp(titles[i].side, side))
			return copy(titles[i].title);
	}
	return text("%s, %s", what, side);
}

/* times are in seconds there, for gnuplot to choose their prefix */
static double plotted(const struct series *s)
{
	return !strcmp(s->unit, "ns") ? 1e-9 : !strcmp(s->unit, "us") ? 1e-6 : !strcmp(s->unit, "ms") ? 1e-3 : 1;
}

static void put_point(FILE *f, const struct series *s)
{
	double factor = plotted(s);

	fprintf(f, "%.9g %.9g %.9g\n", s->s.median * factor, s->s.low * factor, s->s.high * factor);
}

/* the file, when there is something for it: a plot without data is not drawn */
static FILE *plot_file(FILE *f, const char *dir, const char *name)
{
	char *file;

	if (f)
		return f;
	file = text("%s.dat", name);
	f = open_file(dir, file, "w");
	free(file);
	return f;
}

static void write_lines(const char *dir, const struct plot *p)
{
	const struct series *previous;
	FILE *f = NULL;
	char *title;
	size_t i, j;

	for (i = 0; i < 3 && p->whats[i]; i++) {
		previous = NULL;
		for (j = 0; j < nr_series; j++) {
			const struct series *s = &series[j];

			if (strcmp(s->what, p->whats[i]))
				continue;
			if (!previous || s->rank_of_side != previous->rank_of_side) {
				if (f)
					fputs("\n\n", f);
				f = plot_file(f, dir, p->name);
				title = title_of(s->what, s->side);
				fprintf(f, "\"%s\"\n", title);
				free(title);
			}
			fprintf(f, "%" PRIu64 " ", s->x);
			put_point(f, s);
			previous = s;
		}
	}
	if (f)
		close_written(f, p->name);
}

/* bars: a line each */
static void write_latency(const char *dir)
{
	FILE *f = NULL;
	char *title;
	size_t i;

	for (i = 0; i < nr_series; i++) {
		const struct series *s = &series[i];
		bool p99 = !strcmp(s->what, "latency-p99");

		if (!p99 && strcmp(s->what, "latency"))
			continue;
		f = plot_file(f, dir, "latency");
		title = title_of("latency", s->side);
		fprintf(f, "\"%s, %" PRIu64 " bytes: %s\" %d ", title, s->x, p99 ? "99th percentile" : "median", p99);
		free(title);
		put_point(f, s);
	}
	if (f)
		close_written(f, "latency.dat");
}

static void write_memory(const char *dir)
{
	FILE *f = NULL;
	char *place;
	size_t i;

	for (i = 0; i < nr_series; i++) {
		const struct series *s = &series[i];

		if (strcmp(s->what, "memory"))
			continue;
		f = plot_file(f, dir, "memory");
		place = place_text(s);
		fprintf(f, "\"%s%s%s\" 0 ", s->side, *place ? ", " : "", place);
		free(place);
		put_point(f, s);
	}
	if (f)
		close_written(f, "memory.dat");
}

/* how many times better than asked */
static double better(const struct goal *g, double value)
{
	return g->relation == AT_LEAST ? value / g->goal : g->goal / value;
}

static void write_goals(const char *dir)
{
	FILE *f = NULL;
	size_t i;

	for (i = 0; i < NR_GOALS; i++) {
		const struct goal *g = &goals[i];
		const struct result *r = &results[i];
		double low = g->relation == AT_LEAST ? r->low : r->high, high = g->relation == AT_LEAST ? r->high : r->low;

		/* what is infinitely good or bad has no place on the scale */
		if (!r->computed || !r->low || !r->value)
			continue;
		f = plot_file(f, dir, "goals");
		fprintf(f, "\"%s  %s\" %d %.9g %.9g %.9g\n", g->id, g->text, !r->held, better(g, r->value), better(g, low), better(g, high));
	}
	if (f)
		close_written(f, "goals.dat");
}

int main(int argc, char **argv)
{
	bool partial = argc > 1 && !strcmp(argv[1], "--partial"), all = true;
	const char *in, *out;
	size_t i;

	if (argc - partial != 3) {
		fputs("usage: bench-report [--partial] IN OUT\n", stderr);
		return 2;
	}
	in = argv[1 + partial];
	out = argv[2 + partial];
	read_samples(in);
	for (i = 0; i < NR_GOALS; i++)
		compute(&goals[i], &results[i]);
	print_goals();
	print_others();
	print_verdict();
	if (fflush(stdout) || ferror(stdout))
		fail("cannot write to standard output: %s", strerror(errno));
	write_json(out);
	write_goals(out);
	for (i = 0; i < sizeof(line_plots) / sizeof(*line_plots); i++)
		write_lines(out, &line_plots[i]);
	write_latency(out);
	write_memory(out);
	if (!partial)
		all = complete();
	for (i = 0; i < nr_series; i++) {
		free(series[i].name);
		free(series[i].what);
		free(series[i].side);
		free(series[i].unit);
		free(series[i].samples);
	}
	free(series);
	return all ? 0 : 1;
}
