// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * What the verbs device reports about itself: its counters, its trace events, its debug messages,
 * and the importer that a region is.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "memory-kinds.h"
#include "modules.h"
#include "tracefs.h"

#define MEM (256 * KIB)

static void watch_up(void)
{
	modules_up();
	pair_open(&pair, NULL, MEM);
	ends_connect(&pair.a, &pair.b);
	trace_up();
}

static void watch_down(void)
{
	trace_down();
	pair_close(&pair);
	modules_down();
}

/* ---- counters ---- */

static uint64_t counter(const char *name)
{
	char path[200];
	uint64_t value;
	FILE *f;

	/* The kernel answers from a copy that may be 10 ms old. */
	usleep(30000);
	snprintf(path, sizeof(path), "/sys/class/infiniband/%s/ports/1/hw_counters/%s", rdma_name(),
		 name);
	f = fopen(path, "re");
	ck_assert_msg(f != NULL, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(fscanf(f, "%" SCNu64, &value), 1);
	fclose(f);
	return value;
}

/* Counters that a test expects to change. */
struct change {
	const char *name;
	uint64_t by;
	uint64_t before;
};

static void changes_begin(struct change *changes, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		changes[i].before = counter(changes[i].name);
}

static void changes_are(const struct change *changes, unsigned int n, const char *after)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint64_t now = counter(changes[i].name);

		ck_assert_msg(now - changes[i].before == changes[i].by,
			      "%s: %s was %" PRIu64 " and is %" PRIu64 ", expected %" PRIu64
			      " more",
			      after, changes[i].name, changes[i].before, now, changes[i].by);
	}
}

START_TEST(messages_and_bytes)
{
	static const struct {
		enum ibv_wr_opcode opcode;
		const char *name;
		size_t length;
		uint64_t bytes;
	} rows[] = {
		{ IBV_WR_RDMA_WRITE, "a write", 10000, 10000 },
		{ IBV_WR_RDMA_READ, "a read", 5000, 5000 },
		{ IBV_WR_SEND, "a send", 100, 100 },
		{ IBV_WR_ATOMIC_FETCH_AND_ADD, "an atomic", 8, 8 },
		{ IBV_WR_RDMA_WRITE, "an empty write", 0, 0 },
	};
	unsigned int i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct change changes[] = { { "sent_messages", 1, 0 },
					    { "rcvd_messages", 1, 0 },
					    { "sent_bytes", rows[i].bytes, 0 },
					    { "rcvd_bytes", rows[i].bytes, 0 },
					    { "wc_errors", 0, 0 },
					    { "wc_flushed", 0, 0 },
					    { "access_refused", 0, 0 },
					    { "dropped_messages", 0, 0 } };
		struct ibv_sge from = sge(&pair.at_a, 0, rows[i].length),
			       to = sge(&pair.at_b, 0, MEM);
		struct ibv_send_wr wr = work(1, rows[i].opcode, &from, rows[i].length ? 1 : 0,
					     &pair.at_b, 0);

		changes_begin(changes, 8);
		if (rows[i].opcode == IBV_WR_SEND)
			ck_assert_int_eq(post_receive(&pair.b, 2, &to, 1), 0);
		done(&pair.a, &wr);
		if (rows[i].opcode == IBV_WR_SEND)
			completes(&pair.b, 2, IBV_WC_SUCCESS);
		changes_are(changes, 8, rows[i].name);
	}
}
END_TEST

START_TEST(errors)
{
	struct change changes[] = { { "access_refused", 1, 0 }, { "wc_errors", 1, 0 },
				    { "wc_flushed", 1, 0 },	{ "sent_messages", 0, 0 },
				    { "rcvd_messages", 0, 0 },	{ "rcvd_bytes", 0, 0 } };
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);

	changes_begin(changes, 6);
	wr.wr.rdma.rkey ^= 0x77;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	end_state_is(&pair.a, IBV_QPS_ERR);
	wr.wr_id = 2;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 2, IBV_WC_WR_FLUSH_ERR);
	changes_are(changes, 6, "a wrong key");
}
END_TEST

START_TEST(no_receive)
{
	struct change changes[] = { { "rcvd_rnr_err", 2, 0 },
				    { "send_rnr_err", 2, 0 },
				    { "retry_rnr_exceeded_err", 1, 0 },
				    { "retry_exceeded_err", 0, 0 },
				    { "wc_errors", 1, 0 },
				    { "sent_messages", 0, 0 } };
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, &from, 1, NULL, 0);
	uint64_t runs;

	end_to(&pair.a, IBV_QPS_RESET);
	end_to(&pair.b, IBV_QPS_RESET);
	pair.a.rnr_retries = 2;
	ends_connect(&pair.a, &pair.b);
	runs = counter("worker_runs");
	changes_begin(changes, 6);
	fails(&pair.a, &wr, IBV_WC_RNR_RETRY_EXC_ERR);
	changes_are(changes, 6, "a send without a receive");
	ck_assert_uint_gt(counter("worker_runs"), runs);
}
END_TEST

/* Over UC, a message without a receive is lost, and the sender does not notice. */
START_TEST(a_lost_message)
{
	struct change changes[] = { { "dropped_messages", 1, 0 },
				    { "sent_messages", 0, 0 },
				    { "wc_errors", 0, 0 } };
	struct end_options uc = { .type = IBV_QPT_UC };
	struct ibv_send_wr wr = work(1, IBV_WR_SEND, NULL, 0, NULL, 0);
	struct end x, y;

	ends_have_type(IBV_QPT_UC);
	end_open(&x, &uc);
	end_open(&y, &uc);
	ends_connect(&x, &y);
	changes_begin(changes, 3);
	done(&x, &wr);
	changes_are(changes, 3, "a lost message");
	end_close(&x);
	end_close(&y);
	ends_have_type(IBV_QPT_RC);
}
END_TEST

START_TEST(a_full_completion_queue)
{
	struct end_options small = { .cqe = 4 };
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, NULL, 0, NULL, 0);
	uint64_t before = counter("cq_overflows");
	struct end x, y;
	int i;

	end_open(&x, &small);
	end_open(&y, NULL);
	ends_connect(&x, &y);
	for (i = 0; i < x.cq->cqe; i++)
		ck_assert_int_eq(post(&x, &wr), 0);
	ck_assert_uint_eq(counter("cq_overflows"), before);
	for (i = 0; i < 30; i++)
		post(&x, &wr);
	event_comes(&x, IBV_EVENT_CQ_ERR);
	ck_assert_uint_gt(counter("cq_overflows"), before);
	end_close(&x);
	end_close(&y);
}
END_TEST

/* ---- regions ---- */

/* List the importers of a dma-buf, which has one. */
static struct peerbar_importer only_importer(int fd)
{
	struct peerbar_importer importer = { 0 };
	struct peerbar_importers list = { .size = sizeof(list),
					  .fd = fd,
					  .nr_importers = 1,
					  .importer_size = sizeof(importer),
					  .importers = (uintptr_t)&importer };
	int dev = open("/dev/peerbar", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(dev, 0);
	ck_assert_msg(!ioctl(dev, PEERBAR_IMPORTERS, &list), "PEERBAR_IMPORTERS: %s",
		      strerror(errno));
	close(dev);
	ck_assert_uint_eq(list.nr_importers, 1);
	return importer;
}

START_TEST(a_revoked_region)
{
	struct change changes[] = { { "revoked_regions", 1, 0 },
				    { "access_refused", 1, 0 },
				    { "wc_errors", 1, 0 } };
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct peerbar_importer importer;
	struct pb_pci_function nic;
	struct ibv_send_wr wr;
	struct place place;
	const char *line;
	uint32_t key;

	place_make(&place, BAR, MEM, 1);
	place_register(&place, &pair.b, ALL_ACCESS);
	key = place.mem.mr->rkey;
	traced("rdma_mr_register",
	       "dev=%s key=%#x kind=dma-buf iova=%#" PRIx64 " length=%llu access=%#x", rdma_name(),
	       key, place.mem.addr, MEM, ALL_ACCESS);
	/* The region is an importer of the NIC. */
	ok(pb_pci_get(nic_bdf(0), &nic, &err));
	importer = only_importer(place.fd);
	ck_assert_str_eq(importer.device, nic_bdf(0));
	ck_assert_str_eq(importer.driver, nic.driver);
	ck_assert_uint_eq(importer.maps, 1);
	ck_assert_uint_eq(importer.bytes, MEM);
	ck_assert_uint_ge(importer.mapped_ns, importer.attached_ns);
	ck_assert(importer.flags & PEERBAR_IMPORTER_REVOCABLE);
	ck_assert(!(importer.flags & PEERBAR_IMPORTER_WAITED_FOR));
	traced("peerbar_map", "id=%" PRIu64 " importer=%s maps=1 ret=0",
	       (uint64_t)query(place.fd).id, nic_bdf(0));

	changes_begin(changes, 3);
	not_traced("rdma_mr_revoke", "key=%#x", key);
	ok(pb_buffer_revoke(fixture.gpu, place.buffer, &err));
	line = traced("rdma_mr_revoke", "dev=%s key=%#x kind=dma-buf iova=%#" PRIx64 " length=%llu",
		      rdma_name(), key, place.mem.addr, MEM);
	ck_assert_uint_lt(trace_number(line, "wait_ns"), 10000000000);
	importer = only_importer(place.fd);
	ck_assert_uint_eq(importer.maps, 0);
	ck_assert_uint_eq(importer.mapped_ns, 0);
	ck_assert(!(importer.flags & PEERBAR_IMPORTER_WAITED_FOR));
	wr = work(7, IBV_WR_RDMA_WRITE, &from, 1, &place.mem, 0);
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	traced("rdma_wr_error",
	       "dev=%s qpn=%u queue=send wr_id=0x7 status=REM_ACCESS_ERR reason=revoked-or-changing key=%#x",
	       rdma_name(), pair.a.qp->qp_num, key);
	changes_are(changes, 3, "a revoked region");
	ck_assert_int_eq(ibv_dereg_mr(place.mem.mr), 0);
	place.mem.mr = NULL;
	traced("rdma_mr_deregister", "dev=%s key=%#x kind=dma-buf", rdma_name(), key);
	place_close(&place);
}
END_TEST

START_TEST(a_region_of_ordinary_memory)
{
	struct mem mem = mem_new(&pair.a, MEM, ALL_ACCESS);
	uint32_t key = mem.mr->rkey;

	traced("rdma_mr_register",
	       "dev=%s key=%#x kind=memory iova=%#" PRIx64 " length=%llu access=%#x", rdma_name(),
	       key, mem.addr, MEM, ALL_ACCESS);
	not_traced("rdma_mr_deregister", "key=%#x", key);
	mem_free(&mem);
	traced("rdma_mr_deregister", "dev=%s key=%#x kind=memory length=%llu", rdma_name(), key,
	       MEM);
}
END_TEST

/* ---- queue pairs ---- */

START_TEST(states)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr;
	uint32_t x_number, y_number, key;
	struct end x, y;

	end_open(&x, NULL);
	end_open(&y, NULL);
	ends_connect(&x, &y);
	x_number = x.qp->qp_num;
	y_number = y.qp->qp_num;
	traced("rdma_qp_state", "dev=%s qpn=%u type=%d from=RESET to=INIT requested=1", rdma_name(),
	       x_number, IBV_QPT_RC);
	traced("rdma_qp_state", "dev=%s qpn=%u from=INIT to=RTR requested=1", rdma_name(),
	       x_number);
	traced("rdma_qp_state", "dev=%s qpn=%u from=RTR to=RTS requested=1", rdma_name(), x_number);
	/* The key of a region in another protection domain. */
	wr = work(3, IBV_WR_RDMA_WRITE, NULL, 0, &pair.at_b, 0);
	wr.sg_list = &from;
	wr.num_sge = 1;
	key = pair.at_a.mr->lkey;
	fails(&x, &wr, IBV_WC_LOC_PROT_ERR);
	traced("rdma_wr_error",
	       "dev=%s qpn=%u queue=send wr_id=0x3 opcode=%d status=LOC_PROT_ERR reason=other-pd key=%#x",
	       rdma_name(), x_number, IBV_WR_RDMA_WRITE, key);
	traced("rdma_qp_state", "dev=%s qpn=%u from=RTS to=ERR requested=0", rdma_name(), x_number);
	/* The peer has made no mistake. */
	not_traced("rdma_qp_state", "qpn=%u to=ERR", y_number);
	end_to(&y, IBV_QPS_ERR);
	traced("rdma_qp_state", "dev=%s qpn=%u from=RTS to=ERR requested=1", rdma_name(), y_number);
	end_close(&x);
	end_close(&y);
}
END_TEST

START_TEST(failed_requests)
{
	struct ibv_sge from = sge(&pair.at_a, 0, 100), to = sge(&pair.at_b, 0, 50);
	struct ibv_send_wr wr = work(0x11, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, MEM - 50);

	/* Beyond the region. */
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	traced("rdma_wr_error",
	       "qpn=%u queue=send wr_id=0x11 status=REM_ACCESS_ERR reason=outside key=%#x",
	       pair.a.qp->qp_num, pair.at_b.mr->rkey);
	traced("rdma_qp_state", "qpn=%u from=RTS to=ERR requested=0", pair.a.qp->qp_num);
	traced("rdma_qp_state", "qpn=%u from=RTS to=ERR requested=0", pair.b.qp->qp_num);
	wr.wr_id = 0x12;
	ck_assert_int_eq(post(&pair.a, &wr), 0);
	completes(&pair.a, 0x12, IBV_WC_WR_FLUSH_ERR);
	traced("rdma_wr_error", "qpn=%u queue=send wr_id=0x12 status=WR_FLUSH_ERR reason=none",
	       pair.a.qp->qp_num);
	/* A key that names no region of that version, and a receive with a bad key. */
	replace_qps(&pair.a, &pair.b);
	wr = work(0x13, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	wr.wr.rdma.rkey ^= 0x77;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	traced("rdma_wr_error", "qpn=%u queue=send wr_id=0x13 reason=stale-key key=%#x",
	       pair.a.qp->qp_num, wr.wr.rdma.rkey);
	replace_qps(&pair.a, &pair.b);
	to.lkey ^= 0x77;
	from.length = 50;
	ck_assert_int_eq(post_receive(&pair.b, 0x21, &to, 1), 0);
	wr = work(0x14, IBV_WR_SEND, &from, 1, NULL, 0);
	fails(&pair.a, &wr, IBV_WC_REM_OP_ERR);
	completes(&pair.b, 0x21, IBV_WC_LOC_PROT_ERR);
	traced("rdma_wr_error",
	       "qpn=%u queue=receive wr_id=0x21 status=LOC_PROT_ERR reason=stale-key key=%#x",
	       pair.b.qp->qp_num, to.lkey);
}
END_TEST

/* ---- debug messages ---- */

/* Return the file of dynamic debugging, or NULL if the kernel has none. */
static const char *dynamic_debug(void)
{
	static const char *const files[] = { "/proc/dynamic_debug/control",
					     "/sys/kernel/debug/dynamic_debug/control" };
	unsigned int i;

	for (i = 0; i < 2; i++)
		if (!access(files[i], W_OK))
			return files[i];
	return NULL;
}

static void set_debug(const char *file, const char *query)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(write(fd, query, strlen(query)) == (ssize_t)strlen(query),
		      "cannot write '%s' to %s: %s", query, file, strerror(errno));
	close(fd);
}

/* Refuse a completion queue and a shared receive queue. */
static void be_refused(void)
{
	struct ibv_srq_init_attr srq = { .attr = { .max_wr = 1 << 20, .max_sge = 1 } };

	ck_assert_ptr_null(ibv_create_cq(pair.a.ctx, (1 << 20) + 1, NULL, NULL, 0));
	ck_assert_ptr_null(ibv_create_srq(pair.a.pd, &srq));
}

START_TEST(debug_messages)
{
	const char *file = dynamic_debug();
	struct ibv_sge from = sge(&pair.at_a, 0, 100);
	struct ibv_send_wr wr = work(1, IBV_WR_RDMA_WRITE, &from, 1, &pair.at_b, 0);
	char cq[100], srq[100], key[200];
	int log[3], i;

	if (!file) {
		printf("rdma-watch: this kernel has no dynamic debugging: its messages are not tested\n");
		return;
	}
	snprintf(cq, sizeof(cq), "%s: create_cq: 1048577 entries; 1 to 1048576 are possible",
		 rdma_name());
	snprintf(srq, sizeof(srq), "%s: create_srq: max_wr is 1048576; 1 to 32768 are possible",
		 rdma_name());
	set_debug(file, "module peerbar_rdma -p");
	log[0] = log_open();
	be_refused();
	ck_assert_msg(!log_has(log[0], "create_cq: "), "a message comes although it is off");
	set_debug(file, "module peerbar_rdma +p");
	for (i = 0; i < 3; i++)
		log[i] = log_open();
	be_refused();
	wr.wr.rdma.rkey ^= 0x77;
	fails(&pair.a, &wr, IBV_WC_REM_ACCESS_ERR);
	set_debug(file, "module peerbar_rdma -p");
	/* The queue pair that finds the key refused is the requester's, and its access a remote write. */
	snprintf(key, sizeof(key), "to 100 bytes at %#" PRIx64 " by key %#x: the key is stale",
		 pair.at_b.addr, wr.wr.rdma.rkey);
	ck_assert_msg(log_has(log[0], cq), "the log lacks: %s", cq);
	ck_assert_msg(log_has(log[1], srq), "the log lacks: %s", srq);
	ck_assert_msg(log_has(log[2], key), "the log lacks: %s", key);
}
END_TEST

LAB_SUITE("rdma-watch", 0)
{
	TCase *t = rdma_case(s, "all", 120, watch_up, watch_down);

	tcase_add_test(t, messages_and_bytes);
	tcase_add_test(t, errors);
	tcase_add_test(t, no_receive);
	tcase_add_test(t, a_lost_message);
	tcase_add_test(t, a_full_completion_queue);
	tcase_add_test(t, a_revoked_region);
	tcase_add_test(t, a_region_of_ordinary_memory);
	tcase_add_test(t, states);
	tcase_add_test(t, failed_requests);
	tcase_add_test(t, debug_messages);
}
