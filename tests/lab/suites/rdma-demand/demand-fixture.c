// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixture of the suite rdma-demand, see demand-fixture.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"

struct mem demand_host;

void demand_ends_up(void)
{
	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	demand_host = mem_new(&pair.a, SIZE, ALL_ACCESS);
}

void demand_ends_down(void)
{
	mem_free(&demand_host);
	end_close(&pair.a);
	end_close(&pair.b);
}

void demand_up(void)
{
	modules_up();
	demand_ends_up();
}

void demand_down(void)
{
	demand_ends_down();
	modules_down();
}

void moving_make(struct moving *m, enum peerbar_test_source source)
{
	const uint64_t lengths[] = { PAGE, SIZE - 256 * KIB, 256 * KIB - PAGE };

	*m = (struct moving){ .exporter = test_exporter_open(), .mem.size = SIZE };
	m->fd = test_export(m->exporter, source, PEERBAR_MODEL_DYNAMIC, lengths, 3);
	ck_assert_msg(m->fd >= 0, "the test module exports nothing: %s", strerror(-m->fd));
}

void moving_register(struct moving *m, int access)
{
	m->mem.addr = 0x7000000000;
	m->mem.mr = ibv_reg_dmabuf_mr(pair.b.pd, 0, SIZE, m->mem.addr, m->fd, access);
	ck_assert_msg(m->mem.mr, "access 0x%x: %s", (unsigned int)access, strerror(errno));
}

void moving_close(struct moving *m)
{
	if (m->mem.mr)
		ck_assert_int_eq(ibv_dereg_mr(m->mem.mr), 0);
	close(m->fd);
	close(m->exporter);
}

int moving_move(struct moving *m)
{
	int ret = test_move(m->exporter, m->fd, PEERBAR_TEST_PLACE_THERE);

	return ret < 0 ? ret : 0;
}

bool moving_has(struct moving *m, enum peerbar_test_place place, size_t offset, const void *data,
		size_t length)
{
	uint8_t *seen = malloc(length);
	bool same;

	ck_assert_ptr_nonnull(seen);
	ck_assert_int_eq(test_read(m->exporter, m->fd, place, offset, seen, length), 0);
	same = !memcmp(seen, data, length);
	free(seen);
	return same;
}

bool moving_is_poisoned(struct moving *m, enum peerbar_test_place place)
{
	uint8_t *poison = malloc(SIZE);
	bool is;

	ck_assert_ptr_nonnull(poison);
	memset(poison, PEERBAR_TEST_POISON, SIZE);
	is = moving_has(m, place, 0, poison, SIZE);
	free(poison);
	return is;
}

void moving_works(struct moving *m, uint32_t seed)
{
	/* Across the boundaries between the ranges. */
	struct ibv_sge s = sge(&demand_host, 3, SIZE - 100);
	struct ibv_send_wr wr = work(seed, IBV_WR_RDMA_WRITE, &s, 1, &m->mem, 50);

	lab_pattern(demand_host.p, SIZE, seed);
	done(&pair.a, &wr);
	ck_assert(moving_has(m, PEERBAR_TEST_PLACE_HERE, 50, demand_host.p + 3, SIZE - 100));
}

unsigned int moving_maps(struct moving *m)
{
	struct peerbar_test_where where;

	ck_assert_int_eq(test_where(m->exporter, m->fd, PEERBAR_TEST_PLACE_HERE, 0, &where), 0);
	return where.maps;
}

uint64_t counter(const char *name)
{
	unsigned long long value = 0;
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/1/hw_counters/%s", rdma_name(),
		 name);
	/* The kernel caches the values for 10 ms. */
	usleep(20000);
	f = fopen(path, "re");
	ck_assert_msg(f, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fscanf(f, "%llu", &value), 1);
	fclose(f);
	return value;
}
