// SPDX-License-Identifier: GPL-2.0
/* Attributes of the device and its port. */
#include <linux/netdevice.h>
#include <rdma/ib_mad.h>

#include "rdma.h"
#include "user_memory.h"

#define PBR_ODP_CAPS                                                                              \
	(IB_ODP_SUPPORT_SEND | IB_ODP_SUPPORT_RECV | IB_ODP_SUPPORT_WRITE | IB_ODP_SUPPORT_READ | \
	 IB_ODP_SUPPORT_ATOMIC | IB_ODP_SUPPORT_SRQ_RECV | IB_ODP_SUPPORT_FLUSH |                 \
	 IB_ODP_SUPPORT_ATOMIC_WRITE)

static int pbr_query_device(struct ib_device *ib, struct ib_device_attr *attr,
			    struct ib_udata *udata)
{
	const struct pbr_device *dev = to_pbr(ib);

	*attr = (struct ib_device_attr){
		.sys_image_guid = ib->node_guid,
		.fw_ver = PEERBAR_RDMA_ABI_VERSION,
		.max_mr_size = ~0ULL,
		.page_size_cap = PAGE_SIZE,
		/* no vendor's ID */
		.vendor_id = 0xffffff,
		.vendor_part_id = PEERBAR_RDMA_DRIVER_ID,
		.max_qp = dev->max[PBR_QP],
		.max_qp_wr = PBR_MAX_WR,
		.device_cap_flags = IB_DEVICE_RC_RNR_NAK_GEN | IB_DEVICE_MEM_WINDOW |
			IB_DEVICE_MEM_WINDOW_TYPE_2B | IB_DEVICE_MEM_MGT_EXTENSIONS |
			IB_DEVICE_SYS_IMAGE_GUID | IB_DEVICE_PORT_ACTIVE_EVENT |
			IB_DEVICE_SRQ_RESIZE | IB_DEVICE_XRC | IB_DEVICE_FLUSH_GLOBAL |
			IB_DEVICE_ATOMIC_WRITE,
		.kernel_cap_flags = IBK_LOCAL_DMA_LKEY | IBK_ALLOW_USER_UNREG |
			(PBR_HAS_USER_ODP ? IBK_ON_DEMAND_PAGING : 0),
		.max_send_sge = PBR_MAX_SGE,
		.max_recv_sge = PBR_MAX_SGE,
		.max_sge_rd = PBR_MAX_SGE,
		.max_cq = dev->max[PBR_CQ],
		.max_cqe = PBR_MAX_CQE,
		.max_mr = dev->max[PBR_MR],
		.max_mw = dev->max[PBR_MW],
		.max_fast_reg_page_list_len = PBR_MAX_FAST_PAGES,
		.max_pd = dev->max[PBR_PD],
		.max_qp_rd_atom = PBR_MAX_RD_ATOM,
		.max_res_rd_atom = PBR_MAX_RD_ATOM * PBR_MAX_QP,
		.max_qp_init_rd_atom = PBR_MAX_RD_ATOM,
		.atomic_cap = IB_ATOMIC_HCA,
		.max_ah = dev->max[PBR_AH],
		.max_srq = dev->max[PBR_SRQ],
		.max_srq_wr = PBR_MAX_WR,
		.max_srq_sge = PBR_MAX_SGE,
		.max_mcast_grp = dev->max[PBR_MCAST],
		.max_mcast_qp_attach = dev->max[PBR_MCAST],
		.max_total_mcast_qp_attach = dev->max[PBR_MCAST],
		.max_pkeys = 1,
		.timestamp_mask = ~0ULL,
		.hca_core_clock = 1000000,
	};
	if (PBR_HAS_USER_ODP)
		attr->odp_caps = (struct ib_odp_caps){
			.general_caps = IB_ODP_SUPPORT | IB_ODP_SUPPORT_IMPLICIT,
			.per_transport_caps.rc_odp_caps = PBR_ODP_CAPS,
			.per_transport_caps.uc_odp_caps = PBR_ODP_CAPS &
				~(IB_ODP_SUPPORT_READ | IB_ODP_SUPPORT_ATOMIC |
				  IB_ODP_SUPPORT_FLUSH | IB_ODP_SUPPORT_ATOMIC_WRITE),
			.per_transport_caps.ud_odp_caps = IB_ODP_SUPPORT_SEND |
				IB_ODP_SUPPORT_RECV | IB_ODP_SUPPORT_SRQ_RECV,
			/* There are no other receives. */
			.per_transport_caps.xrc_odp_caps = PBR_ODP_CAPS & ~IB_ODP_SUPPORT_RECV,
		};
	return 0;
}

static int pbr_query_port(struct ib_device *ib, u32 port, struct ib_port_attr *attr)
{
	struct net_device *ndev = ib_device_get_netdev(ib, port);
	int ret;

	if (!ndev)
		return pbr_fail(ib, -ENODEV, "query_port: port %u has no network device any more",
				port);
	ret = ib_get_eth_speed(ib, port, &attr->active_speed, &attr->active_width);
	attr->state = ib_get_curr_port_state(ndev);
	if (attr->state == IB_PORT_ACTIVE)
		attr->phys_state = IB_PORT_PHYS_STATE_LINK_UP;
	else if (netif_get_flags(ndev) & IFF_UP)
		attr->phys_state = IB_PORT_PHYS_STATE_POLLING;
	else
		attr->phys_state = IB_PORT_PHYS_STATE_DISABLED;
	dev_put(ndev);
	attr->max_mtu = IB_MTU_4096;
	attr->active_mtu = READ_ONCE(to_pbr(ib)->active_mtu);
	attr->gid_tbl_len = 256;
	attr->port_cap_flags = IB_PORT_CM_SUP;
	attr->ip_gids = true;
	attr->max_msg_sz = PBR_MAX_MSG;
	attr->pkey_tbl_len = 1;
	attr->max_vl_num = 1;
	return ret;
}

static int pbr_query_pkey(struct ib_device *ib, u32 port, u16 index, u16 *pkey)
{
	if (index)
		return pbr_fail(ib, -EINVAL, "query_pkey: index %u; the table has one entry",
				index);
	*pkey = IB_DEFAULT_PKEY_FULL;
	return 0;
}

static int pbr_port_immutable(struct ib_device *ib, u32 port, struct ib_port_immutable *immutable)
{
	struct ib_port_attr attr = {};
	int ret;

	ret = ib_query_port(ib, port, &attr);
	if (ret)
		return ret;
	immutable->core_cap_flags = RDMA_CORE_PORT_IBA_ROCE_UDP_ENCAP;
	immutable->pkey_tbl_len = attr.pkey_tbl_len;
	immutable->gid_tbl_len = attr.gid_tbl_len;
	immutable->max_mad_size = IB_MGMT_MAD_SIZE;
	return 0;
}

static enum rdma_link_layer pbr_get_link_layer(struct ib_device *ib, u32 port)
{
	return IB_LINK_LAYER_ETHERNET;
}

static void pbr_get_fw_str(struct ib_device *ib, char *str)
{
	snprintf(str, IB_FW_VERSION_NAME_MAX, "%d", PEERBAR_RDMA_ABI_VERSION);
}

const struct ib_device_ops pbr_attr_ops = {
	.get_dev_fw_str = pbr_get_fw_str,
	.get_link_layer = pbr_get_link_layer,
	.get_port_immutable = pbr_port_immutable,
	.query_device = pbr_query_device,
	.query_pkey = pbr_query_pkey,
	.query_port = pbr_query_port,
};
