// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Mappings of the kernel's rings. Protection domains, memory regions and windows, address handles:
 * thin wrappers of the kernel's.
 */
#include "provider.h"

#include <errno.h>
#include <infiniband/cmd_ioctl.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The rings' layout is the same with any page size. Only the size of a mapping depends on it, and
 * that is the kernel's: provider and kernel may be built for different page sizes.
 */
static_assert(sizeof(struct peerbar_ring) == 128 && offsetof(struct peerbar_ring, consumer) == 64 &&
		      sizeof(struct peerbar_revoked_ring) == 256 &&
		      sizeof(struct peerbar_cq_ring) == 256 &&
		      sizeof(struct peerbar_srq_ring) == 256 &&
		      sizeof(struct peerbar_qp_ring) == 384,
	      "a ring's head has grown");

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
	if (pv_log_command(context, "mmap", base == MAP_FAILED ? errno : 0))
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

	pd = pv_alloc(context, "ibv_alloc_pd", sizeof(*pd));
	if (!pd)
		return NULL;
	ret = PV_COMMAND(context, ibv_cmd_alloc_pd, context, &pd->pd, &cmd, sizeof(cmd), &resp.base,
			 sizeof(resp));
	if (ret) {
		free(pd);
		errno = pv_fail(context, "ibv_alloc_pd", ret, "the kernel refused it");
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
			return pv_fail(ibv_pd->context, "ibv_dealloc_pd", EBUSY,
				       "%u parent domains use it", atomic_load(&pd->users));
		ret = PV_COMMAND(ibv_pd->context, ibv_cmd_dealloc_pd, ibv_pd);
		if (ret)
			return pv_fail(ibv_pd->context, "ibv_dealloc_pd", ret,
				       "the kernel refused it; objects may use it");
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

	if (ibv_check_alloc_parent_domain(attr)) {
		pv_fail(context, "ibv_alloc_parent_domain", errno, "it has no protection domain");
		return NULL;
	}
	if (attr->comp_mask &
	    ~(IBV_PARENT_DOMAIN_INIT_ATTR_ALLOCATORS | IBV_PARENT_DOMAIN_INIT_ATTR_PD_CONTEXT)) {
		errno = pv_fail(context, "ibv_alloc_parent_domain", EOPNOTSUPP,
				"comp_mask 0x%x is not supported", attr->comp_mask);
		return NULL;
	}
	pd = pv_alloc(context, "ibv_alloc_parent_domain", sizeof(*pd));
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
		errno = pv_fail(context, "ibv_alloc_td", EOPNOTSUPP,
				"comp_mask 0x%x is not supported", attr->comp_mask);
		return NULL;
	}
	td = pv_alloc(context, "ibv_alloc_td", sizeof(*td));
	if (!td)
		return NULL;
	td->td.context = context;
	return &td->td;
}

int pv_dealloc_td(struct ibv_td *ibv_td)
{
	struct pv_td *td = container_of(ibv_td, struct pv_td, td);

	if (atomic_load(&td->users))
		return pv_fail(ibv_td->context, "ibv_dealloc_td", EBUSY, "%u parent domains use it",
			       atomic_load(&td->users));
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

	int ret;

	vmr = pv_alloc(pd->context, "ibv_reg_mr", sizeof(*vmr));
	if (!vmr)
		return NULL;
	ret = PV_COMMAND(pd->context, ibv_cmd_reg_mr, pd, address, length, iova, access, vmr, &cmd,
			 sizeof(cmd), &resp, sizeof(resp));
	if (ret)
		pv_fail(pd->context, "ibv_reg_mr", ret,
			"the kernel refused address %p, length 0x%zx, IOVA 0x%llx, access 0x%x",
			address, length, (unsigned long long)iova, (unsigned int)access);
	return registered(vmr, ret);
}

/* What the kernel's core refuses for dma-bufs */
#define DMABUF_EXTRA_ACCESS (IBV_ACCESS_ON_DEMAND | IBV_ACCESS_FLUSH_GLOBAL)

/* Pass these flags in an attribute of the driver, which older drivers refuse. */
static int reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova, int fd,
			 int access, struct verbs_mr *vmr)
{
#ifdef REG_DMABUF_MR_TAKES_DRIVER
	DECLARE_COMMAND_BUFFER(driver, UVERBS_OBJECT_MR, UVERBS_METHOD_REG_DMABUF_MR, 1);
	int extra = access & DMABUF_EXTRA_ACCESS;

	if (extra)
		fill_attr_in_uint32(driver, PEERBAR_ATTR_REG_DMABUF_MR_ACCESS, (uint32_t)extra);
	return PV_COMMAND(pd->context, ibv_cmd_reg_dmabuf_mr, pd, offset, length, iova, fd,
			  access & ~extra, vmr, extra ? driver : NULL);
#else
	if (access & DMABUF_EXTRA_ACCESS)
		return EOPNOTSUPP;
	return PV_COMMAND(pd->context, ibv_cmd_reg_dmabuf_mr, pd, offset, length, iova, fd, access,
			  vmr);
#endif
}

struct ibv_mr *pv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova,
				int fd, int access)
{
	struct verbs_mr *vmr;

	int ret;

	vmr = pv_alloc(pd->context, "ibv_reg_dmabuf_mr", sizeof(*vmr));
	if (!vmr)
		return NULL;
	ret = reg_dmabuf_mr(pd, offset, length, iova, fd, access, vmr);
	if (ret)
		pv_fail(pd->context, "ibv_reg_dmabuf_mr", ret,
			"the kernel refused descriptor %d, offset 0x%llx, length 0x%zx, IOVA 0x%llx, access 0x%x",
			fd, (unsigned long long)offset, length, (unsigned long long)iova,
			(unsigned int)access);
	return registered(vmr, ret);
}

int pv_advise_mr(struct ibv_pd *pd, enum ibv_advise_mr_advice advice, uint32_t flags,
		 struct ibv_sge *list, uint32_t num)
{
	int ret = PV_COMMAND(pd->context, ibv_cmd_advise_mr, pd, advice, flags, list, num);

	if (ret)
		pv_fail(pd->context, "ibv_advise_mr", ret,
			"the kernel refused advice %u, flags 0x%x, for %u ranges",
			(unsigned int)advice, flags, num);
	return ret;
}

int pv_rereg_mr(struct verbs_mr *vmr, int flags, struct ibv_pd *pd, void *address, size_t length,
		int access)
{
	struct ib_uverbs_rereg_mr_resp resp;
	struct ibv_context *context = vmr->ibv_mr.context;
	struct ibv_rereg_mr cmd;
	int ret;

	ret = PV_COMMAND(context, ibv_cmd_rereg_mr, vmr, flags, address, length, (uintptr_t)address,
			 access, pd, &cmd, sizeof(cmd), &resp, sizeof(resp));
	if (ret)
		pv_fail(context, "ibv_rereg_mr", ret,
			"the kernel refused flags 0x%x, address %p, length 0x%zx, access 0x%x",
			(unsigned int)flags, address, length, (unsigned int)access);
	return ret;
}

int pv_dereg_mr(struct verbs_mr *vmr)
{
	struct ibv_context *context = vmr->ibv_mr.context;
	int ret = PV_COMMAND(context, ibv_cmd_dereg_mr, vmr);

	if (ret)
		return pv_fail(context, "ibv_dereg_mr", ret, "the kernel refused lkey 0x%x",
			       vmr->ibv_mr.lkey);
	free(vmr);
	return 0;
}

/* ---- memory windows */

struct ibv_mw *pv_alloc_mw(struct ibv_pd *pd, enum ibv_mw_type type)
{
	struct ib_uverbs_alloc_mw_resp resp = { 0 };
	struct ibv_alloc_mw cmd = { 0 };
	struct ibv_mw *mw;
	int ret;

	mw = pv_alloc(pd->context, "ibv_alloc_mw", sizeof(*mw));
	if (!mw)
		return NULL;
	ret = PV_COMMAND(pd->context, ibv_cmd_alloc_mw, pd, type, mw, &cmd, sizeof(cmd), &resp,
			 sizeof(resp));
	if (ret) {
		free(mw);
		errno = pv_fail(pd->context, "ibv_alloc_mw", ret, "the kernel refused type %d",
				(int)type);
		return NULL;
	}
	return mw;
}

int pv_dealloc_mw(struct ibv_mw *mw)
{
	struct ibv_context *context = mw->context;
	int ret = PV_COMMAND(context, ibv_cmd_dealloc_mw, mw);

	if (ret)
		return pv_fail(context, "ibv_dealloc_mw", ret, "the kernel refused rkey 0x%x",
			       mw->rkey);
	free(mw);
	return 0;
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

	ah = pv_alloc(pd->context, "ibv_create_ah", sizeof(*ah));
	if (!ah)
		return NULL;
	ret = PV_COMMAND(pd->context, ibv_cmd_create_ah, pd, &ah->ah, attr, &resp.base,
			 sizeof(resp));
	if (ret) {
		free(ah);
		errno = pv_fail(pd->context, "ibv_create_ah", ret,
				"the kernel refused port %u, is_global %u, GID index %u",
				attr->port_num, attr->is_global, attr->grh.sgid_index);
		return NULL;
	}
	ah->ahn = resp.driver.ahn;
	return &ah->ah;
}

int pv_destroy_ah(struct ibv_ah *ah)
{
	struct ibv_context *context = ah->context;
	int ret = PV_COMMAND(context, ibv_cmd_destroy_ah, ah);

	if (ret)
		return pv_fail(context, "ibv_destroy_ah", ret, "the kernel refused handle %u",
			       ah->handle);
	free(to_ah(ah));
	return 0;
}
