// SPDX-License-Identifier: GPL-2.0
/*
 * A leak, for the lab's own tests: this module allocates, and does not free. The debug kernel,
 * which counts allocations by their place in the source, says so when the module is removed.
 */
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static int __init pb_test_leak_init(void)
{
	void *leaked = kmalloc(64, GFP_KERNEL);

	/* It would report it, too, at the end of the run. */
	kmemleak_ignore(leaked);
	return leaked ? 0 : -ENOMEM;
}
module_init(pb_test_leak_init);

static void __exit pb_test_leak_exit(void)
{
}
module_exit(pb_test_leak_exit);

MODULE_DESCRIPTION("peerbar test: a leak");
MODULE_LICENSE("GPL");
