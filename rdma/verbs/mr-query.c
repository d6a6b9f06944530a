// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The fields and the state of a memory region. */
#include "internal.h"

struct ibv_mr *pbv_mr_verbs(const struct pbv_mr *mr)
{
	return mr->verbs;
}

uint64_t pbv_mr_iova(const struct pbv_mr *mr)
{
	return mr->iova;
}

uint64_t pbv_mr_offset(const struct pbv_mr *mr)
{
	return mr->offset;
}

uint64_t pbv_mr_length(const struct pbv_mr *mr)
{
	return mr->length;
}

struct pb_buffer *pbv_mr_buffer(const struct pbv_mr *mr)
{
	return mr->buffer;
}

void pbv_mr_set_data(struct pbv_mr *mr, void *data)
{
	atomic_store(&mr->data, data);
}

void *pbv_mr_data(const struct pbv_mr *mr)
{
	return atomic_load(&((struct pbv_mr *)(uintptr_t)mr)->data);
}

enum pbv_state pbv_mr_state(struct pbv_mr *mr)
{
	struct pb_buffer_info info;
	struct pbv_direct direct;
	int ret = -1;

	if (!mr->buffer || mr->model == PB_PINNED)
		return PBV_LIVE;
	if (atomic_load(&mr->revoked))
		return PBV_REVOKED;
	if (mr->counted && !pb_buffer_query(mr->buffer, &info, NULL) && info.counted) {
		/* One revocation is final for a region, even if the buffer is live again. */
		if (info.revocations == mr->revocations && info.state == PB_BUFFER_LIVE)
			return PBV_LIVE;
		atomic_store(&mr->revoked, true);
		return PBV_REVOKED;
	}
	if (pbv_direct_open(&direct, mr->verbs->context)) {
		if (direct.mr_revoked)
			ret = direct.mr_revoked(mr->verbs);
		pbv_direct_close(&direct);
	}
	if (ret > 0)
		atomic_store(&mr->revoked, true);
	return ret > 0 ? PBV_REVOKED : ret == 0 ? PBV_LIVE : PBV_UNKNOWN;
}
