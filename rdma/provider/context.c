// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The device, its contexts, and the functions of peerbardv.h. */
#include "provider.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct get_context {
	struct ibv_get_context base;
	struct peerbar_alloc_ucontext_req driver;
};
PV_DRIVER_FOLLOWS(get_context, ibv_get_context);

struct get_context_resp {
	struct ib_uverbs_get_context_resp base;
	struct peerbar_alloc_ucontext_resp driver;
};
PV_DRIVER_FOLLOWS(get_context_resp, ib_uverbs_get_context_resp);

static const struct verbs_match_ent match_table[] = {
	VERBS_DRIVER_ID(PEERBAR_RDMA_DRIVER_ID),
	{},
};

static int query_device_ex(struct ibv_context *context,
			   const struct ibv_query_device_ex_input *input,
			   struct ibv_device_attr_ex *attr, size_t attr_size)
{
	struct ib_uverbs_ex_query_device_resp resp = { 0 };
	size_t resp_size = sizeof(resp);
	uint64_t version;
	int ret;

	ret = PV_COMMAND(context, ibv_cmd_query_device_any, context, input, attr, attr_size, &resp,
			 &resp_size);
	if (ret)
		return pv_fail(context, "ibv_query_device_ex", ret,
			       "the kernel refused a structure of %zu bytes", attr_size);
	version = resp.base.fw_ver;
	snprintf(attr->orig_attr.fw_ver, sizeof(attr->orig_attr.fw_ver), "%u.%u.%u",
		 (unsigned int)(version >> 32) & 0xffff, (unsigned int)(version >> 16) & 0xffff,
		 (unsigned int)version & 0xffff);
	/* Time stamps of completions are nanoseconds, 64 bits. The clock's rate is in kHz. */
	if (attr_size >= offsetof(struct ibv_device_attr_ex, completion_timestamp_mask) +
		    sizeof(attr->completion_timestamp_mask))
		attr->completion_timestamp_mask = UINT64_MAX;
	if (attr_size >=
	    offsetof(struct ibv_device_attr_ex, hca_core_clock) + sizeof(attr->hca_core_clock))
		attr->hca_core_clock = 1000000;
	return 0;
}

static int query_port(struct ibv_context *context, uint8_t port, struct ibv_port_attr *attr)
{
	struct ibv_query_port cmd;
	int ret;

	ret = PV_COMMAND(context, ibv_cmd_query_port, context, port, attr, &cmd, sizeof(cmd));
	if (ret)
		pv_fail(context, "ibv_query_port", ret, "the kernel refused port %u", port);
	return ret;
}

/* Read the clock of the time stamps. */
static int query_rt_values(struct ibv_context *context, struct ibv_values_ex *values)
{
	uint32_t wanted = values->comp_mask;

	values->comp_mask = 0;
	if (wanted & IBV_VALUES_MASK_RAW_CLOCK) {
		if (clock_gettime(CLOCK_MONOTONIC_RAW, &values->raw_clock))
			return pv_fail(context, "ibv_query_rt_values_ex", errno,
				       "cannot read the clock");
		values->comp_mask |= IBV_VALUES_MASK_RAW_CLOCK;
	}
	return 0;
}

static int attach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	int ret = PV_COMMAND(qp->context, ibv_cmd_attach_mcast, qp, gid, lid);

	if (ret)
		pv_fail(qp->context, "ibv_attach_mcast", ret, "the kernel refused queue pair %u",
			qp->qp_num);
	return ret;
}

static int detach_mcast(struct ibv_qp *qp, const union ibv_gid *gid, uint16_t lid)
{
	int ret = PV_COMMAND(qp->context, ibv_cmd_detach_mcast, qp, gid, lid);

	if (ret)
		pv_fail(qp->context, "ibv_detach_mcast", ret, "the kernel refused queue pair %u",
			qp->qp_num);
	return ret;
}

static void free_context(struct ibv_context *ibv_context)
{
	struct pv_context *context = to_context(ibv_context);

	pv_unmap(&context->memory);
	pv_epoch_free(context);
	close(context->event_fd);
	pthread_spin_destroy(&context->lock);
	verbs_uninit_context(&context->vctx);
	free(context);
}

static const struct verbs_context_ops context_ops = {
	.advise_mr = pv_advise_mr,
	.alloc_mw = pv_alloc_mw,
	.alloc_parent_domain = pv_alloc_parent_domain,
	.alloc_pd = pv_alloc_pd,
	.alloc_td = pv_alloc_td,
	.attach_mcast = attach_mcast,
	.bind_mw = pv_bind_mw,
	.close_xrcd = pv_close_xrcd,
	.create_ah = pv_create_ah,
	.create_cq = pv_create_cq,
	.create_cq_ex = pv_create_cq_ex,
	.create_qp = pv_create_qp,
	.create_qp_ex = pv_create_qp_ex,
	.create_srq = pv_create_srq,
	.create_srq_ex = pv_create_srq_ex,
	.dealloc_mw = pv_dealloc_mw,
	.dealloc_pd = pv_dealloc_pd,
	.dealloc_td = pv_dealloc_td,
	.dereg_mr = pv_dereg_mr,
	.destroy_ah = pv_destroy_ah,
	.destroy_cq = pv_destroy_cq,
	.destroy_qp = pv_destroy_qp,
	.destroy_srq = pv_destroy_srq,
	.detach_mcast = detach_mcast,
	.free_context = free_context,
	.get_srq_num = pv_get_srq_num,
	.modify_qp = pv_modify_qp,
	.modify_srq = pv_modify_srq,
	.open_qp = pv_open_qp,
	.open_xrcd = pv_open_xrcd,
	.poll_cq = pv_poll_cq,
	.post_recv = pv_post_recv,
	.post_send = pv_post_send,
	.post_srq_recv = pv_post_srq_recv,
	.query_device_ex = query_device_ex,
	.query_port = query_port,
	.query_qp = pv_query_qp,
	.query_rt_values = query_rt_values,
	.query_srq = pv_query_srq,
	.reg_dmabuf_mr = pv_reg_dmabuf_mr,
	.reg_mr = pv_reg_mr,
	.req_notify_cq = pv_req_notify_cq,
	.rereg_mr = pv_rereg_mr,
	.resize_cq = pv_resize_cq,
};

static int get_context(struct pv_context *context)
{
	struct get_context cmd = {
		.driver = { .event_fd = context->event_fd },
	};
	struct get_context_resp resp = { 0 };
	int ret;

#ifdef GET_CONTEXT_TAKES_FD_ARR
	ret = PV_COMMAND(&context->vctx.context, ibv_cmd_get_context, &context->vctx, &cmd.base,
			 sizeof(cmd), NULL, &resp.base, sizeof(resp));
#else
	ret = PV_COMMAND(&context->vctx.context, ibv_cmd_get_context, &context->vctx, &cmd.base,
			 sizeof(cmd), &resp.base, sizeof(resp));
#endif
	if (ret)
		return ret;
	ret = pv_map(&context->vctx.context, &context->memory, resp.driver.revoked_offset,
		     resp.driver.revoked_size);
	if (ret)
		return ret;
	if (!pv_ring_fits(&context->memory, offsetof(struct peerbar_revoked_ring, lkeys),
			  resp.driver.revoked_entries, sizeof(uint32_t), sizeof(uint32_t))) {
		pv_unmap(&context->memory);
		return EPROTO;
	}
	context->entries = resp.driver.revoked_entries;
	return 0;
}

static struct verbs_context *alloc_context(struct ibv_device *device, int cmd_fd,
					   void *private_data)
{
	struct pv_context *context;
	int ret;

	(void)private_data;
	context = verbs_init_and_alloc_context(device, cmd_fd, context, vctx,
					       PEERBAR_RDMA_DRIVER_ID);
	if (!context)
		return NULL;
	context->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = context->event_fd < 0 ? errno : pv_epoch_init(context);
	if (!ret)
		ret = get_context(context);
	if (ret) {
		pv_fail(&context->vctx.context, "ibv_open_device", ret,
			"cannot make a context of command descriptor %d", cmd_fd);
		if (context->epoch)
			pv_epoch_free(context);
		if (context->event_fd >= 0)
			close(context->event_fd);
		verbs_uninit_context(&context->vctx);
		free(context);
		errno = ret;
		return NULL;
	}
	pthread_spin_init(&context->lock, PTHREAD_PROCESS_PRIVATE);
	verbs_set_ops(&context->vctx, &context_ops);
	return &context->vctx;
}

static struct verbs_device *alloc_device(struct verbs_sysfs_dev *sysfs_dev)
{
	(void)sysfs_dev;
	return calloc(1, sizeof(struct verbs_device));
}

static void uninit_device(struct verbs_device *device)
{
	free(device);
}

static const struct verbs_device_ops device_ops = {
	.name = "peerbar",
	.match_min_abi_version = PEERBAR_RDMA_ABI_VERSION,
	.match_max_abi_version = PEERBAR_RDMA_ABI_VERSION,
	.match_table = match_table,
	.alloc_device = alloc_device,
	.uninit_device = uninit_device,
	.alloc_context = alloc_context,
};
PROVIDER_DRIVER(peerbar, device_ops);

static bool is_ours(struct ibv_context *context)
{
	return verbs_get_device(context->device)->ops == &device_ops;
}

int peerbardv_revocation_fd(struct ibv_context *ibv_context)
{
	return is_ours(ibv_context) ? to_context(ibv_context)->event_fd : -EOPNOTSUPP;
}

int peerbardv_next_revoked(struct ibv_context *ibv_context, uint32_t *lkey)
{
	struct pv_context *context;
	struct peerbar_revoked_ring *revoked;
	uint32_t consumer, lost;
	eventfd_t count;
	int ret = 0;

	if (!is_ours(ibv_context))
		return -EOPNOTSUPP;
	context = to_context(ibv_context);
	if (pv_inherited(&context->memory))
		return -pv_fail(ibv_context, "peerbardv_next_revoked", EACCES,
				"another process opened the context");
	revoked = context->memory.base;
	pthread_spin_lock(&context->lock);
	consumer = context->consumer;
	/*
	 * Drain the eventfd only if the ring is empty, then read the ring again: a key added before
	 * the drain is found, and one added after it signals again.
	 */
	if (pv_load(&revoked->ring.producer) == consumer)
		(void)eventfd_read(context->event_fd, &count);
	lost = pv_load(&revoked->lost);
	if (lost != context->lost) {
		context->lost = lost;
		ret = -EOVERFLOW;
	} else if (pv_load(&revoked->ring.producer) - consumer > context->entries) {
		/* The program overwrote the index. */
		ret = -EIO;
	} else if (pv_load(&revoked->ring.producer) != consumer) {
		*lkey = revoked->lkeys[consumer & (context->entries - 1)];
		context->consumer = consumer + 1;
		pv_store(&revoked->ring.consumer, context->consumer);
		ret = 1;
	}
	pthread_spin_unlock(&context->lock);
	if (ret < 0)
		pv_fail(ibv_context, "peerbardv_next_revoked", -ret,
			"%u keys were lost in all, or the ring of %u is corrupted", lost,
			context->entries);
	return ret;
}
