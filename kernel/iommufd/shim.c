// SPDX-License-Identifier: GPL-2.0
/*
 * peerbar-iommufd: lets an unmodified iommufd map our buffers.
 *
 * iommufd needs physical addresses, and asks vfio-pci-core for them (vfio_pci_dma_buf_iommufd_map()), which knows its own
 * dma-bufs only. An ftrace handler at that function's entry looks whose the dma-buf is, and if it is ours sends the call to a
 * function of the core with the same contract; calls for all others go on as if nothing were there. Attachment, locks and
 * revocation are iommufd's own: it attaches to our buffer as a revocable importer, and unmaps when it is told to.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/vfio_pci_core.h>

#include "peerbar_kapi.h"

#if (IS_ENABLED(CONFIG_DYNAMIC_FTRACE_WITH_REGS) || IS_ENABLED(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)) && \
	IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)

/* where the arguments can be had without all registers, asking for those fails */
#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
#define PEERBAR_FTRACE_REGS	0
#else
#define PEERBAR_FTRACE_REGS	FTRACE_OPS_FL_SAVE_REGS
#endif

#define TARGET	"vfio_pci_dma_buf_iommufd_map"

/* the handler sends calls of the one to the other */
static_assert(__same_type(vfio_pci_dma_buf_iommufd_map, peerbar_dma_buf_iommufd_map));

static void notrace peerbar_iommufd_enter(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *op,
					  struct ftrace_regs *fregs)
{
	struct dma_buf_attachment *attach = (void *)ftrace_regs_get_argument(fregs, 0);

	if (peerbar_buffer_of(attach->dmabuf))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)peerbar_dma_buf_iommufd_map);
}

static struct ftrace_ops peerbar_iommufd_ops = {
	.func = peerbar_iommufd_enter,
	/* PERMANENT: kernel.ftrace_enabled cannot turn it off behind our back */
	.flags = PEERBAR_FTRACE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

static int __init peerbar_iommufd_init(void)
{
	unsigned char name[] = TARGET;
	int ret;

	ret = ftrace_set_filter(&peerbar_iommufd_ops, name, sizeof(name) - 1, 0);
	if (ret) {
		pr_err("this kernel's vfio-pci-core has no " TARGET "() that can be traced: %d\n", ret);
		return ret;
	}
	ret = register_ftrace_function(&peerbar_iommufd_ops);
	if (ret) {
		pr_err("cannot trace " TARGET "(), maybe because a live patch does: %d\n", ret);
		ftrace_free_filter(&peerbar_iommufd_ops);
		return ret;
	}
	peerbar_set_cap(PEERBAR_CAP_IOMMUFD, true);
	return 0;
}

static void __exit peerbar_iommufd_exit(void)
{
	int ret;

	peerbar_set_cap(PEERBAR_CAP_IOMMUFD, false);
	/* waits until nobody is in the handler; whoever was sent on by it is in the core, which the buffer holds */
	ret = unregister_ftrace_function(&peerbar_iommufd_ops);
	/*
	 * It fails if ftrace has found itself broken. The target may still call the handler, and an unload cannot be refused any
	 * more: so it never ends, not by a signal either, and the handler stays.
	 */
	while (WARN_ONCE(ret, "tracing " TARGET "() cannot be ended: %d; the module stays\n", ret)) {
		set_current_state(TASK_IDLE);
		schedule_timeout(60 * HZ);
	}
	ftrace_free_filter(&peerbar_iommufd_ops);
}

/* keeps vfio-pci-core loaded for as long as we trace it */
static void *peerbar_iommufd_needs __used = vfio_pci_core_mmap;

#else

static int __init peerbar_iommufd_init(void)
{
	pr_err("this kernel lacks %s, without which iommufd cannot be made to take our buffers\n",
	       IS_ENABLED(CONFIG_VFIO_PCI_DMABUF) ? "CONFIG_DYNAMIC_FTRACE_WITH_ARGS (or _WITH_REGS)" : "CONFIG_VFIO_PCI_DMABUF");
	return -EOPNOTSUPP;
}

static void __exit peerbar_iommufd_exit(void)
{
}

#endif

module_init(peerbar_iommufd_init);
module_exit(peerbar_iommufd_exit);

MODULE_DESCRIPTION("iommufd maps peerbar buffers");
MODULE_AUTHOR("The peerbar authors");
MODULE_LICENSE("GPL");
MODULE_IMPORT_NS("DMA_BUF");
