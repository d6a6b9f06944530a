// SPDX-License-Identifier: GPL-2.0
/* Copying between regions: once, directly from source to destination. */
#include <linux/io.h>
#include <linux/sched/signal.h>
#include <linux/unaligned.h>

#include "piece.h"

/*
 * ---- copying ----
 *
 * Programs poll on the last byte of a message, or on flags of 4 or 8 bytes inside it. So copy in
 * ascending order, with one store for each naturally aligned unit of 8 bytes of the destination
 * (and units of 4, 2 and 1 at the ends of a message). pbr_copy() orders the last unit after all
 * others. memcpy() guarantees none of this. Access a device with naturally aligned words only.
 */

static __always_inline u64 pbr_load(const u8 *src, unsigned int size, bool device)
{
	const u8 __iomem *io = (const u8 __force __iomem *)src;

	switch (size) {
	case 8:
		return device ? __raw_readq(io) : get_unaligned((u64 *)src);
	case 4:
		return device ? __raw_readl(io) : get_unaligned((u32 *)src);
	case 2:
		return device ? __raw_readw(io) : get_unaligned((u16 *)src);
	default:
		return device ? __raw_readb(io) : *src;
	}
}

/* @dst must be naturally aligned. */
static __always_inline void pbr_store(u8 *dst, u64 value, unsigned int size, bool device)
{
	u8 __iomem *io = (u8 __force __iomem *)dst;

	switch (size) {
	case 8:
		if (device)
			__raw_writeq(value, io);
		else
			WRITE_ONCE(*(u64 *)dst, value);
		break;
	case 4:
		if (device)
			__raw_writel(value, io);
		else
			WRITE_ONCE(*(u32 *)dst, value);
		break;
	case 2:
		if (device)
			__raw_writew(value, io);
		else
			WRITE_ONCE(*(u16 *)dst, value);
		break;
	default:
		if (device)
			__raw_writeb(value, io);
		else
			WRITE_ONCE(*dst, value);
	}
}

/* Copy one unit to a naturally aligned @dst; @src may be unaligned. */
static __always_inline void pbr_copy_unit(u8 *dst, const u8 *src, unsigned int size, bool to_device,
					  bool from_device)
{
	u8 bytes[8] __aligned(8);
	unsigned int step, i;

	if (from_device && !IS_ALIGNED((unsigned long)src, size)) {
		step = 1U << __ffs((unsigned long)src);
		for (i = 0; i < size; i += step)
			pbr_store(bytes + i, pbr_load(src + i, step, true), step, false);
		pbr_store(dst, pbr_load(bytes, size, false), size, to_device);
		return;
	}
	pbr_store(dst, pbr_load(src, size, from_device), size, to_device);
}

/*
 * Copy words to an aligned @dst from unaligned device memory. Combine each word from two aligned
 * loads, neither of which extends beyond @len. Return the number of bytes copied; the rest is less
 * than two words.
 */
static __always_inline size_t pbr_copy_shifted(u8 *dst, const u8 *src, size_t len, bool to_device)
{
	unsigned int first = 8 - ((unsigned long)src & 7), i;
	u64 carry = 0, next;
	size_t done = 0;

	if (len < first + 8)
		return 0;
	for (i = 0; i < first; i++)
		carry |= pbr_load(src + i, 1, true) << (8 * i);
	for (; len - done >= first + 8; done += 8) {
		next = le64_to_cpu((__force __le64)pbr_load(src + done + first, 8, true));
		pbr_store(dst + done, (__force u64)cpu_to_le64(carry | next << (8 * first)), 8,
			  to_device);
		carry = next >> (64 - 8 * first);
	}
	return done;
}

static __always_inline void pbr_copy_units(u8 *dst, const u8 *src, size_t len, bool to_device,
					   bool from_device)
{
	unsigned int size;
	size_t n;

	for (; len && !IS_ALIGNED((unsigned long)dst, 8); dst += size, src += size, len -= size) {
		size = min_t(size_t, 1U << __ffs((unsigned long)dst), rounddown_pow_of_two(len));
		pbr_copy_unit(dst, src, size, to_device, from_device);
	}
	if (from_device && !IS_ALIGNED((unsigned long)src, 8)) {
		n = pbr_copy_shifted(dst, src, len, to_device);
		dst += n;
		src += n;
		len -= n;
	} else {
		for (; len >= 64; dst += 64, src += 64, len -= 64) {
			pbr_store(dst, pbr_load(src, 8, from_device), 8, to_device);
			pbr_store(dst + 8, pbr_load(src + 8, 8, from_device), 8, to_device);
			pbr_store(dst + 16, pbr_load(src + 16, 8, from_device), 8, to_device);
			pbr_store(dst + 24, pbr_load(src + 24, 8, from_device), 8, to_device);
			pbr_store(dst + 32, pbr_load(src + 32, 8, from_device), 8, to_device);
			pbr_store(dst + 40, pbr_load(src + 40, 8, from_device), 8, to_device);
			pbr_store(dst + 48, pbr_load(src + 48, 8, from_device), 8, to_device);
			pbr_store(dst + 56, pbr_load(src + 56, 8, from_device), 8, to_device);
		}
	}
	for (; len >= 8; dst += 8, src += 8, len -= 8)
		pbr_copy_unit(dst, src, 8, to_device, from_device);
	for (size = 4; size; size /= 2) {
		if (!(len & size))
			continue;
		pbr_copy_unit(dst, src, size, to_device, from_device);
		dst += size;
		src += size;
	}
}

static noinline void pbr_copy_memory(u8 *dst, const u8 *src, size_t len)
{
	pbr_copy_units(dst, src, len, false, false);
}

static noinline void pbr_copy_to_device(u8 *dst, const u8 *src, size_t len)
{
	pbr_copy_units(dst, src, len, true, false);
}

static noinline void pbr_copy_from_device(u8 *dst, const u8 *src, size_t len)
{
	pbr_copy_units(dst, src, len, false, true);
}

/* Copy from device to device through registers, never through memory. */
static noinline void pbr_copy_devices(u8 *dst, const u8 *src, size_t len)
{
	pbr_copy_units(dst, src, len, true, true);
}

static void pbr_copy_piece(struct pbr_piece *dst, struct pbr_piece *src, size_t len)
{
	if (dst->mmio && src->mmio)
		pbr_copy_devices(dst->va, src->va, len);
	else if (dst->mmio)
		pbr_copy_to_device(dst->va, src->va, len);
	else if (src->mmio)
		pbr_copy_from_device(dst->va, src->va, len);
	else
		pbr_copy_memory(dst->va, src->va, len);
}

/*
 * Whether an ascending copy would overwrite source bytes before reading them. The result of a
 * message whose source and destination overlap is undefined. It is that of memmove() in system
 * memory; I/O memory takes aligned words only, in ascending order, whatever the result.
 */
static bool pbr_overlaps(const struct pbr_piece *dst, const struct pbr_piece *src, size_t len)
{
	return !dst->mmio && !src->mmio && dst->va > src->va && dst->va < src->va + len;
}

/* The size of the naturally aligned unit that contains the last of @len bytes at @dst. */
static size_t pbr_last_unit(const struct pbr_piece *dst, size_t len)
{
	unsigned long end = (unsigned long)dst->va + len;

	return min_t(size_t, 1UL << __ffs(end | 8), rounddown_pow_of_two(len));
}

/* Copy @len bytes of a message, from @at on, to an aligned unit whose source is not contiguous. */
static int pbr_gather(struct pbr_refs *src, u64 at, u8 *bytes, size_t len)
{
	struct pbr_piece from, to = {};
	size_t i, n;
	int ret;

	for (i = 0; i < len; i += n) {
		ret = pbr_piece(src, at + i, &from);
		if (ret)
			return ret;
		n = min(from.len, len - i);
		to.va = bytes + i;
		pbr_copy_piece(&to, &from, n);
	}
	return 0;
}

/*
 * Copy from byte @at on, as far as both source and destination are contiguous. Return the number of
 * bytes copied, or an error with *@who as for pbr_copy(). Store the message's last unit after
 * everything else. Set *@mmio if any of it went to a device.
 */
static ssize_t pbr_copy_some(struct pbr_refs *dst, struct pbr_refs *src, u64 at, u64 len,
			     bool *mmio, struct pbr_refs **who)
{
	u8 bytes[8] __aligned(8);
	struct pbr_piece to, from;
	size_t n, last, odd;
	int ret;

	*who = dst;
	ret = pbr_piece(dst, at, &to);
	if (ret)
		return ret;
	*who = src;
	ret = pbr_piece(src, at, &from);
	if (ret)
		return ret;
	n = min3(to.len, from.len, (size_t)min_t(u64, len - at, PBR_COPY_PIECE));
	odd = ((unsigned long)to.va + n) & 7;
	if (n == len - at || n == to.len)
		odd = 0;
	if (odd < n) {
		/* The end of the source splits a unit: leave it to the next call. */
		n -= odd;
	} else if (odd) {
		n = min3(to.len, (size_t)(8 - ((unsigned long)to.va & 7)), (size_t)(len - at));
		ret = pbr_gather(src, at, bytes, n);
		if (ret)
			return ret;
		from = (struct pbr_piece){ .va = bytes, .len = n };
	}
	*mmio |= to.mmio;
	if (at + n < len) {
		if (unlikely(pbr_overlaps(&to, &from, n)))
			memmove(to.va, from.va, n);
		else
			pbr_copy_piece(&to, &from, n);
		return n;
	}
	if (unlikely(pbr_overlaps(&to, &from, n))) {
		memmove(to.va, from.va, n);
		return n;
	}
	last = pbr_last_unit(&to, n);
	if (n > last)
		pbr_copy_piece(&to, &from, n - last);
	/* Pairs with the reader's barrier: a program that sees the last unit sees all others. */
	if (*mmio)
		wmb(); /* device writes may be combined */
	else
		smp_wmb(); /* as above */
	to.va += n - last;
	from.va += n - last;
	pbr_copy_piece(&to, &from, last);
	return n;
}

static bool pbr_is_over(const struct pbr_refs *refs)
{
	enum ib_qp_state state = READ_ONCE(*refs->state);

	return state == IB_QPS_ERR || state == IB_QPS_RESET;
}

int pbr_copy(struct pbr_refs *dst, struct pbr_refs *src, u64 *at, u64 len, struct pbr_refs **who)
{
	u64 end = *at + PBR_COPY_PASS, pause = *at + PBR_COPY_PIECE;
	bool mmio = false;
	ssize_t n;
	int ret;

	while (*at < len) {
		n = pbr_copy_some(dst, src, *at, len, &mmio, who);
		if (n == -EAGAIN) {
			ret = n;
			goto out;
		}
		if (n < 0) {
			ret = n;
			(*who)->refusal = (*who)->fault_failed ? PBR_FAULT_FAILED :
								 PBR_NOT_ADDRESSABLE;
			ibdev_dbg(&(*who)->dev->ib,
				  "qp %u: byte %llu of a message has no mapped address\n",
				  (*who)->qpn, *at);
			goto out;
		}
		*at += n;
		if (*at < pause || *at == len)
			continue;
		/* Leave both, so that a revocation or the end of a queue pair can intervene. */
		pause = *at + PBR_COPY_PIECE;
		pbr_refs_put(dst);
		pbr_refs_put(src);
		if (pbr_is_over(dst) || pbr_is_over(src))
			ret = -ESHUTDOWN;
		else
			ret = *at >= end || signal_pending(current) ? -EAGAIN : 0;
		if (ret)
			goto out;
		cond_resched();
		*who = src;
		ret = pbr_refs_get(src);
		if (ret)
			goto out;
		*who = dst;
		ret = pbr_refs_get(dst);
		if (ret)
			goto out;
	}
	ret = 0;
out:
	/* Device writes must arrive before the completion and the last unit of a later pass. */
	if (mmio)
		wmb(); /* as above */
	return ret;
}

int pbr_refs_check(struct pbr_refs *refs, u64 len)
{
	struct pbr_piece piece;
	u64 at;
	int ret;

	for (at = 0; at < len; at += piece.len) {
		ret = pbr_piece(refs, at, &piece);
		if (ret)
			return ret;
	}
	return 0;
}

int pbr_copy_out(struct pbr_refs *refs, u64 at, void *to, size_t len)
{
	return len ? pbr_gather(refs, at, to, len) : 0;
}

int pbr_copy_in(struct pbr_refs *refs, u64 at, const void *from, size_t len, bool last)
{
	struct pbr_piece src = { .va = (u8 *)from }, dst;
	bool mmio = false;
	size_t n, unit;
	int ret;

	for (; len; len -= n) {
		ret = pbr_piece(refs, at, &dst);
		if (ret)
			return ret;
		n = min(dst.len, len);
		mmio |= dst.mmio;
		unit = last && n == len ? pbr_last_unit(&dst, n) : 0;
		if (n > unit)
			pbr_copy_piece(&dst, &src, n - unit);
		dst.va += n - unit;
		src.va += n - unit;
		if (unit) {
			/* As in pbr_copy_some(). */
			if (mmio)
				wmb(); /* device writes may be combined */
			else
				smp_wmb(); /* as above */
			pbr_copy_piece(&dst, &src, unit);
		}
		src.va += unit;
		at += n;
	}
	/* Device writes must arrive before the completion, and a later packet's. */
	if (mmio)
		wmb(); /* as above */
	return 0;
}

/* The 8 bytes of an atomic. Return -EINVAL if the memory is not aligned. */
static int pbr_atomic_piece(struct pbr_refs *remote, struct pbr_piece *piece)
{
	int ret = pbr_piece(remote, 0, piece);

	if (ret)
		return ret;
	/* An aligned address may be at unaligned memory: the region's owner chooses its address. */
	if (!IS_ALIGNED((unsigned long)piece->va, sizeof(u64)) || piece->len < sizeof(u64))
		return -EINVAL;
	return 0;
}

/*
 * Atomic operation on 8 aligned bytes. On memory without atomics, it is atomic only with respect to
 * other atomics of this device.
 */
int pbr_atomic(struct pbr_device *dev, struct pbr_refs *remote, bool swap, u64 compare_add,
	       u64 swap_val, u64 *old)
{
	struct pbr_piece piece;
	atomic64_t *word;
	u64 value;
	int ret;

	ret = pbr_atomic_piece(remote, &piece);
	if (ret)
		return ret;
	if (!piece.mmio) {
		word = (atomic64_t *)piece.va;
		*old = swap ? atomic64_cmpxchg(word, compare_add, swap_val) :
			      atomic64_fetch_add(compare_add, word);
		return 0;
	}
	guard(spinlock)(&dev->atomic_lock);
	*old = __raw_readq(piece.io);
	value = swap ? swap_val : *old + compare_add;
	if (!swap || *old == compare_add)
		__raw_writeq(value, piece.io);
	/* Read back, so that the write has arrived. */
	(void)__raw_readq(piece.io);
	return 0;
}

int pbr_atomic_write(struct pbr_device *dev, struct pbr_refs *remote, u64 value)
{
	struct pbr_piece piece;
	int ret;

	ret = pbr_atomic_piece(remote, &piece);
	if (ret)
		return ret;
	if (!piece.mmio) {
		atomic64_set_release((atomic64_t *)piece.va, value);
		return 0;
	}
	guard(spinlock)(&dev->atomic_lock);
	wmb(); /* device writes may be combined */
	__raw_writeq(value, piece.io);
	/* Read back, as for other atomics. */
	(void)__raw_readq(piece.io);
	return 0;
}

int pbr_refs_flush(struct pbr_refs *refs)
{
	struct pbr_piece piece;
	int ret;

	/* Order what was written before against whatever follows the flush. */
	mb();
	if (!refs->nr)
		return 0;
	ret = pbr_piece(refs, 0, &piece);
	if (ret)
		return ret;
	/* System memory is coherent. A device answers a read after the writes before it. */
	if (piece.mmio)
		(void)__raw_readb(piece.io);
	return 0;
}
