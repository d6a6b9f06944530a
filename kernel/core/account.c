// SPDX-License-Identifier: GPL-2.0
/*
 * Limits on the buffers of a user.
 *
 * A buffer that is only mapped takes no descriptor, so RLIMIT_NOFILE does not limit buffers. This
 * module charges its allocations for a buffer to the memory cgroup of the creator. The struct
 * dma_buf, and the exporter's allocations, may be charged to no cgroup: these limits bound them.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cred.h>
#include <linux/err.h>
#include <linux/moduleparam.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uidgid.h>
#include <linux/xarray.h>

#include "core.h"

static unsigned int max_buffers = 32768;
module_param(max_buffers, uint, 0644);
MODULE_PARM_DESC(max_buffers, "Maximum number of buffers of one user, EDQUOT beyond (default: 32768)");

static unsigned int max_ranges = 1048576;
module_param(max_ranges, uint, 0644);
MODULE_PARM_DESC(max_ranges, "Maximum number of ranges of one user's buffers in total, EDQUOT beyond (default: 1048576)");

/**
 * struct peerbar_user - the buffers of one user's processes
 * @uid: the user, also the index in users
 * @buffers: number of existing buffers; the structure is freed with the last. Under users_lock, as
 *	@ranges
 * @ranges: number of their ranges
 */
struct peerbar_user {
	kuid_t uid;
	unsigned int buffers;
	unsigned int ranges;
};

static DEFINE_MUTEX(users_lock); /* a leaf */
static DEFINE_XARRAY(users);

/* The structure for @uid; allocated if the user has no buffers yet. */
static struct peerbar_user *peerbar_user_get(kuid_t uid)
{
	struct peerbar_user *user = xa_load(&users, __kuid_val(uid));
	int ret;

	lockdep_assert_held(&users_lock);

	if (user)
		return user;
	user = kzalloc_obj(*user, GFP_KERNEL_ACCOUNT);
	if (!user)
		return ERR_PTR(-ENOMEM);
	user->uid = uid;
	ret = xa_err(xa_store(&users, __kuid_val(uid), user, GFP_KERNEL_ACCOUNT));
	if (ret) {
		kfree(user);
		return ERR_PTR(ret);
	}
	return user;
}

/**
 * peerbar_user_charge() - charge a new buffer to the user of the current process
 * @nr_ranges: number of its ranges
 *
 * Return: the user, for peerbar_user_uncharge(); -EDQUOT if a limit is reached; -ENOMEM.
 */
struct peerbar_user *peerbar_user_charge(unsigned int nr_ranges)
{
	unsigned int ranges = READ_ONCE(max_ranges);
	struct peerbar_user *user;

	guard(mutex)(&users_lock);
	user = peerbar_user_get(current_uid());
	if (IS_ERR(user))
		return user;
	if (user->buffers < READ_ONCE(max_buffers) && nr_ranges <= ranges &&
	    user->ranges <= ranges - nr_ranges) {
		user->buffers++;
		user->ranges += nr_ranges;
		return user;
	}
	pr_debug("cannot charge a buffer of %u ranges to user %u: it has %u of %u buffers and %u of %u ranges\n",
		 nr_ranges, __kuid_val(user->uid), user->buffers, READ_ONCE(max_buffers),
		 user->ranges, ranges);
	if (!user->buffers) {
		xa_erase(&users, __kuid_val(user->uid));
		kfree(user);
	}
	return ERR_PTR(-EDQUOT);
}

void peerbar_user_uncharge(struct peerbar_user *user, unsigned int nr_ranges)
{
	guard(mutex)(&users_lock);
	user->ranges -= nr_ranges;
	if (--user->buffers)
		return;
	xa_erase(&users, __kuid_val(user->uid));
	kfree(user);
}
