// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* memcpy() in cached memory: the same bytes repeatedly, as perftest writes them. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

static void ours(struct bench *b)
{
	static const uint64_t sizes[] = { 64, 1024, 4096, 16384, 65536, 262144, MIB };
	uint8_t *p = new_memory(2 * MIB, true);
	unsigned int i, n, times;
	uint64_t t0;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		times = (unsigned int)(64 * MIB / sizes[i]);
		if (times > 100000)
			times = 100000;
		t0 = now_ns();
		for (n = 0; n < times; n++) {
			memcpy(p + MIB, p, sizes[i]);
			/* Don't let the compiler merge the iterations. */
			__asm__ volatile("" : : : "memory");
		}
		sample(b, "bandwidth", "memcpy", sizes[i], "MiB/s",
		       (double)(times * sizes[i]) / MIB / (us_since(t0) / 1e6));
	}
	munmap(p, 2 * MIB);
}

const struct measure copy_measure = { .name = "copy", .ours = ours };
