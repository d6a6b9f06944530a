// SPDX-License-Identifier: GPL-2.0
/*
 * An oops, for the lab's own tests: loading this module reads an address that no kernel maps. The
 * oops happens under rtnl_lock(), as most happen under some lock. So a kernel that does not panic
 * continues with a lock that is never released.
 */
#include <linux/compiler.h>
#include <linux/err.h>
#include <linux/module.h>
#include <linux/rtnetlink.h>

static int __init pb_test_oops_init(void)
{
	int *nowhere = ERR_PTR(-EFAULT);
	int value;

	rtnl_lock();
	value = READ_ONCE(*nowhere);
	rtnl_unlock();
	return value ? -EIO : -EAGAIN;
}
module_init(pb_test_oops_init);

MODULE_DESCRIPTION("peerbar test: an oops");
MODULE_LICENSE("GPL");
