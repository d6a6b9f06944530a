// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Buffers of commands: exported here, or taken from a descriptor; and a command that gets one. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "parse.h"

/* ---- open devices, each once ---- */

void close_devices(struct opened *s)
{
	while (s->nr_devices)
		pb_device_close(s->devices[--s->nr_devices]);
	free(s->devices);
	pb_iommu_close(s->iommu);
}

int open_context(struct opened *s, unsigned int room)
{
	struct pb_error err;

	memset(s, 0, sizeof(*s));
	s->devices = allocate(room, sizeof(*s->devices));
	if (pb_iommu_open(&s->iommu, &err))
		return report(&err);
	return STATUS_OK;
}

int open_device(struct opened *s, const char *bdf, struct pb_device **device)
{
	struct pb_pci_function f;
	struct pb_error err;
	unsigned int i;
	int ret;

	/* Normalize the address. */
	ret = pb_pci_get(bdf, &f, &err);
	if (ret) {
		report(&err);
		return ret == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	for (i = 0; i < s->nr_devices; i++) {
		if (!strcmp(pb_device_bdf(s->devices[i]), f.bdf)) {
			*device = s->devices[i];
			return STATUS_OK;
		}
	}
	if (pb_device_open(s->iommu, f.bdf, device, &err))
		return report(&err);
	s->devices[s->nr_devices++] = *device;
	return STATUS_OK;
}

/* ---- sources of a buffer ---- */

int parse_source(const struct args *args, struct source *x)
{
	unsigned int i, n;
	uint64_t bar = 0;
	char why[200];

	if (args->nr_operands < 2)
		return misuse("the operands BDF and BAR are needed, as in 0000:01:00.0 2, and %u %s given",
			      args->nr_operands, args->nr_operands == 1 ? "was" : "were");
	x->bdf = args->operands[0];
	if (pbt_parse_number(args->operands[1], &bar, why, sizeof(why)))
		return misuse("cannot take a BAR's number: %s", why);
	if (bar >= PB_BARS)
		return misuse("there is no BAR %" PRIu64 ": a PCI function has BARs 0 to %d", bar,
			      PB_BARS - 1);
	x->bar = (unsigned int)bar;
	n = args->nr_operands - 2;
	x->nr_ranges = n;
	x->ranges = allocate(n, sizeof(*x->ranges));
	for (i = 0; i < n; i++) {
		if (pbt_parse_range(args->operands[2 + i], &x->ranges[i], why, sizeof(why))) {
			free(x->ranges);
			return misuse("cannot take range %u: %s", i, why);
		}
	}
	return STATUS_OK;
}

int export_buffer(struct opened *s, struct source *x, struct pb_device **from,
		  struct pb_buffer **buffer)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	struct pb_device *device;
	struct pb_region region;
	struct pb_error err;
	int status;

	status = open_device(s, x->bdf, &device);
	if (status)
		return status;
	*from = device;
	/*
	 * While decoding is off, a buffer is revoked, and no other process can turn it on while
	 * this one has the device.
	 */
	if (pb_device_set_decoding(device, true, &err))
		return report(&err);
	if (!x->nr_ranges) {
		if (pb_device_region(device, x->bar, &region, &err))
			return report(&err);
		x->nr_ranges = 1;
		x->ranges[0].length = region.size & ~(page - 1);
		/* Too small, or no such BAR: the library reports the error. */
		if (!x->ranges[0].length)
			x->ranges[0].length = page;
	}
	if (pb_buffer_export(device, x->bar, x->ranges, x->nr_ranges, 0, buffer, &err))
		return report(&err);
	return STATUS_OK;
}

static int parse_int(const char *text, const char *what, int *value)
{
	uint64_t v = 0;
	char why[200];

	if (pbt_parse_number(text, &v, why, sizeof(why)))
		return misuse("cannot take %s: %s", what, why);
	if (v > INT_MAX)
		return misuse("cannot take %s: '%.40s' is too large: %d is the largest number",
			      what, text, INT_MAX);
	*value = (int)v;
	return STATUS_OK;
}

int take_fd(const char *text, struct operand_fd *operand)
{
	const char *colon = strchr(text, ':');
	int status;

	operand->pid = 0;
	status = parse_int(colon ? colon + 1 : text, "a descriptor's number", &operand->number);
	if (status)
		return status;
	operand->fd = operand->number;
	if (!colon)
		return STATUS_OK;
	if (colon - text < 80) {
		char number[80] = "";

		memcpy(number, text, (size_t)(colon - text));
		status = parse_int(number, "a process's number", &operand->pid);
		if (status)
			return status;
	}
	if (!operand->pid)
		return misuse("'%.40s' names no process; use PID:FD, as in 1234:5", text);
	operand->fd = take_descriptor(operand->pid, operand->number);
	return operand->fd < 0 ? STATUS_FAILED : STATUS_OK;
}

int take_buffer(const char *text, struct pb_buffer **buffer)
{
	struct operand_fd operand;
	struct pb_error err;
	int ret, status;

	status = take_fd(text, &operand);
	if (status)
		return status;
	ret = pb_buffer_from_fd(operand.fd, buffer, &err);
	if (operand.pid)
		close(operand.fd);
	/* The library's sentence would name the copy. */
	if (ret == -EINVAL && operand.pid)
		return fail(EINVAL, "descriptor %d of process %d is no dma-buf", operand.number,
			    operand.pid);
	return ret ? report(&err) : STATUS_OK;
}

/* ---- commands that get a buffer ---- */

int set_variable(const char *name, bool hex, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), hex ? "0x%" PRIx64 : "%" PRIu64, number);
	if (setenv(name, text, 1))
		return fail(errno, "cannot set %s in the environment: %s", name, strerror(errno));
	return STATUS_OK;
}

/* A buffer that SIGUSR1 revokes. */
struct revocable {
	struct pb_device *device;
	struct pb_buffer *buffer;
};

/* Don't print to stdout, which is the command's. The command goes on, even on failure. */
static void revoke_under_command(void *arg)
{
	struct revocable *r = arg;
	struct pb_error err;

	if (pb_buffer_revoke(r->device, r->buffer, &err))
		fprintf(stderr, "peerbar: %s\n", err.text);
	else
		fputs("peerbar: revoked\n", stderr);
}

int run_with_buffer(char *const command[], struct pb_device *device, struct pb_buffer *buffer)
{
	struct revocable r = { device, buffer };
	int fd = pb_buffer_fd(buffer);
	int status;

	/* Decimal, for shells: <&$PEERBAR_FD */
	status = set_variable("PEERBAR_FD", false, (uint64_t)fd);
	return status ? status : run_command(command, fd, device ? revoke_under_command : NULL, &r);
}
