// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Memory regions: the models that a device can register, and registration.
 */
#include <inttypes.h>
#include <stdio.h>

#include "internal.h"

/* The kernel's own errno, which some exporters pass on to user space */
#define ENOTSUPP 524

#define PEERS_WRITE (IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC)

/* ---- models that a device can register ---- */

static bool follows_moves(struct ibv_context *context)
{
	struct ibv_device_attr_ex attr;

	memset(&attr, 0, sizeof(attr));
	return !ibv_query_device_ex(context, NULL, &attr) &&
		attr.odp_caps.general_caps & IBV_ODP_SUPPORT;
}

/*
 * Try an invalid descriptor. A driver that has the call fails with an errno about the descriptor.
 */
static bool registers_dmabufs(struct ibv_pd *pd)
{
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_dmabuf_mr(pd, 0, (size_t)sysconf(_SC_PAGESIZE), 0, -1, IBV_ACCESS_LOCAL_WRITE);
	if (mr) {
		ibv_dereg_mr(mr);
		return true;
	}
	switch (errno) {
	case EOPNOTSUPP: /* libibverbs, for a provider without the call */
	case ENOSYS:
	case EPROTONOSUPPORT: /* the kernel, for a driver without the call */
	case ENOTTY:
		return false;
	default:
		return true;
	}
}

static bool is_peerbars(struct ibv_context *context)
{
	struct pbv_direct direct;

	if (!pbv_direct_open(&direct, context))
		return false;
	pbv_direct_close(&direct);
	return true;
}

int pbv_models(struct ibv_context *context, unsigned int *models, struct pb_error *err)
{
	const char *name = ibv_get_device_name(context->device);
	unsigned int takes = 0;
	struct ibv_pd *pd;

	errno = 0;
	pd = ibv_alloc_pd(context);
	if (!pd)
		return pbv_fail_errno(err, errno ? errno : ENOMEM,
				      "cannot query the models that "
				      "%s can register: no protection domain (ibv_alloc_pd)",
				      name);
	if (registers_dmabufs(pd)) {
		bool follows = follows_moves(context), own = is_peerbars(context);

		takes = PBV_TAKES(PB_PINNED);
		takes |= follows || own ? PBV_TAKES(PB_REVOCABLE) : PBV_MAY_TAKE(PB_REVOCABLE);
		takes |= follows ? PBV_TAKES(PB_DYNAMIC) | PBV_FOLLOWS : PBV_MAY_TAKE(PB_DYNAMIC);
		/* Drivers with on-demand paging follow rather than pin. */
		if (own)
			takes |= PBV_PINS;
		else if (!follows)
			takes |= PBV_MAY_PIN;
	}
	ibv_dealloc_pd(pd);
	*models = takes;
	return 0;
}

/* ---- registering ---- */

/* Follow or pin. Only peerbar's device is told to follow: other drivers do it if they can. */
static int accept_dynamic(struct ibv_pd *pd, const struct pb_buffer_info *info, int *access,
			  unsigned int flags, const char *what, struct pb_error *err)
{
	const char *name = ibv_get_device_name(pd->context->device);

	if (flags & PBV_PIN) {
		if (*access & IBV_ACCESS_ON_DEMAND)
			return pbv_fail(err, EINVAL,
					"cannot register %s with %s: IBV_ACCESS_ON_DEMAND follows the memory, "
					"and PBV_PIN keeps it in its place; give one of them",
					what, name);
		if (info->can_pin == PB_ANSWER_NO)
			return pbv_fail(err, EOPNOTSUPP,
					"cannot register %s with %s: its memory model is DYNAMIC, so it may move "
					"at any time, and its exporter '%s' cannot pin it",
					what, name, info->exporter);
		return 0;
	}
	if (follows_moves(pd->context)) {
		*access &= ~IBV_ACCESS_ON_DEMAND;
		if (is_peerbars(pd->context))
			*access |= IBV_ACCESS_ON_DEMAND;
		return 0;
	}
	return pbv_fail(err, EOPNOTSUPP,
			"cannot register %s of the exporter '%s' with %s: its memory model is DYNAMIC, "
			"so it may move at any time, and %s cannot follow (it has no on-demand paging); %s",
			what, info->exporter, name, name,
			info->can_pin == PB_ANSWER_NO ?
				"its exporter cannot pin it either" :
				"PBV_PIN registers it pinned, if the device's driver can");
}

static int accept_model(struct ibv_pd *pd, const struct pb_buffer_info *info, int *access,
			unsigned int flags, const char *what, struct pb_error *err)
{
	const char *name = ibv_get_device_name(pd->context->device);

	switch (info->model) {
	case PB_PINNED:
	case PB_REVOCABLE:
		return 0;
	case PB_DYNAMIC:
		return accept_dynamic(pd, info, access, flags, what, err);
	default:
		if (flags & PBV_UNKNOWN_MODEL)
			return 0;
		return pbv_fail(err, EOPNOTSUPP,
				"cannot register %s of the exporter '%s' with %s: "
				"its memory model is UNKNOWN, so it may move; PBV_UNKNOWN_MODEL "
				"registers it anyway",
				what, info->exporter, name);
	}
}

static int fail_revoked(const struct pb_buffer_info *info, const char *what, const char *name,
			struct pb_error *err)
{
	if (info->state == PB_BUFFER_DEAD)
		return pbv_fail(err, ENODEV,
				"cannot register %s with %s: the buffer was revoked permanently; its ranges can be "
				"exported afresh",
				what, name);
	return pbv_fail(err, ENODEV,
			"cannot register %s with %s: the buffer is revoked; memory decoding of its device may be "
			"off, or the device closed",
			what, name);
}

static int fail_registration(struct ibv_pd *pd, const struct pb_buffer_info *info, const char *what,
			     int access, int code, struct pb_error *err)
{
	const char *name = ibv_get_device_name(pd->context->device);

	switch (code) {
	case ENODEV:
		return fail_revoked(info, what, name, err);
	case ENOTSUPP:
		return pbv_fail(err, EOPNOTSUPP,
				"cannot register %s with %s: its exporter '%s' or the device's driver fails with "
				"ENOTSUPP (524), an errno of the kernel's own: it does not support this; see the kernel log",
				what, name, info->exporter);
	case EAGAIN:
	case EBUSY:
		return pbv_fail(err, code,
				"cannot register %s with %s: its exporter '%s' fails with %s: the memory is in "
				"use or being moved, or is pinned where the device does not reach it; try again later",
				what, name, info->exporter, code == EAGAIN ? "EAGAIN" : "EBUSY");
	case EOPNOTSUPP:
	case ENOSYS:
	case EPROTONOSUPPORT:
	case ENOTTY:
		if (!registers_dmabufs(pd))
			return pbv_fail(err, EOPNOTSUPP,
					"cannot register %s with %s: the device, or its provider in libibverbs, "
					"cannot register dma-bufs (ibv_reg_dmabuf_mr)",
					what, name);
		return pbv_fail(err, EOPNOTSUPP,
				"cannot register %s with %s: its exporter '%s' "
				"refuses the device, because that cannot do P2P DMA, or its driver "
				"cannot invalidate a %s buffer; or the driver refuses the buffer, "
				"for example because it is revoked (%s); see the kernel log",
				what, name, info->exporter, pb_model_name(info->model),
				code == EOPNOTSUPP		? "EOPNOTSUPP" :
					code == ENOSYS		? "ENOSYS" :
					code == EPROTONOSUPPORT ? "EPROTONOSUPPORT" :
								  "ENOTTY");
	case EINVAL:
		return pbv_fail(err, EINVAL,
				"cannot register %s with %s: the device does not know the access 0x%x, or cannot "
				"reach the buffer of '%s' where it is (EINVAL): P2P DMA between two devices takes a host bridge or "
				"switch that passes it on",
				what, name, (unsigned int)access, info->exporter);
	case EREMOTEIO:
		return pbv_fail(err, EREMOTEIO,
				"cannot register %s with %s: the device cannot reach the buffer of '%s' where it "
				"is (EREMOTEIO): P2P DMA between two devices takes a host bridge or switch that passes it on",
				what, name, info->exporter);
	case ENOMEM:
		return pbv_fail(err, ENOMEM,
				"cannot register %s with %s: no memory, or the device has no room for one more "
				"region, or its exporter '%s' has no room to move it to (ENOMEM)",
				what, name, info->exporter);
	case EBADF:
		return pbv_fail(err, EBADF,
				"cannot register %s with %s: the kernel does not take its descriptor for a dma-buf's",
				what, name);
	default:
		return pbv_fail_errno(err, code,
				      "cannot register %s of the exporter '%s' with %s, error %d "
				      "(ibv_reg_dmabuf_mr)",
				      what, info->exporter, name, code);
	}
}

static struct pbv_mr *new_mr(void)
{
	struct pbv_mr *mr = calloc(1, sizeof(*mr));

	if (!mr)
		return NULL;
	atomic_init(&mr->data, NULL);
	atomic_init(&mr->revoked, false);
	pthread_mutex_init(&mr->watch_lock, NULL);
	return mr;
}

static void free_mr(struct pbv_mr *mr)
{
	pb_buffer_close(mr->buffer);
	pthread_mutex_destroy(&mr->watch_lock);
	free(mr);
}

int pbv_reg_buffer(struct ibv_pd *pd, struct pb_buffer *buffer, uint64_t offset, uint64_t length,
		   uint64_t iova, int access, unsigned int flags, struct pbv_mr **mr,
		   struct pb_error *err)
{
	uint64_t in_page = (uint64_t)sysconf(_SC_PAGESIZE) - 1, size = pb_buffer_size(buffer);
	const char *name = ibv_get_device_name(pd->context->device);
	struct pb_buffer_info info;
	struct pbv_mr *new;
	char what[80];
	int ret;

	snprintf(what, sizeof(what), "0x%" PRIx64 " bytes at 0x%" PRIx64 " of a buffer", length,
		 offset);
	if (flags & ~(unsigned int)(PBV_UNKNOWN_MODEL | PBV_PIN))
		return pbv_fail(err, EINVAL,
				"cannot register %s with %s with flags 0x%x: only PBV_UNKNOWN_MODEL, 0x%x, and PBV_PIN, "
				"0x%x, are known",
				what, name, flags, PBV_UNKNOWN_MODEL, PBV_PIN);
	if (!length)
		return pbv_fail(err, EINVAL, "cannot register %s with %s: the length must not be 0",
				what, name);
	if (offset > size || length > size - offset)
		return pbv_fail(err, ERANGE,
				"cannot register %s with %s: the buffer's size is 0x%" PRIx64, what,
				name, size);
	if ((iova ^ offset) & in_page)
		return pbv_fail(err, EINVAL,
				"cannot register %s with %s at the address 0x%" PRIx64 ": "
				"its offset in its page must be that of the buffer's offset, 0x%" PRIx64,
				what, name, iova, offset & in_page);
	if (iova + length - 1 < iova)
		return pbv_fail(err, EINVAL,
				"cannot register %s with %s at the address 0x%" PRIx64
				": its end would be beyond 2^64",
				what, name, iova);
	if (access & PEERS_WRITE && !(access & IBV_ACCESS_LOCAL_WRITE))
		return pbv_fail(err, EINVAL,
				"cannot register %s with %s with the access 0x%x: where peers may write, this host "
				"must be allowed to as well, with IBV_ACCESS_LOCAL_WRITE",
				what, name, (unsigned int)access);
	/*
	 * Read the revocation counter before registering: a revocation in between then counts as a
	 * later one.
	 */
	ret = pb_buffer_query(buffer, &info, err);
	/* The device will attach anyway. */
	if (!ret && info.model == PB_UNKNOWN)
		ret = pb_buffer_probe(buffer, &info, err);
	if (ret)
		return ret;
	ret = accept_model(pd, &info, &access, flags, what, err);
	if (ret)
		return ret;
	if (info.state == PB_BUFFER_DEAD || info.state == PB_BUFFER_REVOKED)
		return fail_revoked(&info, what, name, err);
	new = new_mr();
	if (!new)
		return pbv_fail_errno(err, ENOMEM, "cannot register %s with %s", what, name);
	new->iova = iova;
	new->offset = offset;
	new->length = length;
	new->model = info.model;
	new->counted = info.managed &&info.counted;
	new->list_id = info.list_id;
	new->revocations = info.revocations;
	ret = pb_buffer_share(buffer, &new->buffer, err);
	if (ret)
		goto err_free;
	errno = 0;
	new->verbs = ibv_reg_dmabuf_mr(pd, offset, (size_t)length, iova, pb_buffer_fd(buffer),
				       access);
	if (!new->verbs) {
		ret = fail_registration(pd, &info, what, access, errno ? errno : ENOMEM, err);
		goto err_free;
	}
	new->lkey = new->verbs->lkey;
	*mr = new;
	return 0;

err_free:
	free_mr(new);
	return ret;
}

int pbv_reg_memory(struct ibv_pd *pd, void *address, size_t length, int access, struct pbv_mr **mr,
		   struct pb_error *err)
{
	const char *name = ibv_get_device_name(pd->context->device);
	struct pbv_mr *new = new_mr();
	int code;

	if (!new)
		return pbv_fail_errno(err, ENOMEM,
				      "cannot register 0x%zx bytes at the address %p with %s",
				      length, address, name);
	new->iova = (uintptr_t)address;
	new->length = length;
	errno = 0;
	new->verbs = ibv_reg_mr(pd, address, length, access);
	if (new->verbs) {
		new->lkey = new->verbs->lkey;
		*mr = new;
		return 0;
	}
	code = errno ? errno : ENOMEM;
	free_mr(new);
	if (code == EFAULT)
		return pbv_fail(err, EFAULT,
				"cannot register 0x%zx bytes at the address %p with %s: they are not all mapped, or "
				"mapped for reading only, or are a device's memory that is mapped without a dma-buf; a mapping "
				"of a dma-buf can be registered",
				length, address, name);
	if (code == ENOMEM)
		return pbv_fail(err, ENOMEM,
				"cannot register 0x%zx bytes at the address %p with %s: no memory, or more than the "
				"process may lock (RLIMIT_MEMLOCK)",
				length, address, name);
	return pbv_fail_errno(err, code,
			      "cannot register 0x%zx bytes at the address %p with %s (ibv_reg_mr)",
			      length, address, name);
}

int pbv_dereg(struct pbv_mr *mr, struct pb_error *err)
{
	struct pbv_watch *watch;
	int ret;

	if (!mr)
		return 0;
	if (mr->entry)
		return pbv_fail(err, EINVAL,
				"cannot deregister a region of a cache; release it "
				"with pbv_cache_put()");
	/* Some versions return -1 and set errno, others return the errno. */
	watch = pbv_watch_hold(mr);
	errno = 0;
	ret = ibv_dereg_mr(mr->verbs);
	if (ret)
		ret = ret > 0 ? ret : errno ? errno : EIO;
	pbv_watch_release(watch, mr, !ret);
	if (ret) {
		if (ret == EBUSY)
			return pbv_fail(err, EBUSY,
					"cannot deregister a region of 0x%" PRIx64 " bytes: a "
					"memory window is bound to it",
					mr->length);
		return pbv_fail_errno(err, ret,
				      "cannot deregister a region of 0x%" PRIx64 " bytes "
				      "(ibv_dereg_mr)",
				      mr->length);
	}
	free_mr(mr);
	return 0;
}
