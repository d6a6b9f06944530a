// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fixture of the suite rdma-revoke, see revoke-fixture.h. */
#include <stdlib.h>

#include "modules.h"
#include "revoke-fixture.h"

struct place host;
struct mem host_b;

const char *const how_names[NR_HOW] = { "revoked permanently", "memory decoding off", "reset",
					"reset by sysfs" };

bool is_reset(enum how how)
{
	return how == RESET || how == RESET_BY_SYSFS;
}

bool can(enum how how)
{
	return !(is_reset(how) && lab_has_no_reset()) &&
		!((how == KILL || how == RESET_BY_SYSFS) && !lab_driver_is_ours());
}

void take_away(struct place *place, enum how how)
{
	if (how == KILL)
		ok(pb_buffer_revoke(fixture.gpu, place->buffer, &err));
	else if (how == DECODING)
		ok(pb_device_set_decoding(fixture.gpu, false, &err));
	else if (how == RESET)
		ok(pb_device_reset(fixture.gpu, &err));
	else
		lab_reset_by_sysfs(LAB_GPU);
}

void give_back(enum how how)
{
	if (how != KILL)
		ok(pb_device_set_decoding(fixture.gpu, true, &err));
}

static void ends_up(void)
{
	places_up();
	end_open(&pair.a, NULL);
	end_open(&pair.b, NULL);
	ends_connect(&pair.a, &pair.b);
	place_make(&host, HOST, SIZE, 0);
	place_register(&host, &pair.a, ALL_ACCESS);
	host_b = mem_new(&pair.b, SIZE, ALL_ACCESS);
}

static void ends_down(void)
{
	mem_free(&host_b);
	place_close(&host);
	end_close(&pair.a);
	end_close(&pair.b);
	places_down();
}

void revoke_up(void)
{
	modules_up();
	ends_up();
}

void revoke_down(void)
{
	ends_down();
	modules_down();
}

void stock_up(void)
{
	module_load("peerbar");
	setenv("LAB_DRIVER", "vfio-pci", 1);
	fixture_up();
	ends_up();
}

void stock_down(void)
{
	ends_down();
	fixture_down();
}

void in_error(struct end *end)
{
	struct ibv_send_wr wr = work(0xf1, IBV_WR_SEND, NULL, 0, NULL, 0);

	end_state_is(end, IBV_QPS_ERR);
	ck_assert_int_eq(post(end, &wr), 0);
	completes(end, 0xf1, IBV_WC_WR_FLUSH_ERR);
}

void works(struct place *place, uint32_t seed)
{
	struct ibv_sge s = sge(&host.mem, 1, 10000);
	struct ibv_send_wr wr = work(seed, IBV_WR_RDMA_WRITE, &s, 1, &place->mem, 4095);

	lab_pattern(host.mem.p, SIZE, seed);
	done(&pair.a, &wr);
	ck_assert(place_has(place, 4095, host.mem.p + 1, 10000));
}
