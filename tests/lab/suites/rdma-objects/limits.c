// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The memory that objects are charged for, and the number of objects. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "modules.h"
#include "objects-fixture.h"

/* ---- memory charges ---- */

#define CGROUPS "/run/lab-cgroups"

/* Return the number after @word in a file of the cgroup; without @word, the file's only number. */
static uint64_t cgroup_number(const char *file, const char *word)
{
	char path[100], line[200];
	uint64_t value = UINT64_MAX;
	FILE *f;

	snprintf(path, sizeof(path), CGROUPS "/lab/%s", file);
	f = fopen(path, "re");
	ck_assert_msg(f, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		size_t length = word ? strlen(word) : 0;

		if (!word || (!strncmp(line, word, length) && line[length] == ' '))
			value = strtoull(line + length, NULL, 10);
	}
	fclose(f);
	ck_assert_uint_ne(value, UINT64_MAX);
	return value;
}

static void cgroup_up(void)
{
	ck_assert(!mkdir(CGROUPS, 0755) || errno == EEXIST);
	ck_assert_msg(!mount("none", CGROUPS, "cgroup2", 0, NULL) || errno == EBUSY,
		      "no cgroups: %s", strerror(errno));
	write_file(CGROUPS "/cgroup.subtree_control", "+memory");
	ck_assert(!mkdir(CGROUPS "/lab", 0755) || errno == EEXIST);
}

static void cgroup_down(void)
{
	unsigned int i;

	for (i = 0; i < 50 && rmdir(CGROUPS "/lab"); i++)
		usleep(100000);
	umount2(CGROUPS, MNT_DETACH);
}

/* Move this process into the cgroup. */
static void enter_cgroup(const char *limit)
{
	char pid[20];

	write_file(CGROUPS "/lab/memory.max", limit);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	write_file(CGROUPS "/lab/cgroup.procs", pid);
}

static void leave_cgroup(void)
{
	char pid[20];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	write_file(CGROUPS "/cgroup.procs", pid);
}

enum kind { QP, CQ, SRQ, PD, AH, MR, MW, KINDS };

static const struct {
	const char *name;
	unsigned int many;  /* created, to measure their cost */
	unsigned int bytes; /* lower bound of the kernel's memory for each */
} kinds[KINDS] = {
	[QP] = { "qp", 400, 8192 },  [CQ] = { "cq", 1000, 4096 }, [SRQ] = { "srq", 1000, 4096 },
	[PD] = { "pd", 12000, 192 }, [AH] = { "ah", 12000, 128 }, [MR] = { "mr", 6000, 300 },
	[MW] = { "mw", 12000, 200 },
};

static void *make(struct end *end, enum kind kind)
{
	struct ibv_qp_init_attr qp = {
		.send_cq = end->cq,
		.recv_cq = end->cq,
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
	};
	struct ibv_srq_init_attr srq = {
		.attr = { .max_wr = 1, .max_sge = 1 },
	};
	struct ibv_ah_attr ah = {
		.is_global = 1,
		.port_num = 1,
		.grh = { .dgid = end->gid, .sgid_index = (uint8_t)end->gid_index, .hop_limit = 1 },
	};

	switch (kind) {
	case QP:
		return ibv_create_qp(end->pd, &qp);
	case CQ:
		return ibv_create_cq(end->ctx, 1, NULL, NULL, 0);
	case SRQ:
		return ibv_create_srq(end->pd, &srq);
	case PD:
		return ibv_alloc_pd(end->ctx);
	case AH:
		return ibv_create_ah(end->pd, &ah);
	case MR:
		return ibv_reg_mr(end->pd, pair.at_a.p, PAGE, IBV_ACCESS_LOCAL_WRITE);
	default:
		return ibv_alloc_mw(end->pd, IBV_MW_TYPE_1);
	}
}

static int unmake(void *object, enum kind kind)
{
	switch (kind) {
	case QP:
		return ibv_destroy_qp(object);
	case CQ:
		return ibv_destroy_cq(object);
	case SRQ:
		return ibv_destroy_srq(object);
	case PD:
		return ibv_dealloc_pd(object);
	case AH:
		return ibv_destroy_ah(object);
	case MR:
		return ibv_dereg_mr(object);
	default:
		return ibv_dealloc_mw(object);
	}
}

/* The creator of an object is charged, and uncharged when it is gone. */
START_TEST(makers_are_charged)
{
	void **objects = calloc(kinds[_i].many, sizeof(*objects));
	uint64_t before, with, after;
	unsigned int i;

	ck_assert_ptr_nonnull(objects);
	enter_cgroup("max");
	/* Make allocations that happen only once. */
	ck_assert_int_eq(unmake(make(&pair.a, (enum kind)_i), (enum kind)_i), 0);
	before = cgroup_number("memory.stat", "kernel");
	for (i = 0; i < kinds[_i].many; i++) {
		objects[i] = make(&pair.a, (enum kind)_i);
		ck_assert_msg(objects[i], "no %s after %u: %s", kinds[_i].name, i, strerror(errno));
	}
	with = cgroup_number("memory.stat", "kernel");
	for (i = 0; i < kinds[_i].many; i++)
		ck_assert_int_eq(unmake(objects[i], (enum kind)_i), 0);
	/* Some memory is freed after a grace period. */
	for (i = 0; i < 60; i++) {
		after = cgroup_number("memory.stat", "kernel");
		if (after < before + (with - before) / 4)
			break;
		usleep(200000);
	}
	leave_cgroup();
	free(objects);
	printf("%u %s: %llu KiB, %llu KiB remain\n", kinds[_i].many, kinds[_i].name,
	       (unsigned long long)(with - before) / KIB,
	       (unsigned long long)(after > before ? after - before : 0) / KIB);
	/* The kernel charges in batches: half a megabyte may be missing. */
	ck_assert_msg(with - before >= (uint64_t)kinds[_i].many * kinds[_i].bytes * 3 / 4,
		      "%u of %s cost %llu bytes", kinds[_i].many, kinds[_i].name,
		      (unsigned long long)(with - before));
	ck_assert_msg(after < before + (with - before) / 2, "%llu bytes remain charged",
		      (unsigned long long)(after - before));
}
END_TEST

/* A completion has 56 bytes, so a queue of 65,536 has 3.5 MiB. */
#define RING ((1ULL << 16) * 56)

/*
 * In a cgroup of 48 MiB, creating a completion queue of 56 MiB, or too many of 3.5 MiB, fails and
 * kills no process.
 */
START_TEST(rings_within_the_limit)
{
	struct ibv_cq *cqs[40];
	int n = 0, i;

	enter_cgroup("48M");
	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, 1 << 20, NULL, NULL, 0));
	ck_assert_int_eq(errno, ENOMEM);
	while (n < 40) {
		cqs[n] = ibv_create_cq(pair.a.ctx, 1 << 16, NULL, NULL, 0);
		if (!cqs[n])
			break;
		n++;
	}
	ck_assert_msg((uint64_t)n * RING <= 48 * MIB, "%d queues of 3.5 MiB in a cgroup of 48 MiB",
		      n);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_int_gt(n, 4);
	ck_assert_uint_ge(cgroup_number("memory.current", NULL), (uint64_t)n * RING);
	ck_assert_uint_eq(cgroup_number("memory.events", "oom_kill"), 0);
	for (i = 0; i < n; i++)
		ck_assert_int_eq(ibv_destroy_cq(cqs[i]), 0);
	leave_cgroup();
}
END_TEST

/* ---- limits ---- */

#define PARAMETERS "/sys/module/peerbar_rdma/parameters/max_"

static int reported(const struct ibv_device_attr *attr, enum kind kind)
{
	const int max[KINDS] = { attr->max_qp, attr->max_cq, attr->max_srq, attr->max_pd,
				 attr->max_ah, attr->max_mr, attr->max_mw };

	return max[kind];
}

/* The limit of each kind, of the device pb1 */
#define LIMIT 40

/* Add pb1, whose contexts and domains are limited. */
static void limited_up(void)
{
	int had[KINDS], i, kind;
	char path[80], text[20];
	FILE *f;

	for (kind = 0; kind < KINDS; kind++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", kinds[kind].name);
		f = fopen(path, "re");
		ck_assert_msg(f, "%s: %s", path, strerror(errno));
		ck_assert_int_eq(fscanf(f, "%d", &had[kind]), 1);
		fclose(f);
		snprintf(text, sizeof(text), "%d", LIMIT);
		write_file(path, text);
	}
	i = rdma_link_add("pb1", 1);
	for (kind = 0; kind < KINDS; kind++) {
		snprintf(path, sizeof(path), PARAMETERS "%s", kinds[kind].name);
		snprintf(text, sizeof(text), "%d", had[kind]);
		write_file(path, text);
	}
	ck_assert_int_eq(i, 0);
	for (i = 0;
	     i < 100 && system("grep -qi ffff:0a4d:0101 /sys/class/infiniband/pb1/ports/1/gids/*");
	     i++)
		usleep(100000);
}

/*
 * A context can have as many objects as the device reports, and no more. Other contexts have limits
 * of their own.
 */
START_TEST(limits_hold)
{
	struct end_options on_second = { .device = "pb1" };
	void *objects[LIMIT + 1], *one;
	struct ibv_device_attr attr;
	struct end x, y;
	int n, kind, log;

	if (rdma_is_rxe())
		return;
	limited_up();
	end_open(&x, &on_second);
	end_open(&y, &on_second);
	ck_assert_int_eq(ibv_query_device(x.ctx, &attr), 0);
	log = log_open();
	for (kind = 0; kind < KINDS; kind++) {
		ck_assert_int_eq(reported(&attr, (enum kind)kind), LIMIT);
		for (n = 0; n <= LIMIT; n++) {
			errno = 0;
			objects[n] = make(&x, (enum kind)kind);
			if (!objects[n])
				break;
		}
		ck_assert_int_eq(errno, ENOMEM);
		/* The context already has one of these. */
		ck_assert_msg(n == LIMIT - (kind == QP || kind == CQ || kind == PD), "%d of %s", n,
			      kinds[kind].name);
		one = make(&y, (enum kind)kind);
		ck_assert_msg(one, "another context has no %s: %s", kinds[kind].name,
			      strerror(errno));
		ck_assert_int_eq(unmake(one, (enum kind)kind), 0);
		/* Destroying one makes room for another. */
		ck_assert_int_eq(unmake(objects[--n], (enum kind)kind), 0);
		objects[n] = make(&x, (enum kind)kind);
		ck_assert_ptr_nonnull(objects[n++]);
		while (n--)
			ck_assert_int_eq(unmake(objects[n], (enum kind)kind), 0);
	}
	ck_assert(log_has(log, "that max_ah allows"));
	end_close(&x);
	end_close(&y);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
}
END_TEST

/*
 * XRC targets may outlive their contexts, so the domain counts them: it can have as many as a context
 * queue pairs. Other domains have limits of their own.
 */
START_TEST(targets_of_a_domain)
{
	struct end_options on_second = { .device = "pb1", .type = IBV_QPT_XRC_RECV };
	struct ibv_qp_init_attr_ex target = { .qp_type = IBV_QPT_XRC_RECV,
					      .comp_mask = IBV_QP_INIT_ATTR_XRCD };
	struct ibv_qp *targets[LIMIT];
	struct end x, y;
	int n, log;

	if (rdma_is_rxe())
		return;
	limited_up();
	end_open(&x, &on_second);
	end_open(&y, &on_second);
	log = log_open();
	target.xrcd = x.xrcd;
	/* The domain has one already. */
	for (n = 0; n < LIMIT; n++) {
		errno = 0;
		targets[n] = ibv_create_qp_ex(x.ctx, &target);
		if (!targets[n])
			break;
	}
	ck_assert_int_eq(n, LIMIT - 1);
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert(log_has(log, "targets that max_qp allows"));
	target.xrcd = y.xrcd;
	targets[n] = ibv_create_qp_ex(y.ctx, &target);
	ck_assert_msg(targets[n], "another domain has no target: %s", strerror(errno));
	ck_assert_int_eq(ibv_destroy_qp(targets[n]), 0);
	ck_assert_int_eq(ibv_destroy_qp(targets[--n]), 0);
	target.xrcd = x.xrcd;
	targets[n] = ibv_create_qp_ex(x.ctx, &target);
	ck_assert_ptr_nonnull(targets[n++]);
	while (n--)
		ck_assert_int_eq(ibv_destroy_qp(targets[n]), 0);
	end_close(&x);
	end_close(&y);
	ck_assert_int_eq(rdma_link_del("pb1"), 0);
}
END_TEST

/* A process that takes all address handles it can get leaves some for others. */
START_TEST(address_handles_for_all)
{
	void **handles = calloc(65537, sizeof(*handles)), *one;
	unsigned int n = 0;

	if (rdma_is_rxe())
		return;
	ck_assert_ptr_nonnull(handles);
	while (n < 65537 && (handles[n] = make(&pair.a, AH)))
		n++;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert_uint_eq(n, 65536);
	one = make(&pair.b, AH);
	ck_assert_msg(one, "%s", strerror(errno));
	ck_assert_int_eq(unmake(one, AH), 0);
	while (n--)
		ck_assert_int_eq(unmake(handles[n], AH), 0);
	free(handles);
}
END_TEST

/* ---- test cases ---- */

LAB_SUITE_PART("rdma-objects")
{
	TCase *t = rdma_case(s, "charges", 120, objects_up, objects_down);

	tcase_add_unchecked_fixture(t, cgroup_up, cgroup_down);
	tcase_add_loop_test(t, makers_are_charged, 0, KINDS);
	tcase_add_test(t, rings_within_the_limit);
	t = rdma_case(s, "limits", 120, objects_up, objects_down);
	tcase_add_test(t, limits_hold);
	tcase_add_test(t, targets_of_a_domain);
	tcase_add_test(t, address_handles_for_all);
}
