// SPDX-License-Identifier: GPL-2.0
/*
 * Loading and unloading of the core.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/version.h>

#include "core.h"

/*
 * The modules rely on more of dma-buf and vfio-pci-core than the compiler checks. All of them
 * depend on this one, so refuse an untested kernel here.
 */
static char newest_kernel[16] = "7.3";
module_param_string(newest_kernel, newest_kernel, sizeof(newest_kernel), 0444);
MODULE_PARM_DESC(newest_kernel, "Newest kernel to load on (default: 7.3, the newest tested)");

static int __init peerbar_check_kernel(void)
{
	unsigned int major, minor;

	if (sscanf(newest_kernel, "%u.%u", &major, &minor) != 2) {
		pr_err("newest_kernel: '%s' is not a version such as 7.3\n", newest_kernel);
		return -EINVAL;
	}
	if (major > LINUX_VERSION_MAJOR ||
	    (major == LINUX_VERSION_MAJOR && minor >= LINUX_VERSION_PATCHLEVEL))
		return 0;
	pr_err("cannot load on kernel %u.%u: it is newer than %u.%u and was not tested; load with newest_kernel=%u.%u to override\n",
	       LINUX_VERSION_MAJOR, LINUX_VERSION_PATCHLEVEL, major, minor, LINUX_VERSION_MAJOR,
	       LINUX_VERSION_PATCHLEVEL);
	return -EOPNOTSUPP;
}

static int __init peerbar_init(void)
{
	int ret;

	ret = peerbar_check_kernel();
	if (ret)
		return ret;
	ret = peerbar_revocation_page_init();
	if (ret)
		return ret;
	ret = peerbar_state_init();
	if (ret)
		goto err_page;
	ret = peerbar_netlink_init();
	if (ret)
		goto err_state;
	ret = peerbar_device_register(&peerbar_fops);
	if (ret)
		goto err_netlink;
	return 0;

err_netlink:
	peerbar_netlink_exit();
err_state:
	peerbar_state_exit();
err_page:
	peerbar_revocation_page_exit();
	return ret;
}

static void __exit peerbar_exit(void)
{
	peerbar_device_unregister();
	peerbar_state_exit();
	peerbar_netlink_exit();
	peerbar_revocation_page_exit();
}

module_init(peerbar_init);
module_exit(peerbar_exit);

MODULE_DESCRIPTION("Revocable dma-bufs, and the memory model of any dma-buf");
MODULE_AUTHOR("The peerbar authors");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
