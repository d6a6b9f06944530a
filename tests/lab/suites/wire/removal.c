// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A device that goes away while it exchanges requests with another host: by `rdma link delete`, and with its
 * network device, as when a NIC is unplugged. The link of these devices has no relay.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wire-fixture.h"

#define REQUESTS 60

static const struct removal {
	const char *how, *rest; /* the command that removes, and that for what it left */
	bool here, there;	/* which of the devices is gone */
} removals[] = {
	{ "ip netns exec peer rdma link delete pbz", "rdma link delete pby && ip link delete gone0",
	  false, true },
	{ "rdma link delete pby", "ip netns exec peer rdma link delete pbz && ip link delete gone0",
	  true, false },
	/* Both ends of a veth pair go at the same time. */
	{ "ip link delete gone0", "true", true, true },
};

#define NR_REMOVALS ((int)(sizeof(removals) / sizeof(removals[0])))

static void link_make(void)
{
	/* A test that failed leaves it. */
	ck_assert_int_ge(system("ip link delete gone0 2>/dev/null"), 0);
	ck_assert_int_eq(system("ip link add gone0 mtu 4200 type veth peer name gone1 mtu 4200 netns peer && "
				"ip addr add 10.79.0.1/24 dev gone0 && ip link set gone0 up && "
				"ip -n peer addr add 10.79.0.2/24 dev gone1 && ip -n peer link set gone1 up && "
				"rdma link add pby type peerbar netdev gone0 && "
				"ip netns exec peer rdma link add pbz type peerbar netdev gone1"),
			 0);
	wire_wait_for_device("pby", "ffff:0a4f:0001");
	wire_wait_for_device("pbz", "ffff:0a4f:0002");
}

static void leave(struct end *end, const char *device, struct mem *mem)
{
	rdma_device_goes(device);
	event_comes(end, IBV_EVENT_DEVICE_FATAL);
	end_leave(end, mem->mr);
	munmap(mem->p, mem->size);
}

static void stay(struct end *end, struct mem *mem)
{
	mem_free(mem);
	end_close(end);
}

/*
 * Some requests succeed. The next one finds no peer, or a region that ended before its device did;
 * the others are flushed.
 */
static void peer_is_lost(struct end *end)
{
	enum ibv_wc_status status = IBV_WC_SUCCESS;
	struct ibv_wc wc;
	int i, failed = 0;

	for (i = 1; i < REQUESTS; i++) {
		wc = completion(end);
		ck_assert_uint_eq(wc.wr_id, (unsigned int)i);
		if (status == IBV_WC_SUCCESS && wc.status != IBV_WC_SUCCESS)
			ck_assert_msg(wc.status == IBV_WC_RETRY_EXC_ERR ||
					      wc.status == IBV_WC_REM_ACCESS_ERR,
				      "request %d: %s", i, ibv_wc_status_str(wc.status));
		else if (status != IBV_WC_SUCCESS)
			ck_assert_int_eq((int)wc.status, (int)IBV_WC_WR_FLUSH_ERR);
		status = wc.status;
		failed += status != IBV_WC_SUCCESS;
	}
	ck_assert_msg(failed, "all requests ended before the device was gone");
	ck_assert_int_eq((int)end_state(end), (int)IBV_QPS_ERR);
}

START_TEST(removed_under_traffic)
{
	const struct removal *removal = &removals[_i];
	struct end_options here = { .device = "pby" }, there = { .device = "pbz" };
	struct ibv_send_wr wr;
	struct ibv_sge all;
	int i;

	link_make();
	end_open(&pair.a, &here);
	end_open(&pair.b, &there);
	pair.at_a = mem_new(&pair.a, MEM, ALL_ACCESS);
	pair.at_b = mem_new(&pair.b, MEM, ALL_ACCESS);
	pair.a.timeout = lab_kernel_is("debug") ? 17 : 14;
	ends_connect(&pair.a, &pair.b);
	all = sge(&pair.at_a, 0, MEM);
	for (i = 0; i < REQUESTS; i++) {
		wr = work((uint64_t)i, i & 1 ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, &all, 1,
			  &pair.at_b, 0);
		ck_assert_int_eq(post(&pair.a, &wr), 0);
	}
	completes(&pair.a, 0, IBV_WC_SUCCESS);
	ck_assert_int_eq(system(removal->how), 0);
	if (removal->here) {
		leave(&pair.a, "pby", &pair.at_a);
	} else {
		peer_is_lost(&pair.a);
		stay(&pair.a, &pair.at_a);
	}
	if (removal->there) {
		leave(&pair.b, "pbz", &pair.at_b);
	} else {
		stay(&pair.b, &pair.at_b);
	}
	ck_assert_int_eq(system(removal->rest), 0);
}
END_TEST

LAB_SUITE_PART("wire")
{
	TCase *t = wire_case(s, "removal", 120, true);

	tcase_add_loop_test(t, removed_under_traffic, 0, NR_REMOVALS);
}
