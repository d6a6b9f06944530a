// SPDX-License-Identifier: GPL-2.0
/*
 * The shim: let an unmodified iommufd map peerbar's buffers.
 *
 * iommufd needs physical addresses, and gets them from vfio_pci_dma_buf_iommufd_map() of
 * vfio-pci-core, which accepts only its own dma-bufs. An ftrace handler at that function's entry
 * redirects calls for peerbar's buffers to peerbar_dma_buf_iommufd_map(), which has the same
 * contract. Calls for all others proceed unchanged. Attachment, locks and revocation are iommufd's
 * own: it attaches to the buffer as a revocable importer, and unmaps when it is invalidated.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/vfio_pci_core.h>

#include "iommufd.h"

#if IS_ENABLED(CONFIG_DYNAMIC_FTRACE_WITH_REGS) || IS_ENABLED(CONFIG_DYNAMIC_FTRACE_WITH_ARGS)
#define PEERBAR_FTRACE
#endif

#if defined(PEERBAR_FTRACE) && IS_ENABLED(CONFIG_VFIO_PCI_DMABUF)

/* With ARGS, the arguments are available without all registers, and SAVE_REGS fails. */
#ifdef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
#define PEERBAR_FTRACE_REGS 0
#else
#define PEERBAR_FTRACE_REGS FTRACE_OPS_FL_SAVE_REGS
#endif

#define TARGET "vfio_pci_dma_buf_iommufd_map"

/* The handler redirects calls from one to the other. */
static_assert(__same_type(vfio_pci_dma_buf_iommufd_map, peerbar_dma_buf_iommufd_map));

static void notrace peerbar_iommufd_enter(unsigned long ip, unsigned long parent_ip,
					  struct ftrace_ops *op, struct ftrace_regs *fregs)
{
	struct dma_buf_attachment *attach = (void *)ftrace_regs_get_argument(fregs, 0);

	if (peerbar_buffer_of(attach->dmabuf))
		ftrace_regs_set_instruction_pointer(fregs,
						    (unsigned long)peerbar_dma_buf_iommufd_map);
}

static struct ftrace_ops peerbar_iommufd_ops = {
	.func = peerbar_iommufd_enter,
	/* PERMANENT: kernel.ftrace_enabled cannot disable the handler. */
	.flags = PEERBAR_FTRACE_REGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT,
};

int __init peerbar_shim_init(void)
{
	unsigned char name[] = TARGET;
	int ret;

	ret = ftrace_set_filter(&peerbar_iommufd_ops, name, sizeof(name) - 1, 0);
	if (ret) {
		pr_err("cannot trace " TARGET
		       "(): vfio-pci-core has no such function that can be traced, error %d\n",
		       ret);
		return ret;
	}
	ret = register_ftrace_function(&peerbar_iommufd_ops);
	if (ret) {
		pr_err("cannot trace " TARGET "(): error %d, a live patch or kprobe may be on it\n",
		       ret);
		ftrace_free_filter(&peerbar_iommufd_ops);
		return ret;
	}
	return 0;
}

void peerbar_shim_exit(void)
{
	int ret;

	/*
	 * Waits until no task is in the handler. A redirected task is in peerbar's core, and its
	 * buffer holds a reference to that module.
	 */
	ret = unregister_ftrace_function(&peerbar_iommufd_ops);
	/*
	 * Fails if ftrace has detected a bug in itself. The target may still call the handler, and
	 * an unload can no longer fail: so never return, not even on a signal, and keep the
	 * handler.
	 */
	while (WARN_ONCE(ret,
			 "cannot stop tracing " TARGET "(): error %d; the module stays loaded\n",
			 ret)) {
		set_current_state(TASK_IDLE);
		schedule_timeout(60 * HZ);
	}
	ftrace_free_filter(&peerbar_iommufd_ops);
}

/* Reference the target's module, to keep vfio-pci-core loaded while it is traced. */
static void *peerbar_iommufd_needs __used = vfio_pci_core_mmap;

#else

int __init peerbar_shim_init(void)
{
	pr_err("cannot load: the kernel lacks %s, which is needed for iommufd to map peerbar's buffers\n",
	       IS_ENABLED(CONFIG_VFIO_PCI_DMABUF) ?
		       "CONFIG_DYNAMIC_FTRACE_WITH_ARGS (or _WITH_REGS)" :
		       "CONFIG_VFIO_PCI_DMABUF");
	return -EOPNOTSUPP;
}

void peerbar_shim_exit(void)
{
}

#endif
