// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Prints the frequency of the time stamp counter in kHz, or nothing where there is none. An
 * emulated machine reads the same counter, but calibrates it against an emulated timer. On a busy
 * host it may find a fifth of the true value: its clock, and its timeouts, would then run five
 * times too fast.
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

/* Read both at once: of many readings, take the one that took the shortest time. */
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
