// SPDX-License-Identifier: GPL-2.0
/*
 * Counters of a device, for "rdma statistic show link". They are per CPU, so that counting a
 * message writes to no shared cache line.
 */
#include <linux/percpu.h>

#include "rdma.h"

/* Names of counters that rxe has too are rxe's, those of congestion are mlx5's. */
static const struct rdma_stat_desc pbr_counter_descs[PBR_NR_COUNTERS] = {
	[PBR_SENT_MESSAGES].name = "sent_messages",
	[PBR_SENT_BYTES].name = "sent_bytes",
	[PBR_RCVD_MESSAGES].name = "rcvd_messages",
	[PBR_RCVD_BYTES].name = "rcvd_bytes",
	[PBR_DROPPED_MESSAGES].name = "dropped_messages",
	[PBR_RCVD_RNR].name = "rcvd_rnr_err",
	[PBR_SENT_RNR].name = "send_rnr_err",
	[PBR_RETRY_EXCEEDED].name = "retry_exceeded_err",
	[PBR_RNR_RETRY_EXCEEDED].name = "retry_rnr_exceeded_err",
	[PBR_ACCESS_REFUSED].name = "access_refused",
	[PBR_WC_ERRORS].name = "wc_errors",
	[PBR_WC_FLUSHED].name = "wc_flushed",
	[PBR_CQ_OVERFLOWS].name = "cq_overflows",
	[PBR_REVOKED_REGIONS].name = "revoked_regions",
	[PBR_PAGE_FAULTS].name = "page_faults",
	[PBR_PAGE_INVALIDATIONS].name = "page_invalidations",
	[PBR_PAGE_PREFETCHES].name = "page_prefetches",
	[PBR_WORKER_RUNS].name = "worker_runs",
	[PBR_SENT_PACKETS].name = "sent_pkts",
	[PBR_RCVD_PACKETS].name = "rcvd_pkts",
	[PBR_SEND_ERRORS].name = "send_err",
	[PBR_MALFORMED].name = "malformed_pkts",
	[PBR_UNEXPECTED].name = "unexpected_pkts",
	[PBR_ICRC_ERRORS].name = "icrc_err",
	[PBR_QUEUE_FULL].name = "queue_full_pkts",
	[PBR_GROUP_DEFERRED].name = "group_deferred_pkts",
	[PBR_DUPLICATES].name = "duplicate_request",
	[PBR_OUT_OF_SEQUENCE].name = "out_of_seq_request",
	[PBR_RCVD_SEQ_ERR].name = "rcvd_seq_err",
	[PBR_RETRANSMITS].name = "completer_retry_err",
	[PBR_ECN_MARKED].name = "np_ecn_marked_roce_packets",
	[PBR_SENT_CNP].name = "np_cnp_sent",
	[PBR_RCVD_CNP].name = "rp_cnp_handled",
};

int pbr_counters_alloc(struct pbr_device *dev)
{
	dev->counters = alloc_percpu(struct pbr_counters);
	return dev->counters ? 0 : -ENOMEM;
}

void pbr_counters_free(struct pbr_device *dev)
{
	free_percpu(dev->counters);
}

static struct rdma_hw_stats *pbr_alloc_hw_port_stats(struct ib_device *ib, u32 port)
{
	return rdma_alloc_hw_stats_struct(pbr_counter_descs, PBR_NR_COUNTERS,
					  RDMA_HW_STATS_DEFAULT_LIFESPAN);
}

static int pbr_get_hw_stats(struct ib_device *ib, struct rdma_hw_stats *stats, u32 port, int index)
{
	const struct pbr_device *dev = to_pbr(ib);
	unsigned int i;
	int cpu;

	/* There are no counters of the device, only those of its port. */
	if (!port || !stats)
		return -EINVAL;
	for (i = 0; i < PBR_NR_COUNTERS; i++) {
		u64 sum = 0;

		for_each_possible_cpu(cpu)
			sum += READ_ONCE(per_cpu_ptr(dev->counters, cpu)->value[i]);
		stats->value[i] = sum;
	}
	return PBR_NR_COUNTERS;
}

const struct ib_device_ops pbr_counter_ops = {
	.alloc_hw_port_stats = pbr_alloc_hw_port_stats,
	.get_hw_stats = pbr_get_hw_stats,
};
