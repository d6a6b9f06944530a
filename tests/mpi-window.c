// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * An MPI program for vm/foreign: messages of several sizes between two ranks, then one-sided accesses to a window that MPI_Win_allocate()
 * made. Every byte is compared. Built with Debian's Open MPI (vm/foreign.sh), not with the tree.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 20

static int rank;

static void fail(const char *what, long at)
{
	fprintf(stderr, "rank %d: %s is wrong, at %ld\n", rank, what, at);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static void begin(const char *what)
{
	MPI_Barrier(MPI_COMM_WORLD);
	if (!rank)
		printf("%.3f %s\n", MPI_Wtime(), what);
	fflush(stdout);
}

static unsigned char byte_of(long at, int seed)
{
	return (unsigned char)((at * 31 + (at >> 8) * 7 + seed) & 0xff);
}

static void fill(unsigned char *data, long length, int seed)
{
	for (long i = 0; i < length; i++)
		data[i] = byte_of(i, seed);
}

static void check(const char *what, const unsigned char *data, long length, int seed)
{
	for (long i = 0; i < length; i++)
		if (data[i] != byte_of(i, seed))
			fail(what, i);
}

/* to the peer and back at the same time */
static void messages(long length)
{
	unsigned char *out = malloc((size_t)length), *in = malloc((size_t)length);

	if (!out || !in)
		fail("malloc()", length);
	for (int i = 0; i < ROUNDS; i++) {
		fill(out, length, rank + i);
		MPI_Sendrecv(out, (int)length, MPI_BYTE, !rank, i, in, (int)length, MPI_BYTE, !rank,
			     i, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		check("a message", in, length, !rank + i);
	}
	free(out);
	free(in);
}

/* Each rank puts its pattern into the peer's window, reads it back, and finds the peer's in its own. */
static void put_and_get(long length)
{
	unsigned char *base, *data = malloc((size_t)length);
	MPI_Win win;

	if (!data)
		fail("malloc()", length);
	MPI_Win_allocate((MPI_Aint)length, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win);
	memset(base, 0, (size_t)length);
	MPI_Win_fence(0, win);
	fill(data, length, rank);
	MPI_Put(data, (int)length, MPI_BYTE, !rank, 0, (int)length, MPI_BYTE, win);
	MPI_Win_fence(0, win);
	check("what was put into the window", base, length, !rank);
	memset(data, 0, (size_t)length);
	MPI_Win_lock(MPI_LOCK_SHARED, !rank, 0, win);
	MPI_Get(data, (int)length, MPI_BYTE, !rank, 0, (int)length, MPI_BYTE, win);
	MPI_Win_unlock(!rank, win);
	check("what was got from the window", data, length, rank);
	MPI_Win_free(&win);
	free(data);
}

/* Both ranks count in the window of rank 0. */
static void atomics(void)
{
	long *base, one = 1, before, expected, wanted, last = -1;
	MPI_Win win;

	MPI_Win_allocate(2 * sizeof(*base), sizeof(*base), MPI_INFO_NULL, MPI_COMM_WORLD, &base,
			 &win);
	base[0] = base[1] = 0;
	MPI_Win_fence(0, win);
	MPI_Win_fence(0, win);
	MPI_Win_lock_all(0, win);
	for (int i = 0; i < ROUNDS; i++) {
		MPI_Fetch_and_op(&one, &before, MPI_LONG, 0, 0, MPI_SUM, win);
		MPI_Win_flush(0, win);
		if (before <= last || before >= 2 * ROUNDS)
			fail("a counter", before);
		last = before;
		MPI_Accumulate(&one, 1, MPI_LONG, 0, 1, 1, MPI_LONG, MPI_SUM, win);
		MPI_Win_flush(0, win);
	}
	MPI_Win_unlock_all(win);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win);
	MPI_Get(&before, 1, MPI_LONG, 0, 1, 1, MPI_LONG, win);
	MPI_Win_unlock(0, win);
	if (before != 2 * ROUNDS)
		fail("a sum", before);
	/* one of them exchanges it */
	MPI_Barrier(MPI_COMM_WORLD);
	expected = 2 * ROUNDS;
	wanted = -1;
	MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, win);
	MPI_Compare_and_swap(&wanted, &expected, &before, MPI_LONG, 0, 1, win);
	MPI_Win_unlock(0, win);
	one = before == expected;
	MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
	if (one != 1)
		fail("the number of ranks that exchanged", one);
	MPI_Win_free(&win);
}

int main(int argc, char **argv)
{
	int ranks;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	if (ranks != 2)
		fail("the number of ranks", ranks);
	for (long length = 1; length <= 4 << 20; length *= 16) {
		begin("messages");
		messages(length);
	}
	for (long length = 8; length <= 8 << 20; length *= 32) {
		begin("put and get");
		put_and_get(length);
	}
	begin("atomics");
	atomics();
	begin("done");
	MPI_Finalize();
	return 0;
}
