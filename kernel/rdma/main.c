// SPDX-License-Identifier: GPL-2.0
/* The module and its devices; "rdma link add NAME type peerbar netdev IF" creates one. */
#include <linux/dma-mapping.h>
#include <linux/if_arp.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <net/addrconf.h>
#include <rdma/ib_addr.h>
#include <rdma/rdma_netlink.h>

#include "ah.h"
#include "cq.h"
#include "dmabuf.h"
#include "fault.h"
#include "qp.h"
#include "wire.h"

/* Limits of each context, for devices created later; the number spaces bound them. */
static unsigned int pbr_max[PBR_NR_OBJECTS] = {
	[PBR_QP] = PBR_MAX_QP, [PBR_CQ] = PBR_MAX_CQ,	    [PBR_SRQ] = PBR_MAX_SRQ,
	[PBR_PD] = PBR_MAX_PD, [PBR_AH] = PBR_MAX_AH,	    [PBR_MR] = PBR_MAX_MR,
	[PBR_MW] = PBR_MAX_MW, [PBR_MCAST] = PBR_MAX_MCAST,
};

module_param_named(max_qp, pbr_max[PBR_QP], uint, 0644);
MODULE_PARM_DESC(max_qp, "Maximum number of queue pairs of a context, for devices added later");
module_param_named(max_cq, pbr_max[PBR_CQ], uint, 0644);
MODULE_PARM_DESC(max_cq, "Maximum number of completion queues of a context");
module_param_named(max_srq, pbr_max[PBR_SRQ], uint, 0644);
MODULE_PARM_DESC(max_srq, "Maximum number of shared receive queues of a context");
module_param_named(max_pd, pbr_max[PBR_PD], uint, 0644);
MODULE_PARM_DESC(max_pd, "Maximum number of protection domains of a context");
module_param_named(max_ah, pbr_max[PBR_AH], uint, 0644);
MODULE_PARM_DESC(max_ah, "Maximum number of address handles of a context");
module_param_named(max_mr, pbr_max[PBR_MR], uint, 0644);
MODULE_PARM_DESC(max_mr, "Maximum number of memory regions of a context");
module_param_named(max_mw, pbr_max[PBR_MW], uint, 0644);
MODULE_PARM_DESC(max_mw, "Maximum number of memory windows of a context");
module_param_named(max_mcast, pbr_max[PBR_MCAST], uint, 0644);
MODULE_PARM_DESC(max_mcast, "Maximum number of memberships in multicast groups of a context");

static bool pbr_use_wire = true;
module_param_named(wire, pbr_use_wire, bool, 0644);
MODULE_PARM_DESC(wire, "Devices added later reach other hosts, and take UDP port 4791 for that");

static u32 pbr_last_id;		    /* under pbr_link_lock */
static DEFINE_MUTEX(pbr_link_lock); /* serializes link creation; outermost */

static struct rdma_link_ops pbr_link_ops;

/* The last call of the core. The memory of the device itself is freed after a grace period. */
static void pbr_dealloc_driver(struct ib_device *ib)
{
	struct pbr_device *dev = to_pbr(ib);

	if (dev->node.next) {
		pbr_device_unlist(dev);
		pbr_wire_down(dev);
	}
	xa_destroy(&dev->mrs);
	xa_destroy(&dev->avs);
	pbr_counters_free(dev);
	if (dev->faux)
		faux_device_destroy(dev->faux);
}

static const struct ib_device_ops pbr_device_ops = {
	.owner = THIS_MODULE,
	.driver_id = (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID,
	.uverbs_abi_ver = PEERBAR_RDMA_ABI_VERSION,

	.dealloc_driver = pbr_dealloc_driver,
};

/* ---- links ---- */

/* The PCI function behind a network device; it attaches to dma-bufs. */
static struct pci_dev *pbr_function_of(struct net_device *ndev)
{
	struct device *parent;

	for (parent = ndev->dev.parent; parent; parent = parent->parent)
		if (dev_is_pci(parent))
			return to_pci_dev(parent);
	return NULL;
}

/*
 * Set the device that attaches to dma-bufs. Without a PCI function it is one that addresses memory
 * directly, and that no exporter of a BAR accepts.
 */
static int pbr_set_dma(struct pbr_device *dev, const char *name, struct net_device *ndev)
{
	dev->pdev = pbr_function_of(ndev);
	if (dev->pdev) {
		dev->dma = &dev->pdev->dev;
		/* P2P memory is matched with the parent. Programs find the function by it. */
		dev->ib.dev.parent = dev->dma;
		return 0;
	}
	dev->faux = faux_device_create(name, NULL, NULL);
	if (!dev->faux)
		return -ENODEV;
	dev->dma = &dev->faux->dev;
	dev->dma->dma_parms = &dev->dma_parms;
	if (!dev->dma->dma_mask)
		dev->dma->dma_mask = &dev->dma->coherent_dma_mask;
	return dma_set_mask_and_coherent(dev->dma, DMA_BIT_MASK(64));
}

/* The MTU limits datagrams. Other messages are not split. */
static void pbr_set_mtu(struct pbr_device *dev, struct net_device *ndev)
{
	WRITE_ONCE(dev->active_mtu, iboe_get_mtu(READ_ONCE(ndev->mtu)) ?: IB_MTU_256);
}

static void pbr_set_mtu_of(struct net_device *ndev)
{
	struct ib_device *ib = ib_device_get_by_netdev(ndev,
						       (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);

	if (!ib)
		return;
	pbr_set_mtu(to_pbr(ib), ndev);
	ib_device_put(ib);
}

static void pbr_unregister_of(struct net_device *ndev)
{
	struct ib_device *ib = ib_device_get_by_netdev(ndev,
						       (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);

	if (!ib)
		return;
	ib_unregister_device_queued(ib);
	ib_device_put(ib);
}

static int pbr_newlink(const char *name, struct net_device *ndev)
{
	struct ib_device *there;
	struct pbr_device *dev;
	unsigned int i;
	int ret;

	if (ndev->type != ARPHRD_ETHER) {
		netdev_notice(ndev,
			      "peerbar: cannot add an RDMA device: this is not an Ethernet device, and has no addresses that RoCE can use\n");
		return -EOPNOTSUPP;
	}
	guard(mutex)(&pbr_link_lock);
	there = ib_device_get_by_netdev(ndev, (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);
	if (there) {
		ib_device_put(there);
		netdev_dbg(ndev, "peerbar: cannot add an RDMA device: this device has one\n");
		return -EEXIST;
	}
	dev = ib_alloc_device(pbr_device, ib);
	if (!dev)
		return -ENOMEM;
	ib_mark_name_assigned_by_user(&dev->ib);
	for (i = 0; i < PBR_NR_OBJECTS; i++)
		dev->max[i] = min_t(unsigned int, READ_ONCE(pbr_max[i]), PBR_MAX_OBJECTS);
	dev->id = ++pbr_last_id;
	dev->net = dev_net(ndev);
	dev->ndev = ndev;
	pbr_set_mtu(dev, ndev);
	xa_init_flags(&dev->mrs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&dev->avs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	spin_lock_init(&dev->atomic_lock);
	pbr_wire_init_device(dev);
	dev->ib.node_type = RDMA_NODE_IB_CA;
	dev->ib.phys_port_cnt = 1;
	dev->ib.num_comp_vectors = num_possible_cpus();
	dev->ib.local_dma_lkey = PBR_DMA_LKEY;
	dev->ib.link_ops = &pbr_link_ops;
	dev->ib.driver_def = pbr_uapi;
	strscpy(dev->ib.node_desc, "peerbar", sizeof(dev->ib.node_desc));
	addrconf_addr_eui48((u8 *)&dev->ib.node_guid, ndev->dev_addr);
	dev->ib.uverbs_cmd_mask |= BIT_ULL(IB_USER_VERBS_CMD_POST_SEND) |
		BIT_ULL(IB_USER_VERBS_CMD_POST_RECV) | BIT_ULL(IB_USER_VERBS_CMD_POST_SRQ_RECV) |
		BIT_ULL(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ);
	ib_set_device_ops(&dev->ib, &pbr_device_ops);
	ib_set_device_ops(&dev->ib, &pbr_attr_ops);
	ib_set_device_ops(&dev->ib, &pbr_counter_ops);
	ib_set_device_ops(&dev->ib, &pbr_restrack_ops);
	ib_set_device_ops(&dev->ib, &pbr_ring_ops);
	ib_set_device_ops(&dev->ib, &pbr_context_ops);
	ib_set_device_ops(&dev->ib, &pbr_ah_ops);
	ib_set_device_ops(&dev->ib, &pbr_cq_ops);
	ib_set_device_ops(&dev->ib, &pbr_mr_ops);
	ib_set_device_ops(&dev->ib, &pbr_dmabuf_ops);
	ib_set_device_ops(&dev->ib, &pbr_fault_ops);
	ib_set_device_ops(&dev->ib, &pbr_mw_ops);
	ib_set_device_ops(&dev->ib, &pbr_frmr_ops);
	ib_set_device_ops(&dev->ib, &pbr_qp_ops);
	ib_set_device_ops(&dev->ib, &pbr_post_ops);
	ib_set_device_ops(&dev->ib, &pbr_srq_ops);
	ib_set_device_ops(&dev->ib, &pbr_xrc_ops);
	ib_set_device_ops(&dev->ib, &pbr_mcast_ops);
	ret = pbr_counters_alloc(dev);
	if (ret)
		goto err_dealloc;
	ret = pbr_set_dma(dev, name, ndev);
	if (ret)
		goto err_dealloc;
	ret = ib_device_set_netdev(&dev->ib, ndev, 1);
	if (ret)
		goto err_dealloc;
	if (READ_ONCE(pbr_use_wire))
		pbr_wire_up(dev, dev_net(ndev));
	pbr_device_list(dev);
	ret = ib_register_device(&dev->ib, name, dev->dma);
	if (ret)
		goto err_dealloc;
	/* Until now the notifier missed a change of the MTU, or the network device's removal. */
	pbr_set_mtu_of(ndev);
	if (READ_ONCE(ndev->reg_state) != NETREG_REGISTERED)
		pbr_unregister_of(ndev);
	return 0;

err_dealloc:
	ib_dealloc_device(&dev->ib);
	return ret;
}

static int pbr_dellink(struct ib_device *ib)
{
	return 0;
}

static struct rdma_link_ops pbr_link_ops = {
	.type = "peerbar",
	.newlink = pbr_newlink,
	.dellink = pbr_dellink,
};

/*
 * Unregister the device when its network device, or the driver of the function, goes away. The
 * network device's unregistration waits for its references. The verbs device holds one until all
 * of its regions are gone, so nothing stays mapped for a function without a driver.
 */
static int pbr_netdev_event(struct notifier_block *nb, unsigned long event, void *arg)
{
	struct net_device *ndev = netdev_notifier_info_to_dev(arg);

	if (event == NETDEV_UNREGISTER)
		pbr_unregister_of(ndev);
	else if (event == NETDEV_CHANGEMTU)
		pbr_set_mtu_of(ndev);
	return NOTIFY_DONE;
}

static struct notifier_block pbr_netdev_notifier = { .notifier_call = pbr_netdev_event };

static int __init pbr_init(void)
{
	int ret;

	ret = pbr_workers_init();
	if (ret)
		return ret;
	ret = pbr_windows_init();
	if (ret)
		goto err_workers;
	ret = pbr_wire_init();
	if (ret)
		goto err_windows;
	ret = register_netdevice_notifier(&pbr_netdev_notifier);
	if (ret)
		goto err_wire;
	rdma_link_register(&pbr_link_ops);
	return 0;

err_wire:
	pbr_wire_exit();
err_windows:
	pbr_windows_exit();
err_workers:
	pbr_workers_exit();
	return ret;
}

static void __exit pbr_exit(void)
{
	rdma_link_unregister(&pbr_link_ops);
	unregister_netdevice_notifier(&pbr_netdev_notifier);
	ib_unregister_driver((enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);
	pbr_wire_exit();
	pbr_workers_exit();
	pbr_qps_exit();
	pbr_xrc_exit();
	pbr_windows_exit();
	/* Regions and addresses are freed by RCU callbacks. */
	rcu_barrier();
}

module_init(pbr_init);
module_exit(pbr_exit);

MODULE_ALIAS_RDMA_LINK("peerbar");
MODULE_DESCRIPTION("peerbar: verbs device in software that registers device memory");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
