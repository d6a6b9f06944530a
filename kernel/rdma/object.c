// SPDX-License-Identifier: GPL-2.0
/* The number of objects of each kind that a context has, and their limits. */
#include <linux/sched.h>

#include "rdma.h"

int pbr_object_add(struct ib_ucontext *ib, enum pbr_object kind)
{
	static const char *const names[PBR_NR_OBJECTS] = {
		[PBR_QP] = "qp", [PBR_CQ] = "cq", [PBR_SRQ] = "srq", [PBR_PD] = "pd",
		[PBR_AH] = "ah", [PBR_MR] = "mr", [PBR_MW] = "mw",   [PBR_MCAST] = "mcast",
	};
	struct pbr_ucontext *ctx;
	atomic_t *objects;
	int max, had;

	if (!ib)
		return 0;
	ctx = container_of(ib, struct pbr_ucontext, ib);
	objects = &ctx->objects[kind];
	max = to_pbr(ib->device)->max[kind];
	had = atomic_read(objects);
	do {
		if (had >= max) {
			dev_notice_ratelimited(&ib->device->dev,
					       "cannot create an object: a context of %s (%d) has all %d that max_%s allows; destroy some first\n",
					       current->comm, task_tgid_nr(current), max,
					       names[kind]);
			return -ENOMEM;
		}
	} while (!atomic_try_cmpxchg(objects, &had, had + 1));
	return 0;
}

void pbr_object_remove(struct ib_ucontext *ib, enum pbr_object kind)
{
	if (ib)
		atomic_dec(&container_of(ib, struct pbr_ucontext, ib)->objects[kind]);
}
