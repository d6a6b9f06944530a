// SPDX-License-Identifier: GPL-2.0
/* The number of objects of each kind that a context has, and their limits. */
#include <linux/sched.h>

#include "rdma.h"

int pb_object_add(struct ib_ucontext *ib, enum pb_object kind)
{
	static const char * const names[PB_NR_OBJECTS] = {
		[PB_QP] = "qp", [PB_CQ] = "cq", [PB_SRQ] = "srq", [PB_PD] = "pd", [PB_AH] = "ah", [PB_MR] = "mr", [PB_MW] = "mw",
	};
	struct pb_ucontext *ctx;
	atomic_t *objects;
	int max, had;

	if (!ib)
		return 0;
	ctx = container_of(ib, struct pb_ucontext, ib);
	objects = &ctx->objects[kind];
	max = to_pb(ib->device)->max[kind];
	had = atomic_read(objects);
	do {
		if (had >= max) {
			dev_notice_ratelimited(&ib->device->dev, "cannot create an object: a context of %s (%d) has all %d that max_%s allows; destroy some first\n",
					       current->comm, task_tgid_nr(current), max, names[kind]);
			return -ENOMEM;
		}
	} while (!atomic_try_cmpxchg(objects, &had, had + 1));
	return 0;
}

void pb_object_remove(struct ib_ucontext *ib, enum pb_object kind)
{
	if (ib)
		atomic_dec(&container_of(ib, struct pb_ucontext, ib)->objects[kind]);
}
