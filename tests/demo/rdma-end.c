// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Reliable connections, see rdma-end.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"
#include "rdma-end.h"

void verbs(bool ok, const char *what)
{
	if (!ok)
		lab_die("%s failed", what);
}

static void find_gid(struct end *end)
{
	struct ibv_gid_entry entry;
	int i;

	for (i = 0; i < 16; i++) {
		if (ibv_query_gid_ex(end->ctx, 1, (uint32_t)i, &entry, 0) ||
		    entry.gid_type != IBV_GID_TYPE_ROCE_V2 || entry.gid.raw[10] != 0xff)
			continue;
		end->gid = entry.gid;
		end->gid_index = i;
		return;
	}
	lab_die("%s has no IPv4 address", ibv_get_device_name(end->ctx->device));
}

void end_open(struct end *end, const char *device)
{
	struct ibv_qp_init_attr init = { .qp_type = IBV_QPT_RC,
					 .cap = { 16, 16, 1, 1, 0 },
					 .sq_sig_all = 1 };
	struct ibv_device **list;
	int i;

	list = ibv_get_device_list(NULL);
	verbs(list, "ibv_get_device_list()");
	for (i = 0; list[i] && strcmp(ibv_get_device_name(list[i]), device); i++)
		;
	verbs(list[i], "finding the device");
	end->ctx = ibv_open_device(list[i]);
	verbs(end->ctx, "ibv_open_device()");
	ibv_free_device_list(list);
	end->pd = ibv_alloc_pd(end->ctx);
	end->cq = ibv_create_cq(end->ctx, 64, NULL, NULL, 0);
	verbs(end->pd && end->cq, "ibv_create_cq()");
	init.send_cq = end->cq;
	init.recv_cq = end->cq;
	end->qp = ibv_create_qp(end->pd, &init);
	verbs(end->qp, "ibv_create_qp()");
	find_gid(end);
}

static void end_connect(struct end *end, const struct address *peer)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_INIT,
				    .port_num = 1,
				    .qp_access_flags = IBV_ACCESS_REMOTE_WRITE };

	verbs(!ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
	      "INIT");
	attr = (struct ibv_qp_attr){
		.qp_state = IBV_QPS_RTR,
		.path_mtu = IBV_MTU_1024,
		.dest_qp_num = peer->qpn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 12,
		.ah_attr = { .is_global = 1,
			     .port_num = 1,
			     .grh = { .dgid = peer->gid,
				      .sgid_index = (uint8_t)end->gid_index,
				      .hop_limit = 1 } },
	};
	verbs(!ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
				     IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
				     IBV_QP_MIN_RNR_TIMER),
	      "RTR");
	attr = (struct ibv_qp_attr){ .qp_state = IBV_QPS_RTS,
				     .timeout = 17, /* 0.5 s: a busy host is not a lost packet */
				     .retry_cnt = 7,
				     .rnr_retry = 7,
				     .max_rd_atomic = 1 };
	verbs(!ibv_modify_qp(end->qp, &attr,
			     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				     IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC),
	      "RTS");
}

static struct address end_address(const struct end *end, uint32_t rkey)
{
	return (struct address){ .gid = end->gid, .qpn = end->qp->qp_num, .rkey = rkey };
}

void connect_owner(struct end *end, int sock, uint32_t rkey, struct address *peer)
{
	struct address mine = end_address(end, rkey);

	whole(read(sock, peer, sizeof(*peer)), sizeof(*peer));
	end_connect(end, peer);
	whole(write(sock, &mine, sizeof(mine)), sizeof(mine));
}

void connect_writer(struct end *end, int sock, struct address *peer)
{
	struct address mine = end_address(end, 0);

	whole(write(sock, &mine, sizeof(mine)), sizeof(mine));
	whole(read(sock, peer, sizeof(*peer)), sizeof(*peer));
	end_connect(end, peer);
}

void end_reconnect(struct end *end, const struct address *peer)
{
	struct ibv_qp_attr attr = { .qp_state = IBV_QPS_RESET };

	verbs(!ibv_modify_qp(end->qp, &attr, IBV_QP_STATE), "RESET");
	end_connect(end, peer);
}

void end_close(struct end *end)
{
	ibv_destroy_qp(end->qp);
	ibv_destroy_cq(end->cq);
	ibv_dealloc_pd(end->pd);
	ibv_close_device(end->ctx);
}

void whole(ssize_t n, size_t size)
{
	if (n != (ssize_t)size)
		lab_die("the other process is gone");
}

enum ibv_wc_status write_to(struct end *end, struct ibv_mr *mr, uint32_t len, uint64_t remote,
			    uint32_t rkey)
{
	struct ibv_sge sge = { (uintptr_t)mr->addr, len, mr->lkey };
	struct ibv_send_wr *bad,
		wr = {
			.opcode = IBV_WR_RDMA_WRITE,
			.sg_list = &sge,
			.num_sge = 1,
			.wr.rdma = { remote, rkey },
		};
	struct ibv_wc wc;
	int n;

	verbs(!ibv_post_send(end->qp, &wr, &bad), "ibv_post_send()");
	/* Leave the processor to those who transmit and receive. */
	while (!(n = ibv_poll_cq(end->cq, 1, &wc)))
		usleep(100);
	verbs(n == 1, "ibv_poll_cq()");
	return wc.status;
}

struct ibv_mr *source_open(struct end *end, size_t size)
{
	void *memory = aligned_alloc(PAGE, size);
	struct ibv_mr *mr;

	verbs(memory, "aligned_alloc()");
	mr = ibv_reg_mr(end->pd, memory, size, IBV_ACCESS_LOCAL_WRITE);
	verbs(mr, "ibv_reg_mr()");
	return mr;
}

void source_close(struct ibv_mr *mr)
{
	void *memory = mr->addr;

	ibv_dereg_mr(mr);
	free(memory);
}

void target_open(struct target *target, uint64_t offset, uint64_t size)
{
	struct pb_range range = { offset, size };

	must(pb_iommu_open(&target->iommu, &err));
	target->gpu = lab_open(target->iommu, LAB_GPU);
	must(pb_device_set_decoding(target->gpu, true, &err));
	must(pb_buffer_export(target->gpu, GPU_BAR, &range, 1, 0, &target->buffer, &err));
	end_open(&target->end, "pb0");
	target->mr = ibv_reg_dmabuf_mr(target->end.pd, 0, size, 0, pb_buffer_fd(target->buffer),
				       IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
}

void target_close(struct target *target)
{
	ibv_dereg_mr(target->mr);
	end_close(&target->end);
	pb_buffer_close(target->buffer);
	pb_device_close(target->gpu);
	pb_iommu_close(target->iommu);
}

pid_t writer_start(void (*writer)(int sock), int *sock)
{
	int socks[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
		lab_die("cannot make sockets");
	pid = fork();
	if (!pid) {
		close(socks[0]);
		writer(socks[1]);
		exit(0);
	}
	close(socks[1]);
	*sock = socks[0];
	return pid;
}

bool writer_end(pid_t pid, int sock)
{
	int exited;

	close(sock);
	return waitpid(pid, &exited, 0) == pid && WIFEXITED(exited) && !WEXITSTATUS(exited);
}
