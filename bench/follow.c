// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * A buffer that moves, registered with peerbar's verbs device: pinned, and on demand. The bandwidth
 * of writes while it stays, and the first write after a move.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/peerbar.h>

#include "bench.h"
#include "testmod.h"

#define LENGTH (64 * MIB)

static const uint64_t sizes[] = { 64 * KIB, MIB };
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

struct follow {
	int exporter;
	int fd;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp[2];
	struct ibv_mr *source;
};

/* ---- two queue pairs, connected with each other ---- */

static union ibv_gid gid_of(struct ibv_context *ctx, uint8_t *index)
{
	struct ibv_gid_entry entry;
	uint32_t i;

	for (i = 0; i < 16; i++) {
		if (ibv_query_gid_ex(ctx, 1, i, &entry, 0) ||
		    entry.gid_type != IBV_GID_TYPE_ROCE_V2)
			continue;
		*index = (uint8_t)i;
		return entry.gid;
	}
	lab_die("pb0 has no GID");
}

static void connect_to(struct ibv_qp *qp, uint32_t peer)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT,
				    .port_num = 1,
				    .qp_access_flags = IBV_ACCESS_REMOTE_WRITE };

	must_errno(!ibv_modify_qp(qp, &attr,
				  IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT |
					  IBV_QP_ACCESS_FLAGS));
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = peer,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .is_global = 1, .port_num = 1, .grh.hop_limit = 1 },
	};
	attr.ah_attr.grh.dgid = gid_of(qp->context, &attr.ah_attr.grh.sgid_index);
	must_errno(!ibv_modify_qp(qp, &attr,
				  IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
					  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
					  IBV_QP_MIN_RNR_TIMER));
	attr = (struct ibv_qp_attr){ .qp_state = IBV_QPS_RTS,
				     .timeout = 14,
				     .retry_cnt = 7,
				     .rnr_retry = 7,
				     .max_rd_atomic = 1 };
	must_errno(!ibv_modify_qp(qp, &attr,
				  IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
					  IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
					  IBV_QP_MAX_QP_RD_ATOMIC));
}

static void follow_up(struct follow *f, struct ibv_pd *pd)
{
	struct ibv_qp_init_attr init = { .qp_type = IBV_QPT_RC,
					 .cap = { 16, 16, 1, 1, 0 },
					 .sq_sig_all = 1 };
	uint64_t lengths[PEERBAR_TEST_RANGES];
	unsigned int i;

	for (i = 0; i < PEERBAR_TEST_RANGES; i++)
		lengths[i] = LENGTH / PEERBAR_TEST_RANGES;
	*f = (struct follow){ .exporter = test_exporter_open(), .pd = pd };
	f->fd = test_export(f->exporter, PEERBAR_TEST_SOURCE_CORE, PEERBAR_MODEL_DYNAMIC, lengths,
			    PEERBAR_TEST_RANGES);
	must_errno(f->fd >= 0);
	f->cq = ibv_create_cq(pd->context, 64, NULL, NULL, 0);
	must_errno(f->cq);
	init.send_cq = f->cq;
	init.recv_cq = f->cq;
	for (i = 0; i < 2; i++) {
		f->qp[i] = ibv_create_qp(pd, &init);
		must_errno(f->qp[i]);
	}
	connect_to(f->qp[0], f->qp[1]->qp_num);
	connect_to(f->qp[1], f->qp[0]->qp_num);
	f->source = ibv_reg_mr(pd, new_memory(MIB, true), MIB, IBV_ACCESS_LOCAL_WRITE);
	must_errno(f->source);
}

static void follow_down(struct follow *f)
{
	void *p = f->source->addr;

	ibv_dereg_mr(f->source);
	munmap(p, MIB);
	ibv_destroy_qp(f->qp[0]);
	ibv_destroy_qp(f->qp[1]);
	ibv_destroy_cq(f->cq);
	close(f->fd);
	close(f->exporter);
}

/* ---- measures ---- */

static struct ibv_mr *registered(struct follow *f, int access)
{
	struct ibv_mr *mr = ibv_reg_dmabuf_mr(f->pd, 0, LENGTH, 0, f->fd, ALL_ACCESS | access);

	must_errno(mr);
	return mr;
}

static void write_once(struct follow *f, const struct ibv_mr *mr, uint64_t size, uint64_t at)
{
	struct ibv_sge sge = { (uintptr_t)f->source->addr, (uint32_t)size, f->source->lkey };
	struct ibv_send_wr *bad,
		wr = { .opcode = IBV_WR_RDMA_WRITE,
		       .sg_list = &sge,
		       .num_sge = 1,
		       .wr.rdma = { at, mr->rkey } };
	struct ibv_wc wc;
	int n;

	must_errno(!ibv_post_send(f->qp[0], &wr, &bad));
	do {
		n = ibv_poll_cq(f->cq, 1, &wc);
	} while (!n);
	if (n != 1 || wc.status)
		lab_die("a write ended with '%s'", ibv_wc_status_str(wc.status));
}

/* To the same bytes, as perftest does. */
static void bandwidth(struct bench *b, struct follow *f, const char *side, int access,
		      uint64_t size)
{
	unsigned int n, times = (unsigned int)(256 * MIB / size);
	struct ibv_mr *mr = registered(f, access);
	uint64_t t0;

	write_once(f, mr, size, 0);
	t0 = now_ns();
	for (n = 0; n < times; n++)
		write_once(f, mr, size, 0);
	sample(b, "bandwidth", side, size, "MiB/s",
	       (double)(times * size) / MIB / (us_since(t0) / 1e6));
	ibv_dereg_mr(mr);
}

static void first_access(struct bench *b, struct follow *f)
{
	struct ibv_mr *mr = registered(f, IBV_ACCESS_ON_DEMAND), *anew;
	unsigned int i;
	uint64_t t0;

	for (i = 0; i < BURST; i++) {
		must_errno(test_move(f->exporter, f->fd, PEERBAR_TEST_PLACE_THERE) >= 0);
		t0 = now_ns();
		write_once(f, mr, 8, LENGTH / 2);
		sample(b, "after-move", "access", LENGTH, "us", us_since(t0));
	}
	for (i = 0; i < BURST; i++) {
		must_errno(test_move(f->exporter, f->fd, PEERBAR_TEST_PLACE_THERE) >= 0);
		t0 = now_ns();
		anew = registered(f, 0);
		sample(b, "after-move", "registration", LENGTH, "us", us_since(t0));
		ibv_dereg_mr(anew);
	}
	ibv_dereg_mr(mr);
}

static void ours(struct bench *b)
{
	struct follow f;
	unsigned int i;

	follow_up(&f, b->pb);
	for (i = 0; i < SIZES; i++) {
		bandwidth(b, &f, "pinned", 0, sizes[i]);
		bandwidth(b, &f, "followed", IBV_ACCESS_ON_DEMAND, sizes[i]);
	}
	first_access(b, &f);
	follow_down(&f);
}

const struct measure follow_measure = { .name = "follow", .ours = ours };
