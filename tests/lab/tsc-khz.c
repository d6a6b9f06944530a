// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Prints how fast this machine's time stamp counter counts, in kHz; nothing where there is none. An emulated machine reads the same
 * counter, but measures it against an emulated timer, and on a busy host may find a fifth of what is right: its clock would run five
 * times too fast, and its timeouts with it.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>

struct moment {
	uint64_t tsc, ns;
};

/* both at once: of many readings, the one in which least happened in between */
static struct moment now(void)
{
	struct moment best = { 0, 0 };
	uint64_t least = UINT64_MAX, before, after;
	struct timespec t;
	int i;

	for (i = 0; i < 1000; i++) {
		before = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC_RAW, &t);
		after = __rdtsc();
		if (after - before >= least)
			continue;
		least = after - before;
		best.tsc = before + least / 2;
		best.ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	}
	return best;
}

int main(void)
{
	const struct timespec pause = { .tv_nsec = 200000000 };
	struct moment begin = now(), end;

	nanosleep(&pause, NULL);
	end = now();
	printf("%" PRIu64 "\n", (end.tsc - begin.tsc) * 1000000 / (end.ns - begin.ns));
	return 0;
}
#else
int main(void)
{
	return 0;
}
#endif
