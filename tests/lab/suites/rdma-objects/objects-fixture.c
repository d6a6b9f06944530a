// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixture of the suite rdma-objects, see objects-fixture.h. */
#include <time.h>

#include "objects-fixture.h"

static unsigned int fds_before;

void objects_up(void)
{
	fds_before = count_fds();
	pair_open(&pair, NULL, PAGE);
	ends_connect(&pair.a, &pair.b);
}

void objects_down(void)
{
	pair_close(&pair);
	ck_assert_uint_eq(count_fds(), fds_before);
}

struct ibv_send_wr write_to_b(uint64_t id, struct ibv_sge *from)
{
	*from = sge(&pair.at_a, 0, 64);
	return work(id, IBV_WR_RDMA_WRITE, from, 1, &pair.at_b, 0);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
