// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of the kernel's rings. Protection domains, memory regions and windows, address handles:
 * thin wrappers of the kernel's.
 */
#include "provider.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int pv_epoch_init(struct pv_context *context)
{
	long size = sysconf(_SC_PAGESIZE);
	void *page;
	int ret;

	page = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return errno;
	if (madvise(page, (size_t)size, MADV_WIPEONFORK)) {
		ret = errno;
		munmap(page, (size_t)size);
		return ret;
	}
	context->epoch = page;
	return 0;
}

void pv_epoch_free(struct pv_context *context)
{
	munmap(context->epoch, (size_t)sysconf(_SC_PAGESIZE));
}

/* Returns this process's number among those that inherited the context. Each mapping records it. */
static uint32_t epoch_of(struct pv_context *context)
{
	uint32_t epoch = 0, next = __atomic_load_n(&context->last_epoch, __ATOMIC_RELAXED) + 1;

	if (!__atomic_compare_exchange_n(context->epoch, &epoch, next, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return epoch;
	__atomic_store_n(&context->last_epoch, next, __ATOMIC_RELAXED);
	return next;
}

int pv_map(struct ibv_context *context, struct pv_memory *memory, uint64_t offset, uint32_t size)
{
	void *base;

	base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, context->cmd_fd, (off_t)offset);
	if (base == MAP_FAILED)
		return errno;
	memory->base = base;
	memory->size = size;
	memory->now = to_context(context)->epoch;
	memory->epoch = epoch_of(to_context(context));
	return 0;
}

void pv_unmap(struct pv_memory *memory)
{
	/* In a child, the addresses may be in use for something else. */
	if (memory->base && !pv_inherited(memory))
		munmap(memory->base, memory->size);
	memory->base = NULL;
	memory->size = 0;
}

/*
 * pv_ring_fits(): check a ring of @entries (a power of two) of @stride bytes, at least @least, at
 * @offset.
 */
bool pv_ring_fits(const struct pv_memory *memory, uint64_t offset, uint32_t entries,
		  uint32_t stride, size_t least)
{
	return entries && !(entries & (entries - 1)) && stride >= least && stride % 4 == 0 &&
		offset <= memory->size && (uint64_t)entries * stride <= memory->size - offset;
}

/* ---- protection domains */

struct alloc_pd_resp {
	struct ib_uverbs_alloc_pd_resp base;
	struct peerbar_alloc_pd_resp driver;
};
PV_DRIVER_FOLLOWS(alloc_pd_resp, ib_uverbs_alloc_pd_resp);

struct ibv_pd *pv_alloc_pd(struct ibv_context *context)
{
	struct alloc_pd_resp resp = { 0 };
	struct ibv_alloc_pd cmd;
	struct pv_pd *pd;
	int ret;

	pd = calloc(1, sizeof(*pd));
	if (!pd)
		return NULL;
	ret = ibv_cmd_alloc_pd(context, &pd->pd, &cmd, sizeof(cmd), &resp.base, sizeof(resp));
	if (ret) {
		free(pd);
		errno = ret;
		return NULL;
	}
	return &pd->pd;
}

int pv_dealloc_pd(struct ibv_pd *ibv_pd)
{
	struct pv_pd *pd = to_pd(ibv_pd);
	int ret;

	if (pd->protects) {
		/* The kernel has no parent domains. */
		atomic_fetch_sub(&pd->protects->users, 1);
		if (pd->td)
			atomic_fetch_sub(&pd->td->users, 1);
	} else {
		if (atomic_load(&pd->users))
			return EBUSY;
		ret = ibv_cmd_dealloc_pd(ibv_pd);
		if (ret)
			return ret;
	}
	free(pd);
	return 0;
}

/*
 * A parent domain is an alias of its protection domain. Its allocators are not used, since the
 * kernel allocates the queues. Its thread domain permits to omit locks, but does not require it.
 */
struct ibv_pd *pv_alloc_parent_domain(struct ibv_context *context,
				      struct ibv_parent_domain_init_attr *attr)
{
	struct pv_pd *pd;

	(void)context;
	if (ibv_check_alloc_parent_domain(attr))
		return NULL;
	if (attr->comp_mask &
	    ~(IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS | IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT)) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	pd = calloc(1, sizeof(*pd));
	if (!pd)
		return NULL;
	pd->protects = to_pd(attr->pd);
	if (pd->protects->protects)
		pd->protects = pd->protects->protects;
	atomic_fetch_add(&pd->protects->users, 1);
	if (attr->td) {
		pd->td = container_of(attr->td, struct pv_td, td);
		atomic_fetch_add(&pd->td->users, 1);
	}
	ibv_initialize_parent_domain(&pd->pd, &pd->protects->pd);
	return &pd->pd;
}

struct ibv_td *pv_alloc_td(struct ibv_context *context, struct ibv_td_init_attr *attr)
{
	struct pv_td *td;

	if (attr->comp_mask) {
		errno = EOPNOTSUPP;
		return NULL;
	}
	td = calloc(1, sizeof(*td));
	if (!td)
		return NULL;
	td->td.context = context;
	return &td->td;
}

int pv_dealloc_td(struct ibv_td *ibv_td)
{
	struct pv_td *td = container_of(ibv_td, struct pv_td, td);

	if (atomic_load(&td->users))
		return EBUSY;
	free(td);
	return 0;
}

/* ---- memory regions */

static struct ibv_mr *registered(struct verbs_mr *vmr, int ret)
{
	if (ret) {
		free(vmr);
		errno = ret;
		return NULL;
	}
	return &vmr->ibv_mr;
}

struct ibv_mr *pv_reg_mr(struct ibv_pd *pd, void *address, size_t length, uint64_t iova, int access)
{
	struct ib_uverbs_reg_mr_resp resp = { 0 };
	struct ibv_reg_mr cmd;
	struct verbs_mr *vmr;

	vmr = calloc(1, sizeof(*vmr));
	if (!vmr)
		return NULL;
	return registered(vmr,
			  ibv_cmd_reg_mr(pd, address, length, iova, access, vmr, &cmd, sizeof(cmd),
					 &resp, sizeof(resp)));
}

struct ibv_mr *pv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				int fd, int access)
{
	struct verbs_mr *vmr;

	vmr = calloc(1, sizeof(*vmr));
	if (!vmr)
		return NULL;
#ifdef REG_DMABUF_MR_TAKES_DRIVER
	return registered(vmr,
			  ibv_cmd_reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr, NULL));
#else
	return registered(vmr, ibv_cmd_reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr));
#endif
}

int pv_rereg_mr(struct verbs_mr *vmr, int flags, struct ibv_pd *pd, void *address, size_t length,
		int access)
{
	struct ib_uverbs_rereg_mr_resp resp;
	struct ibv_rereg_mr cmd;

	return ibv_cmd_rereg_mr(vmr, flags, address, length, (uintptr_t)address, access, pd, &cmd,
				sizeof(cmd), &resp, sizeof(resp));
}

int pv_dereg_mr(struct verbs_mr *vmr)
{
	int ret = ibv_cmd_dereg_mr(vmr);

	if (!ret)
		free(vmr);
	return ret;
}

/* ---- memory windows */

struct ibv_mw *pv_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	struct ib_uverbs_alloc_mw_resp resp = { 0 };
	struct ibv_alloc_mw cmd = { 0 };
	struct ibv_mw *mw;
	int ret;

	mw = calloc(1, sizeof(*mw));
	if (!mw)
		return NULL;
	ret = ibv_cmd_alloc_mw(pd, type, mw, &cmd, sizeof(cmd), &resp, sizeof(resp));
	if (ret) {
		free(mw);
		errno = ret;
		return NULL;
	}
	return mw;
}

int pv_dealloc_mw(struct ibv_mw *mw)
{
	int ret = ibv_cmd_dealloc_mw(mw);

	if (!ret)
		free(mw);
	return ret;
}

/* ---- address handles */

struct create_ah_resp {
	struct ib_uverbs_create_ah_resp base;
	struct peerbar_create_ah_resp driver;
};
PV_DRIVER_FOLLOWS(create_ah_resp, ib_uverbs_create_ah_resp);

struct ibv_ah *pv_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct create_ah_resp resp = { 0 };
	struct pv_ah *ah;
	int ret;

	ah = calloc(1, sizeof(*ah));
	if (!ah)
		return NULL;
	ret = ibv_cmd_create_ah(pd, &ah->ah, attr, &resp.base, sizeof(resp));
	if (ret) {
		free(ah);
		errno = ret;
		return NULL;
	}
	ah->ahn = resp.driver.ahn;
	return &ah->ah;
}

int pv_destroy_ah(struct ibv_ah *ah)
{
	int ret = ibv_cmd_destroy_ah(ah);

	if (!ret)
		free(to_ah(ah));
	return ret;
}
