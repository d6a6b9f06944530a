// SPDX-License-Identifier: GPL-2.0
/* The module and its devices; "rdma link add NAME type peerbar netdev IF" creates one. */
#include <linux/if_arp.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/pci.h>
#include <net/addrconf.h>
#include <rdma/ib_addr.h>
#include <rdma/rdma_netlink.h>

#include "ah.h"
#include "cq.h"
#include "qp.h"

/* Limits of each context, for devices created later; the number spaces bound them. */
static unsigned int pb_max[PB_NR_OBJECTS] = {
	[PB_QP] = PB_MAX_QP, [PB_CQ] = PB_MAX_CQ, [PB_SRQ] = PB_MAX_SRQ, [PB_PD] = PB_MAX_PD, [PB_AH] = PB_MAX_AH,
	[PB_MR] = PB_MAX_MR, [PB_MW] = PB_MAX_MW,
};

module_param_named(max_qp, pb_max[PB_QP], uint, 0644);
MODULE_PARM_DESC(max_qp, "Maximum number of queue pairs of a context, for devices added later");
module_param_named(max_cq, pb_max[PB_CQ], uint, 0644);
MODULE_PARM_DESC(max_cq, "Maximum number of completion queues of a context");
module_param_named(max_srq, pb_max[PB_SRQ], uint, 0644);
MODULE_PARM_DESC(max_srq, "Maximum number of shared receive queues of a context");
module_param_named(max_pd, pb_max[PB_PD], uint, 0644);
MODULE_PARM_DESC(max_pd, "Maximum number of protection domains of a context");
module_param_named(max_ah, pb_max[PB_AH], uint, 0644);
MODULE_PARM_DESC(max_ah, "Maximum number of address handles of a context");
module_param_named(max_mr, pb_max[PB_MR], uint, 0644);
MODULE_PARM_DESC(max_mr, "Maximum number of memory regions of a context");
module_param_named(max_mw, pb_max[PB_MW], uint, 0644);
MODULE_PARM_DESC(max_mw, "Maximum number of memory windows of a context");

static u32 pb_last_id; /* under pb_link_lock */
static DEFINE_MUTEX(pb_link_lock); /* serializes link creation; outermost */

static struct rdma_link_ops pb_link_ops;

/* The last call of the core. The memory of the device itself is freed after a grace period. */
static void pb_dealloc_driver(struct ib_device *ib)
{
	struct pb_device *dev = to_pb(ib);

	if (dev->node.next)
		pb_device_unlist(dev);
	xa_destroy(&dev->mrs);
	xa_destroy(&dev->avs);
}

static const struct ib_device_ops pb_device_ops = {
	.owner = THIS_MODULE,
	.driver_id = (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID,
	.uverbs_abi_ver = PEERBAR_RDMA_ABI_VERSION,

	.dealloc_driver = pb_dealloc_driver,
};

/* ---- links ---- */

/* The PCI function behind a network device; it attaches to dma-bufs. */
static struct pci_dev *pb_function_of(struct net_device *ndev)
{
	struct device *parent;

	for (parent = ndev->dev.parent; parent; parent = parent->parent)
		if (dev_is_pci(parent))
			return to_pci_dev(parent);
	return NULL;
}

/* The MTU limits datagrams. Other messages are not split. */
static void pb_set_mtu(struct pb_device *dev, struct net_device *ndev)
{
	WRITE_ONCE(dev->active_mtu, iboe_get_mtu(READ_ONCE(ndev->mtu)) ?: IB_MTU_256);
}

static void pb_set_mtu_of(struct net_device *ndev)
{
	struct ib_device *ib = ib_device_get_by_netdev(ndev, (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);

	if (!ib)
		return;
	pb_set_mtu(to_pb(ib), ndev);
	ib_device_put(ib);
}

static void pb_unregister_of(struct net_device *ndev)
{
	struct ib_device *ib = ib_device_get_by_netdev(ndev, (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);

	if (!ib)
		return;
	ib_unregister_device_queued(ib);
	ib_device_put(ib);
}

static int pb_newlink(const char *name, struct net_device *ndev)
{
	struct pci_dev *pdev = pb_function_of(ndev);
	struct ib_device *there;
	struct pb_device *dev;
	unsigned int i;
	int ret;

	if (ndev->type != ARPHRD_ETHER || !pdev) {
		netdev_notice(ndev, "peerbar: cannot add an RDMA device: this is not an Ethernet device with a PCI function, whose DMA identity the RDMA device needs\n");
		return -EOPNOTSUPP;
	}
	guard(mutex)(&pb_link_lock);
	there = ib_device_get_by_netdev(ndev, (enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);
	if (there) {
		ib_device_put(there);
		return -EEXIST;
	}
	dev = ib_alloc_device(pb_device, ib);
	if (!dev)
		return -ENOMEM;
	ib_mark_name_assigned_by_user(&dev->ib);
	dev->pdev = pdev;
	/* P2P memory is matched with the parent. Programs find the function and NUMA node by it. */
	dev->ib.dev.parent = &pdev->dev;
	for (i = 0; i < PB_NR_OBJECTS; i++)
		dev->max[i] = min_t(unsigned int, READ_ONCE(pb_max[i]), PB_MAX_OBJECTS);
	dev->id = ++pb_last_id;
	dev->net = dev_net(ndev);
	pb_set_mtu(dev, ndev);
	xa_init_flags(&dev->mrs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	xa_init_flags(&dev->avs, XA_FLAGS_ALLOC1 | XA_FLAGS_ACCOUNT);
	spin_lock_init(&dev->atomic_lock);
	dev->ib.node_type = RDMA_NODE_IB_CA;
	dev->ib.phys_port_cnt = 1;
	dev->ib.num_comp_vectors = num_possible_cpus();
	dev->ib.local_dma_lkey = PB_DMA_LKEY;
	dev->ib.link_ops = &pb_link_ops;
	strscpy(dev->ib.node_desc, "peerbar", sizeof(dev->ib.node_desc));
	addrconf_addr_eui48((u8 *)&dev->ib.node_guid, ndev->dev_addr);
	dev->ib.uverbs_cmd_mask |= BIT_ULL(IB_USER_VERBS_CMD_POST_SEND) | BIT_ULL(IB_USER_VERBS_CMD_POST_RECV) |
				   BIT_ULL(IB_USER_VERBS_CMD_POST_SRQ_RECV) | BIT_ULL(IB_USER_VERBS_CMD_REQ_NOTIFY_CQ);
	ib_set_device_ops(&dev->ib, &pb_device_ops);
	ib_set_device_ops(&dev->ib, &pb_attr_ops);
	ib_set_device_ops(&dev->ib, &pb_ring_ops);
	ib_set_device_ops(&dev->ib, &pb_context_ops);
	ib_set_device_ops(&dev->ib, &pb_ah_ops);
	ib_set_device_ops(&dev->ib, &pb_cq_ops);
	ib_set_device_ops(&dev->ib, &pb_mr_ops);
	ib_set_device_ops(&dev->ib, &pb_mw_ops);
	ib_set_device_ops(&dev->ib, &pb_frmr_ops);
	ib_set_device_ops(&dev->ib, &pb_qp_ops);
	ib_set_device_ops(&dev->ib, &pb_srq_ops);
	ib_set_device_ops(&dev->ib, &pb_mcast_ops);
	ret = ib_device_set_netdev(&dev->ib, ndev, 1);
	if (ret)
		goto err_dealloc;
	pb_device_list(dev);
	ret = ib_register_device(&dev->ib, name, &pdev->dev);
	if (ret)
		goto err_dealloc;
	/* Until now the notifier missed a change of the MTU, or the network device's removal. */
	pb_set_mtu_of(ndev);
	if (READ_ONCE(ndev->reg_state) != NETREG_REGISTERED)
		pb_unregister_of(ndev);
	return 0;

err_dealloc:
	ib_dealloc_device(&dev->ib);
	return ret;
}

static int pb_dellink(struct ib_device *ib)
{
	return 0;
}

static struct rdma_link_ops pb_link_ops = {
	.type = "peerbar",
	.newlink = pb_newlink,
	.dellink = pb_dellink,
};

/*
 * Unregister the device when its network device, or the driver of the function, goes away. The
 * network device's unregistration waits for its references. The verbs device holds one until all
 * of its regions are gone, so nothing stays mapped for a function without a driver.
 */
static int pb_netdev_event(struct notifier_block *nb, unsigned long event, void *arg)
{
	struct net_device *ndev = netdev_notifier_info_to_dev(arg);

	if (event == NETDEV_UNREGISTER)
		pb_unregister_of(ndev);
	else if (event == NETDEV_CHANGEMTU)
		pb_set_mtu_of(ndev);
	return NOTIFY_DONE;
}

static struct notifier_block pb_netdev_notifier = { .notifier_call = pb_netdev_event };

static int __init pb_init(void)
{
	int ret;

	ret = pb_workers_init();
	if (ret)
		return ret;
	ret = register_netdevice_notifier(&pb_netdev_notifier);
	if (ret) {
		pb_workers_exit();
		return ret;
	}
	rdma_link_register(&pb_link_ops);
	return 0;
}

static void __exit pb_exit(void)
{
	rdma_link_unregister(&pb_link_ops);
	unregister_netdevice_notifier(&pb_netdev_notifier);
	ib_unregister_driver((enum rdma_driver_id)PEERBAR_RDMA_DRIVER_ID);
	pb_workers_exit();
	pb_qps_exit();
	/* Regions and addresses are freed by RCU callbacks. */
	rcu_barrier();
}

module_init(pb_init);
module_exit(pb_exit);

MODULE_ALIAS_RDMA_LINK("peerbar");
MODULE_DESCRIPTION("peerbar: verbs device in software that registers device memory");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
