// SPDX-License-Identifier: GPL-2.0
/*
 * The device /dev/peerbar.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>

#include "core.h"

/* Accessible to all users: a process can query only dma-bufs that it holds. */
static struct miscdevice peerbar_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "peerbar",
	.mode = 0666,
};

struct device *peerbar_probe_device(void)
{
	return peerbar_misc.this_device;
}

int __init peerbar_device_register(const struct file_operations *fops)
{
	peerbar_misc.fops = fops;
	return misc_register(&peerbar_misc);
}

void peerbar_device_unregister(void)
{
	misc_deregister(&peerbar_misc);
}
