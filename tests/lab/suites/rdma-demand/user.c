// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* User memory registered with IBV_ACCESS_ON_DEMAND, and the capabilities that the device reports. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "demand-fixture.h"
#include "modules.h"

/* Larger than the part that one fault makes present. */
#define LENGTH (6 * MIB)

static struct mem on_demand;

static uint8_t *map_new(void *at, int flags)
{
	uint8_t *p = mmap(at, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags,
			  -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

static void user_up(void)
{
	demand_up();
	on_demand = (struct mem){ .p = map_new(NULL, 0), .size = LENGTH };
	on_demand.addr = (uintptr_t)on_demand.p;
	on_demand.mr = ibv_reg_mr(pair.b.pd, on_demand.p, LENGTH, ALL_ACCESS | ON_DEMAND);
	ck_assert_msg(on_demand.mr, "%s", strerror(errno));
}

static void user_down(void)
{
	ck_assert_int_eq(ibv_dereg_mr(on_demand.mr), 0);
	munmap(on_demand.p, LENGTH);
	demand_down();
}

static void write_to(const struct mem *mem, size_t offset, size_t length)
{
	struct ibv_sge s = sge(&demand_host, 0, length);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, mem, offset);

	done(&pair.a, &wr);
}

/* rdma-core has no names for these. */
#define ODP_FLUSH	 (1u << 6)
#define ODP_ATOMIC_WRITE (1u << 7)

START_TEST(capabilities)
{
	const uint32_t ud = IBV_ODP_SUPPORT_SEND | IBV_ODP_SUPPORT_RECV | IBV_ODP_SUPPORT_SRQ_RECV,
		       uc = ud | IBV_ODP_SUPPORT_WRITE,
		       rc = uc | IBV_ODP_SUPPORT_READ | IBV_ODP_SUPPORT_ATOMIC | ODP_FLUSH |
		ODP_ATOMIC_WRITE;
	struct ibv_device_attr_ex attr;

	ck_assert_int_eq(ibv_query_device_ex(pair.a.ctx, NULL, &attr), 0);
	ck_assert_uint_eq(attr.odp_caps.general_caps, IBV_ODP_SUPPORT | IBV_ODP_SUPPORT_IMPLICIT);
	ck_assert_uint_eq(attr.odp_caps.per_transport_caps.rc_odp_caps, rc);
	ck_assert_uint_eq(attr.odp_caps.per_transport_caps.uc_odp_caps, uc);
	ck_assert_uint_eq(attr.odp_caps.per_transport_caps.ud_odp_caps, ud);
}
END_TEST

/* Memory that no CPU has touched yet; at the edges of what one fault covers. */
START_TEST(untouched)
{
	lab_pattern(demand_host.p, SIZE, 1);
	write_to(&on_demand, 2 * MIB - 5000, SIZE);
	ck_assert_mem_eq(on_demand.p + 2 * MIB - 5000, demand_host.p, SIZE);
	write_to(&on_demand, LENGTH - 1, 1);
	ck_assert_uint_eq(on_demand.p[LENGTH - 1], demand_host.p[0]);
	write_to(&on_demand, 0, 1);
	ck_assert_uint_eq(on_demand.p[0], demand_host.p[0]);
}
END_TEST

static bool is_zero(const uint8_t *p)
{
	/* The first byte is, and each is as the one before it. */
	return !p[0] && !memcmp(p, p + 1, SIZE - 1);
}

/* A read of memory that nobody wrote to finds zeros; a later write does not reach the zero page. */
START_TEST(reads_zeros)
{
	struct ibv_sge s = sge(&demand_host, 0, SIZE);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_READ, &s, 1, &on_demand, 0);

	memset(demand_host.p, 0x77, SIZE);
	done(&pair.a, &wr);
	ck_assert(is_zero(demand_host.p));
	lab_pattern(demand_host.p, SIZE, 3);
	write_to(&on_demand, 0, SIZE);
	ck_assert_mem_eq(on_demand.p, demand_host.p, SIZE);
	ck_assert_uint_eq(on_demand.p[SIZE], 0);
	/* Still zeros in other memory that is not written. */
	wr = work(2, IBV_WR_RDMA_READ, &s, 1, &on_demand, 4 * MIB);
	done(&pair.a, &wr);
	ck_assert(is_zero(demand_host.p));
}
END_TEST

/* The process discards pages, and maps others at the same address: the region has the new ones. */
START_TEST(replaced)
{
	unsigned int i;

	for (i = 0; i < 4; i++) {
		lab_pattern(demand_host.p, SIZE, i);
		write_to(&on_demand, 100, SIZE);
		ck_assert_mem_eq(on_demand.p + 100, demand_host.p, SIZE);
		if (i % 2)
			ck_assert_int_eq(madvise(on_demand.p, LENGTH, MADV_DONTNEED), 0);
		else
			map_new(on_demand.p, MAP_FIXED);
		ck_assert_uint_eq(on_demand.p[100], 0);
	}
}
END_TEST

/* Copy on write: after fork(), messages reach the parent's pages, and not the child's. */
START_TEST(forked)
{
	int sockets[2], child;
	char byte;

	lab_pattern(demand_host.p, SIZE, 1);
	write_to(&on_demand, 0, SIZE);
	ck_assert_int_eq(socketpair_cloexec(sockets), 0);
	child = fork();
	if (!child) {
		receive_all(sockets[1], &byte, 1);
		_exit(memcmp(on_demand.p, demand_host.p, SIZE) ? 1 : 0);
	}
	/* The child has its own copy of the pattern. */
	lab_pattern(demand_host.p, SIZE, 2);
	write_to(&on_demand, 0, SIZE);
	ck_assert_mem_eq(on_demand.p, demand_host.p, SIZE);
	send_all(sockets[0], "r", 1);
	ck_assert_int_eq(wait_for(child), 0);
	close(sockets[0]);
	close(sockets[1]);
}
END_TEST

/* The rights are those of the mapping at the time of the access. */
START_TEST(protected)
{
	struct ibv_sge s = sge(&demand_host, 0, 64);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &on_demand, 0);

	lab_pattern(demand_host.p, SIZE, 1);
	write_to(&on_demand, 0, 64);
	ck_assert_int_eq(mprotect(on_demand.p, LENGTH, PROT_READ), 0);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	wr = work(2, IBV_WR_RDMA_READ, &s, 1, &on_demand, 0);
	done(&pair.a, &wr);
	ck_assert_int_eq(mprotect(on_demand.p, LENGTH, PROT_READ | PROT_WRITE), 0);
	write_to(&on_demand, 64, 64);
	ck_assert_mem_eq(on_demand.p + 64, demand_host.p, 64);
	munmap(on_demand.p, LENGTH);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	replace_qps(&pair.a, &pair.b);
	/* As the requester's own memory. */
	s = sge(&demand_host, 0, 64);
	ck_assert_int_eq(post_receive(&pair.a, 9, &s, 1), 0);
	s = sge(&on_demand, 0, 64);
	wr = work(3, IBV_WR_SEND, &s, 1, NULL, 0);
	fails(&pair.b, &wr, IBV_WC_LOC_PROT_ERR);
	replace_qps(&pair.a, &pair.b);
	map_new(on_demand.p, MAP_FIXED);
	write_to(&on_demand, 0, 64);
	ck_assert_mem_eq(on_demand.p, demand_host.p, 64);
}
END_TEST

/* All of the address space in one region. */
START_TEST(implicit)
{
	struct ibv_mr *mr = ibv_reg_mr(pair.b.pd, NULL, SIZE_MAX, ALL_ACCESS | ON_DEMAND);
	struct ibv_sge s = sge(&demand_host, 0, 64);
	struct ibv_send_wr wr;
	uint8_t *place;
	unsigned int i;

	ck_assert_msg(mr, "%s", strerror(errno));
	for (i = 0; i < 3; i++) {
		struct mem anywhere = { .mr = mr };

		place = map_new(NULL, 0);
		anywhere.addr = (uintptr_t)place;
		lab_pattern(demand_host.p, SIZE, i);
		write_to(&anywhere, MIB + 1, SIZE);
		ck_assert_mem_eq(place + MIB + 1, demand_host.p, SIZE);
		munmap(place, LENGTH);
		wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &anywhere, 0);
		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
		replace_qps(&pair.a, &pair.b);
	}
	/* Neither below nor above what a process can map. */
	for (i = 0; i < 2; i++) {
		struct mem nowhere = { .mr = mr, .addr = i ? 0 : UINT64_MAX - 4 * PAGE };

		wr = work(1, IBV_WR_RDMA_WRITE, &s, 1, &nowhere, 0);
		fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
		replace_qps(&pair.a, &pair.b);
	}
	ck_assert_int_eq(ibv_dereg_mr(mr), 0);
}
END_TEST

START_TEST(prefetched_user_memory)
{
	uint64_t faults;
	struct ibv_sge s = sge(&on_demand, MIB, SIZE);
	unsigned char resident;

	ck_assert_int_eq(ibv_advise_mr(pair.b.pd, IBV_ADVISE_MR_ADVICE_PREFETCH_NO_FAULT,
				       IBV_ADVISE_MR_FLAG_FLUSH, &s, 1),
			 0);
	ck_assert_int_eq(mincore(on_demand.p + MIB, PAGE, &resident), 0);
	ck_assert_uint_eq(resident & 1, 0);
	ck_assert_int_eq(ibv_advise_mr(pair.b.pd, IBV_ADVISE_MR_ADVICE_PREFETCH_WRITE,
				       IBV_ADVISE_MR_FLAG_FLUSH, &s, 1),
			 0);
	ck_assert_int_eq(mincore(on_demand.p + MIB, PAGE, &resident), 0);
	ck_assert_uint_eq(resident & 1, 1);
	faults = counter("page_faults");
	lab_pattern(demand_host.p, SIZE, 1);
	write_to(&on_demand, MIB, SIZE);
	ck_assert_mem_eq(on_demand.p + MIB, demand_host.p, SIZE);
	ck_assert_uint_eq(counter("page_faults"), faults);
	munmap(on_demand.p, LENGTH);
	ck_assert_int_eq(ibv_advise_mr(pair.b.pd, IBV_ADVISE_MR_ADVICE_PREFETCH,
				       IBV_ADVISE_MR_FLAG_FLUSH, &s, 1),
			 EFAULT);
	map_new(on_demand.p, MAP_FIXED);
}
END_TEST

START_TEST(atomics_and_receives)
{
	struct ibv_sge s = sge(&on_demand, 3 * MIB - 4, 8), small = sge(&demand_host, 0, 8);
	struct ibv_send_wr wr = work(1, IBV_WR_ATOMIC_FETCH_AND_ADD, &s, 1, &demand_host, 64);
	uint64_t value = 77, seen;
	unsigned int i;

	/* The old value is written across two pages that are absent: only once is it added. */
	memcpy(demand_host.p + 64, &value, 8);
	wr.wr.atomic.compare_add = 1;
	done(&pair.b, &wr);
	memcpy(&seen, on_demand.p + 3 * MIB - 4, 8);
	ck_assert_uint_eq(seen, 77);
	memcpy(&seen, demand_host.p + 64, 8);
	ck_assert_uint_eq(seen, 78);
	wr = work(2, IBV_WR_ATOMIC_FETCH_AND_ADD, &small, 1, &on_demand, 5 * MIB);
	wr.wr.atomic.compare_add = 5;
	for (i = 0; i < 3; i++)
		done(&pair.a, &wr);
	memcpy(&seen, on_demand.p + 5 * MIB, 8);
	ck_assert_uint_eq(seen, 15);
	s = sge(&on_demand, 4 * MIB - 100, MIB);
	ck_assert_int_eq(post_receive(&pair.b, 3, &s, 1), 0);
	s = sge(&demand_host, 0, SIZE);
	lab_pattern(demand_host.p, SIZE, 9);
	wr = work(4, IBV_WR_SEND, &s, 1, NULL, 0);
	done(&pair.a, &wr);
	ck_assert_uint_eq(completes(&pair.b, 3, IBV_WC_SUCCESS).byte_len, SIZE);
	ck_assert_mem_eq(on_demand.p + 4 * MIB - 100, demand_host.p, SIZE);
}
END_TEST

/* A thread discards the pages all the time: each message arrives, or is discarded as a whole page. */
static bool stop;

static void *discards(void *arg)
{
	unsigned int n = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		if (n++ % 3)
			madvise(on_demand.p, LENGTH, MADV_DONTNEED);
		else
			mmap(on_demand.p, LENGTH, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		usleep(n % 7 * 100);
	}
	return arg;
}

START_TEST(discarded_during_traffic)
{
	uint64_t until = now_ms() + 5000;
	pthread_t thread;
	unsigned int i, n;

	stop = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, discards, NULL), 0);
	for (n = 0; now_ms() < until; n++) {
		memset(demand_host.p, 1 + (int)(n % 250), SIZE);
		write_to(&on_demand, n % 5 * MIB, SIZE);
	}
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	ck_assert_uint_gt(n, 10);
	/* Now they stay. */
	for (i = 0; i < 5; i++) {
		lab_pattern(demand_host.p, SIZE, i);
		write_to(&on_demand, i * MIB, SIZE);
		ck_assert_mem_eq(on_demand.p + i * MIB, demand_host.p, SIZE);
	}
}
END_TEST

START_TEST(refused)
{
	struct ibv_mr *mr;

	mr = ibv_reg_mr(pair.b.pd, on_demand.p, PAGE, ALL_ACCESS | ON_DEMAND | IBV_ACCESS_MW_BIND);
	ck_assert(!mr && errno == EOPNOTSUPP);
	mr = ibv_reg_mr(pair.b.pd, on_demand.p, 0, ALL_ACCESS | ON_DEMAND);
	ck_assert(!mr && errno == EINVAL);
	ck_assert_int_ne(ibv_rereg_mr(on_demand.mr, IBV_REREG_MR_CHANGE_ACCESS, NULL, NULL, 0,
				      IBV_ACCESS_LOCAL_WRITE),
			 0);
	write_to(&on_demand, 0, 64);
}
END_TEST

LAB_SUITE_PART("rdma-demand")
{
	TCase *t = rdma_case(s, "user memory", 120, user_up, user_down);

	tcase_add_test(t, capabilities);
	tcase_add_test(t, untouched);
	tcase_add_test(t, reads_zeros);
	tcase_add_test(t, replaced);
	tcase_add_test(t, forked);
	tcase_add_test(t, protected);
	tcase_add_test(t, implicit);
	tcase_add_test(t, prefetched_user_memory);
	tcase_add_test(t, atomics_and_receives);
	tcase_add_test(t, discarded_during_traffic);
	tcase_add_test(t, refused);
}
