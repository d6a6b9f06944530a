// SPDX-License-Identifier: GPL-2.0
/*
 * peerbar-iommufd: what an unmodified iommufd maps besides the dma-bufs of vfio-pci-core: peerbar's
 * buffers (shim.c), and dma-bufs of all other exporters, of whose ranges it makes such buffers
 * (import.c).
 */
#include <linux/module.h>

#include "iommufd.h"

static int __init peerbar_iommufd_init(void)
{
	int ret = peerbar_shim_init();

	if (ret)
		return ret;
	peerbar_set_cap(PEERBAR_CAP_IOMMUFD, true);
	if (IS_ENABLED(CONFIG_IOMMUFD))
		peerbar_bridge_set_ops(&peerbar_iommufd_bridge_ops);
	return 0;
}

/* No task runs a request: each holds the module. */
static void __exit peerbar_iommufd_exit(void)
{
	peerbar_bridge_set_ops(NULL);
	peerbar_set_cap(PEERBAR_CAP_IOMMUFD, false);
	peerbar_shim_exit();
}

module_init(peerbar_iommufd_init);
module_exit(peerbar_iommufd_exit);

MODULE_DESCRIPTION("iommufd maps peerbar buffers, and dma-bufs of any exporter");
MODULE_AUTHOR("The peerbar authors");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
